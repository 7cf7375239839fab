"""Nothing is lost on patterns that are no contraction: three methods that share nothing find the same embeddings.

Backtracking and networkx work on scalars spelt out here, from the text of the statements alone.
"""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any

import networkx as nx
import pytest
from networkx.algorithms.isomorphism import DiGraphMatcher

import dataflow
from dataflow.sums import Sums
from embed.binding import bindings
from embed.solver.nodes import embeddings
from embed.solver.tables import embeddings as table_embeddings

Tree = tuple[Any, ...]
Found = tuple[tuple[tuple[int, int, tuple[int, ...]], ...], frozenset[Any]]


def sums(text: str, dtype: str = "i16", **extents: int) -> Sums:
    return Sums(dataflow.infer_all(text.split(";"), extents, dtype))


def pair_add(lanes: int) -> Sums:
    return sums("d[l] = i32(a[2*l])*i32(b[2*l]) + i32(a[2*l+1])*i32(b[2*l+1])", l=lanes)


def complex_mac(lanes: int) -> Sums:
    real = "d[2*l] += a[2*l]*b[2*l] - a[2*l+1]*b[2*l+1]"
    return sums(f"{real}; d[2*l+1] += a[2*l]*b[2*l+1] + a[2*l+1]*b[2*l]", l=lanes)


def rotated(lanes: int) -> Sums:
    return sums("d[2*l] += -(a[2*l+1]*b[2*l+1]); d[2*l+1] += a[2*l+1]*b[2*l]", l=lanes)


def real_dot() -> Sums:
    return sums("d += a[0]*b[0] - a[1]*b[1] + a[2]*b[2] - a[3]*b[3]")


def lane_dot(lanes: int, k: int) -> Sums:
    return sums("d[l] += a[l,q]*b[l,q]", l=lanes, q=k)


def add_sub(lanes: int) -> Sums:
    return sums("s[l] = a[l] + b[l]; d[l] = a[l] - b[l]", "i16:i16", l=lanes)


def element_wise(operation: str, lanes: int) -> Sums:
    return sums(f"d[l] = {operation}", "i16:i16", l=lanes)


def butterfly() -> Sums:
    turned = ("(i32(b[0])*i32(w[0]) - i32(b[1])*i32(w[1])) >> 15", "(i32(b[0])*i32(w[1]) + i32(b[1])*i32(w[0])) >> 15")
    return sums(";".join(f"y[{2 * n + p}] = i32(a[{p}]) {s} ({turned[p]})" for n, s in enumerate("+-") for p in (0, 1)))


def gemm(i: int, j: int, k: int) -> Sums:
    return Sums(dataflow.gemm(m=i, n=j, k=k, dtype="i16").statements)


def fir(n: int, t: int) -> Sums:
    return sums("y[n] += x[n+t]*h[t]", n=n, t=t)


def complex_gemm(i: int, j: int, k: int) -> Sums:
    real = "c[i,j,0] += a[i,k,0]*b[k,j,0] - a[i,k,1]*b[k,j,1]"
    return sums(f"{real}; c[i,j,1] += a[i,k,0]*b[k,j,1] + a[i,k,1]*b[k,j,0]", i=i, j=j, k=k)


def planes_gemm(i: int, j: int, k: int) -> Sums:
    real = "re[i,j] += ar[i,k]*br[k,j] - ai[i,k]*bi[k,j]"
    return sums(f"{real}; im[i,j] += ar[i,k]*bi[k,j] + ai[i,k]*br[k,j]", i=i, j=j, k=k)


def complex_fir(n: int, t: int) -> Sums:
    real = "y[n,0] += x[n+t,0]*h[t,0] - x[n+t,1]*h[t,1]"
    return sums(f"{real}; y[n,1] += x[n+t,0]*h[t,1] + x[n+t,1]*h[t,0]", n=n, t=t)


def hadamard(g: int, j: int) -> Sums:
    return sums("y[g,0,j] = x[g,0,j] + x[g,1,j]; y[g,1,j] = x[g,0,j] - x[g,1,j]", "i16:i16", g=g, j=j)


def fft_stage(g: int, j: int) -> Sums:
    product_of = {0: ("0", "-", "1"), 1: ("1", "+", "0")}
    text = []
    for n, sign in enumerate("+-"):
        for part, (one, middle, other) in product_of.items():
            left = f"i32(x[g,1,j,0])*i32(w[j,{one}]) {middle} i32(x[g,1,j,1])*i32(w[j,{other}])"
            text.append(f"y[g,{n},j,{part}] = i32(x[g,0,j,{part}]) {sign} (({left}) >> 15)")
    return sums(";".join(text), g=g, j=j)


def chain(i: int) -> Sums:
    return sums("t[i] = x[i] + y[i]; u[i] = max(t[i], 0); v[i] = u[i] >> 3", "i16:i16", i=i)


# Each row: instruction, operator, how many embeddings, and whether the graphs are small enough for networkx.
CASES: dict[str, tuple[Sums, Sums, int, bool]] = {
    "pair-add of 1 lane in gemm 2x2x3": (pair_add(1), gemm(2, 2, 3), 96, True),
    "pair-add of 2 lanes in gemm 2x2x2": (pair_add(2), gemm(2, 2, 2), 768, False),
    "pair-add of 2 lanes in fir 3 of 2": (pair_add(2), fir(3, 2), 384, True),
    "pair-add of 1 lane in padded conv1d": (
        pair_add(1),
        Sums(dataflow.conv1d(c=1, w=3, k=2, s=2, pad=1, dtype="i16").statements),
        32,
        True,
    ),
    "complex mac of 1 lane in complex gemm 2x1x2": (complex_mac(1), complex_gemm(2, 1, 2), 8, True),
    "complex mac of 2 lanes in complex gemm 2x2x1": (complex_mac(2), complex_gemm(2, 2, 1), 48, False),
    "complex mac of 1 lane in planes gemm 2x2x2": (complex_mac(1), planes_gemm(2, 2, 2), 16, False),
    "complex mac of 2 lanes in complex fir 2 of 2": (complex_mac(2), complex_fir(2, 2), 32, False),
    "rotated mac of 2 lanes in complex gemm 1x2x2": (rotated(2), complex_gemm(1, 2, 2), 40, True),
    "real dot of 2 complex in complex gemm 2x1x2": (real_dot(), complex_gemm(2, 1, 2), 128, True),
    "lane dot 2x2 in gemm 2x2x2": (lane_dot(2, 2), gemm(2, 2, 2), 768, False),
    "lane dot 1x2 in complex gemm 1x1x2": (lane_dot(1, 2), complex_gemm(1, 1, 2), 56, True),
    "add-sub of 2 lanes in a Hadamard stage": (add_sub(2), hadamard(2, 2), 12, True),
    "butterfly in an FFT stage": (butterfly(), fft_stage(2, 2), 8, False),
    "add of 2 lanes in a chain": (element_wise("a[l] + b[l]", 2), chain(3), 24, True),
    "max of 2 lanes in a chain": (element_wise("max(a[l], b[l])", 2), chain(3), 24, True),
    "shift of 3 lanes in a chain": (element_wise("a[l] >> b[l]", 3), chain(3), 6, True),
    "add of 2 lanes in a sum of rows": (
        element_wise("a[l] + b[l]", 2),
        sums("y[i] += x[i,k]", "i16:i16", i=2, k=2),
        8,
        True,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_three_methods_find_the_same_embeddings(name: str) -> None:
    pattern, operator, count, small = CASES[name]
    modelled = [(found.nodes, found.held) for found in embeddings(operator, pattern)]
    searched = list(backtrack(Scalars.of(operator), Scalars.of(pattern)))
    assert len(modelled) == len(set(modelled)) == len(searched) == count
    assert set(modelled) == set(searched)
    if small:
        assert set(match_graphs(Scalars.of(operator), Scalars.of(pattern))) == set(modelled)


# The scalars of statements, from their text.


@dataclass(frozen=True)
class Scalar:
    """One addend at one point: what it adds to, its sign, and its tree, whose leaves are elements and literals."""

    statement: int
    place: int
    point: tuple[int, ...]
    sign: int
    output: tuple[str, tuple[int, ...]]
    tree: Tree


@dataclass(frozen=True)
class Scalars:
    """Every addend of some statements, addend by addend; `types` and `shapes` by tensor, `needs` by statement."""

    all: tuple[Scalar, ...]
    types: Mapping[str, str]
    needs: Mapping[int, set[int]]

    @classmethod
    def of(cls, given: Sums) -> "Scalars":
        tensors = {t.name: t for statement in given.statements for t in statement.tensors}
        found: list[Scalar] = []
        needs: dict[int, set[int]] = {}
        for number, statement in enumerate(given.statements):
            node = ast.parse(str(statement)).body[0]
            assert isinstance(node, ast.Assign | ast.AugAssign)
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            names = {each.id for each in ast.walk(node.value) if isinstance(each, ast.Name)}
            direct = {n for n in range(number) if given.statements[n].output.tensor in names}
            needs[number] = direct.union(*(needs[n] for n in direct))
            box = [range(dim.extent) for dim in statement.dims]
            for place, (sign, body) in enumerate(addends(node.value, 1)):
                for point in product(*box):
                    at = dict(zip(statement.extents, point, strict=True))
                    tree, output = scalar(body, at), scalar(target, at)
                    if all(inside(leaf, tensors) for leaf in leaves(tree)):
                        found.append(Scalar(number, place, point, sign, (output[1], output[2]), tree))
        return cls(tuple(found), {name: tensor.dtype for name, tensor in tensors.items()}, needs)

    def independent(self, numbers: set[int]) -> bool:
        return not any(self.needs[number] & numbers for number in numbers)


def addends(node: ast.expr, sign: int) -> Iterator[tuple[int, ast.expr]]:
    match node:
        case ast.BinOp(left, ast.Add() | ast.Sub() as op, right):
            yield from addends(left, sign)
            yield from addends(right, sign if isinstance(op, ast.Add) else -sign)
        case ast.UnaryOp(ast.USub(), operand):
            yield from addends(operand, -sign)
        case _:
            yield sign, node


def scalar(node: ast.expr, at: Mapping[str, int]) -> Tree:
    """A body or an index at a point: a tree of ("element", tensor, index), ("literal", value) and operations."""
    match node:
        case ast.Constant(value):
            return ("literal", value)
        case ast.Name(name):
            return ("element", name, ())
        case ast.Subscript(ast.Name(name), index):
            parts = index.elts if isinstance(index, ast.Tuple) else [index]
            code = [compile(ast.Expression(part), "index", "eval") for part in parts]
            return ("element", name, tuple(eval(one, {}, dict(at)) for one in code))
        case ast.Call(ast.Name(name), arguments):
            return (name, *(scalar(argument, at) for argument in arguments))
        case ast.BinOp(left, op, right):
            return (type(op).__name__, scalar(left, at), scalar(right, at))
    raise AssertionError(ast.dump(node))


def leaves(tree: Tree) -> Iterator[Tree]:
    if tree[0] in ("element", "literal"):
        yield tree
        return
    for child in tree[1:]:
        yield from leaves(child)


def inside(leaf: Tree, tensors: Mapping[str, dataflow.Tensor]) -> bool:
    if leaf[0] == "literal":
        return True
    return all(0 <= at < size for at, size in zip(leaf[2], tensors[leaf[1]].shape, strict=True))


COMMUTING = ("Add", "Mult", "min", "max")


# Method 1: the rules on single scalars, one after another.


def backtrack(operator: Scalars, pattern: Scalars) -> Iterator[Found]:
    def extend(chosen: list[Scalar], held: dict[Tree, Tree]) -> Iterator[Found]:
        if len(chosen) == len(pattern.all):
            images = tuple((one.statement, one.place, one.point) for one in chosen)
            yield images, frozenset((element, plain(value)) for element, value in held.items())
            return
        node = pattern.all[len(chosen)]
        for scalar in operator.all:
            if scalar in chosen or not operator.independent({scalar.statement, *(one.statement for one in chosen)}):
                continue
            wider = {tuple(sorted(new.items())): new for new in fit(node, scalar, held)}
            for new in wider.values():
                yield from extend([*chosen, scalar], new)

    def fit(node: Scalar, scalar: Scalar, held: dict[Tree, Tree]) -> Iterator[dict[Tree, Tree]]:
        if node.sign != scalar.sign or pattern.types[node.output[0]] != operator.types[scalar.output[0]]:
            return
        target = ("element", *scalar.output)
        outputs = {one.output for one in pattern.all}
        taken = [value for element, value in held.items() if element in outputs and element != node.output]
        if held.get(node.output, target) != target or target in taken:
            return
        yield from unify(node.tree, scalar.tree, {**held, node.output: target})

    def unify(own: Tree, other: Tree, held: dict[Tree, Tree]) -> Iterator[dict[Tree, Tree]]:
        if own[0] == "element":
            if other[0] == "element" and pattern.types[own[1]] != operator.types[other[1]]:
                return
            if other[0] in ("element", "literal") and held.get(own[1:], other) == other:
                yield {**held, own[1:]: other}
        elif own[0] == "literal":
            if own == other:
                yield held
        elif own[0] == other[0] and len(own) == len(other):
            for order in (other[1:], other[:0:-1]) if own[0] in COMMUTING else (other[1:],):
                found = [held]
                for mine, theirs in zip(own[1:], order, strict=True):
                    found = [wider for narrow in found for wider in unify(mine, theirs, narrow)]
                yield from found

    return iter(dict.fromkeys(extend([], {})))


def plain(value: Tree) -> tuple[str, tuple[int, ...]]:
    return (str(value[1]), ()) if value[0] == "literal" else (value[1], value[2])


# Method 2: subgraph monomorphism. Each use of an element is a node of its own, tied to the other uses of the element.


def match_graphs(operator: Scalars, pattern: Scalars) -> Iterator[Found]:
    large, small = graph(operator), graph(pattern)
    matcher = DiGraphMatcher(large, small, node_match=fits, edge_match=lambda one, other: one["kind"] == other["kind"])
    seen = set()
    for match in matcher.subgraph_monomorphisms_iter():
        image = {node: other for other, node in match.items()}
        scalars = [image["addend", one][1] for one in pattern.all]
        if not operator.independent({one.statement for one in scalars}):
            continue
        nodes = tuple((one.statement, one.place, one.point) for one in scalars)
        held = {(small.nodes[n]["element"], plain(large.nodes[o]["leaf"])) for n, o in image.items() if n[0] == "use"}
        held |= {(n[1], o[1]) for n, o in image.items() if n[0] == "sum"}
        found = nodes, frozenset(held)
        if found not in seen:
            seen.add(found)
            yield found


def fits(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether a scalar of the operator can be one of the instruction: an operand's element may be a literal."""
    own, theirs = other["label"], one["label"]
    return bool(own == theirs or (own[0] == "element" and theirs[0] == "literal"))


def graph(scalars: Scalars) -> nx.DiGraph:
    found = nx.DiGraph()
    uses: dict[Tree, list[Any]] = {}

    def grow(tree: Tree, path: tuple[Any, ...]) -> Any:
        if tree[0] == "element":
            node = ("use", *path)
            found.add_node(node, label=("element", scalars.types[tree[1]]), leaf=tree, element=tree[1:])
            uses.setdefault(tree, []).append(node)
        elif tree[0] == "literal":
            node = ("literal", *path)
            found.add_node(node, label=tree, leaf=tree)
            uses.setdefault(tree, []).append(node)
        else:
            node = ("operation", *path)
            found.add_node(node, label=(tree[0],))
            for place, child in enumerate(tree[1:]):
                kind = "any" if tree[0] in COMMUTING else place
                found.add_edge(node, grow(child, (*path, place)), kind=kind)
        return node

    for one in scalars.all:
        found.add_node(("sum", one.output), label=("sum", scalars.types[one.output[0]]))
        found.add_node(("addend", one), label=("addend", one.sign))
        found.add_edge(("sum", one.output), ("addend", one), kind="adds")
        found.add_edge(("addend", one), grow(one.tree, (one,)), kind="is")
    for nodes in uses.values():
        for left, right in combinations(nodes, 2):
            found.add_edge(left, right, kind="same")
            found.add_edge(right, left, kind="same")
    return found


def test_a_contraction_has_the_embeddings_of_its_tables_and_those_with_operands_mixed() -> None:
    pattern, operator = lane_dot(2, 2), gemm(2, 2, 2)
    statement, own = operator.statements[0], pattern.statements[0]
    every = {found.nodes for found in embeddings(operator, pattern)}
    for binding in bindings(statement, own):
        tables = {
            tuple((0, 0, found.point(lane)) for lane in found.problem.lanes)
            for found in table_embeddings(statement, own, binding)
        }
        assert tables <= every
