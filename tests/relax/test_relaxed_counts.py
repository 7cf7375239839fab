"""Regular embeddings with every relaxation on, counted: the solver's against brute force, and compared as sets of maps.

The brute force below shares nothing with embed: dims are put into lanes in every way, the map from lanes to the user's
iteration points is written out, and the five rules are tested on it, element by element. What a relaxation is stands
here a second time, as new dims with a function back to the user's.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from math import prod

import numpy as np
import pytest

from dataflow import Operator, batched_gemm, conv1d, conv2d, depthwise_conv2d, gemm
from dataflow.computation import Computation, Tensor
from dataflow.notation import parse
from embed.binding import Binding, bindings
from embed.checker import verify
from embed.costs import Rates
from embed.embedding import Embedding, Placeable
from embed.relax.candidates import candidates
from embed.relax.steps import EXACT
from embed.solver.model import Placements
from embed.solver.problem import Problem
from embed.solver.settings import Settings

Point = dict[str, int]
Box = dict[str, int]
Back = Callable[[Point], Point | None]
Digits = tuple[tuple[str, tuple[str, ...], int], ...]
"""Lane, dims from the outermost to the innermost, radix."""

Map = frozenset[frozenset[tuple[tuple[int, ...], tuple[int, ...]]]]
"""For each invocation, the lanes that have a point, each with its point."""


@dataclass(frozen=True)
class View:
    """The user's box seen through new dims: `inner` must stand in lanes, the two of `apart` in different ones."""

    box: Box
    back: Back
    inner: tuple[str, ...] = ()
    apart: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Case:
    """An operator on an instruction, and by hand what slides (x, s, steps of s for one of x) and what is in blocks."""

    operator: Operator
    pattern: Computation
    windows: tuple[tuple[str, str, int], ...] = ()
    blocks: tuple[str, ...] = ()


def product_of(pattern: str, **lanes: int) -> Computation:
    """An instruction pattern of i8 products summed in i32."""
    shapes = {text.split("[")[0].strip(): text.split("[")[1].split("]")[0].split(",") for text in accesses_of(pattern)}
    types = {name: "i32" if number == 0 else "i8" for number, name in enumerate(shapes)}
    tensors = {name: Tensor(name, types[name], tuple(lanes[d] for d in dims)) for name, dims in shapes.items()}
    return parse(pattern, lanes, tensors)


def accesses_of(pattern: str) -> list[str]:
    left, right = pattern.split("+=")
    return [left, *(part.replace("i32(", "") for part in right.split("*"))]


def gemm_of(b: int, o: int, i: int) -> Computation:
    return product_of("acc[b,o] += i32(inp[b,i]) * i32(wgt[o,i])", b=b, o=o, i=i)


DOTS = product_of("acc[i,j] += i32(a[i,k,q]) * i32(b[k,j,q])", i=1, j=2, k=2, q=2)

CASES = {
    "depthwise row": Case(conv1d(c=2, k=2, w=5, s=2, groups=2), gemm_of(1, 2, 2), (("x", "s", 1),), ("g",)),
    "depthwise row, 4 lanes": Case(conv1d(c=2, k=2, w=5, s=3, groups=2), gemm_of(1, 4, 2), (("x", "s", 1),), ("g",)),
    "one row": Case(conv1d(c=1, k=1, w=6, s=3), gemm_of(1, 2, 4), (("x", "s", 1),)),
    "padded row": Case(conv1d(c=1, k=2, w=4, s=3, pad=1), gemm_of(1, 4, 2), (("x", "s", 1),)),
    "strided row": Case(conv1d(c=1, k=1, w=7, s=3, stride=2), gemm_of(1, 2, 4), (("x", "s", 2),)),
    "row with channels": Case(conv1d(c=2, k=2, w=4, s=2), gemm_of(1, 2, 2), (("x", "s", 1),)),
    "batch of rows": Case(conv1d(n=2, c=1, k=1, w=4, s=2), gemm_of(2, 2, 2), (("x", "s", 1),)),
    "depthwise plane": Case(
        depthwise_conv2d(c=1, h=3, w=3, r=2, s=2), gemm_of(1, 4, 2), (("y", "r", 1), ("x", "s", 1))
    ),
    "products": Case(batched_gemm(batch=3, m=1, n=2, k=2), gemm_of(1, 4, 2), (), ("batch",)),
    "products, batch in rows": Case(batched_gemm(batch=2, m=2, n=1, k=3), gemm_of(2, 2, 2), (), ("batch",)),
    "grouped": Case(conv2d(c=4, k=2, h=1, w=3, r=1, s=2, groups=2), gemm_of(1, 2, 4), (("x", "s", 1),), ("g",)),
    "two lane dimensions": Case(gemm(m=1, n=3, k=5), DOTS),
    "two lane dimensions, window": Case(conv1d(c=2, k=1, w=4, s=2), DOTS, (("x", "s", 1),)),
}


def least_factors(size: int, most: int) -> list[int]:
    """Factors above 1 that no smaller one equals in the number of runs."""
    return [f for f in range(2, min(size, most) + 1) if len(runs_of(size, f)) < len(runs_of(size, f - 1))]


def runs_of(size: int, radix: int) -> list[range]:
    return [range(start, min(start + radix, size)) for start in range(0, size, radix)]


def plain(box: Box) -> View:
    return View(box, lambda point: point)


def instead(box: Box, new: Mapping[str, Box]) -> Box:
    """The box with some dims replaced, each in its place."""
    return {name: n for dim, extent in box.items() for name, n in new.get(dim, {dim: extent}).items()}


def window(x: str, s: str, step: int, view: View, factor: int) -> View:
    """`factor` neighbouring x side by side over all the pixels that their windows span."""
    outer = {f"{x}o": len(runs_of(view.box[x], factor)), f"{x}i": factor}
    pixels = {f"{x}p": view.box[s] + step * (factor - 1)}

    def back(point: Point) -> Point | None:
        left = {d: v for d, v in point.items() if d not in (f"{x}o", f"{x}i", f"{x}p")}
        left[x] = factor * point[f"{x}o"] + point[f"{x}i"]
        left[s] = point[f"{x}p"] - step * point[f"{x}i"]
        return view.back(left) if left[x] < view.box[x] and 0 <= left[s] < view.box[s] else None

    pair = f"{x}i", f"{x}p"
    return View(instead(view.box, {x: outer, s: pixels}), back, (*view.inner, *pair), (*view.apart, pair))


def block(g: str, view: View, factor: int) -> View:
    """`factor` neighbouring g as the rows and the columns of a block."""
    new = {f"{g}o": len(runs_of(view.box[g], factor)), f"{g}r": factor, f"{g}c": factor}

    def back(point: Point) -> Point | None:
        left = {d: v for d, v in point.items() if d not in new}
        left[g] = factor * point[f"{g}o"] + point[f"{g}r"]
        return view.back(left) if left[g] < view.box[g] and point[f"{g}r"] == point[f"{g}c"] else None

    pair = f"{g}r", f"{g}c"
    return View(instead(view.box, {g: new}), back, (*view.inner, *pair), (*view.apart, pair))


def halves(view: View, c: str, factor: int) -> View:
    """c as two dims, the inner one of `factor` points."""
    new = {f"{c}o": len(runs_of(view.box[c], factor)), f"{c}i": factor}

    def back(point: Point) -> Point | None:
        left = {d: v for d, v in point.items() if d not in new}
        left[c] = factor * point[f"{c}o"] + point[f"{c}i"]
        return view.back(left) if left[c] < view.box[c] else None

    return View(instead(view.box, {c: new}), back, (f"{c}o",), ((f"{c}o", f"{c}i"),))


Table = list[dict[tuple[int, ...], Point | None]]


@dataclass(frozen=True)
class Rules:
    """The five rules for one binding, tested on what every lane of every invocation does."""

    main: Computation
    pattern: Computation
    binding: Binding

    def registers(self, operand: str, lane: tuple[int, ...]) -> tuple[int, ...]:
        at = dict(zip(self.pattern.extents, lane, strict=True))
        return tuple(index.evaluate(at) for index in self.pattern.accesses[operand].index)

    def element(self, operand: str, point: Point) -> tuple[int, ...]:
        reads = {read.tensor: read for read in (self.main.output, *self.main.reads)}
        return tuple(index.evaluate(point) for index in reads[dict(self.binding.pairs)[operand]].index)

    def hold(self, table: Table, whole: bool) -> bool:
        """All rules; `whole` says that the table is to cover the user's box."""
        points = [tuple(point.values()) for each in table for point in each.values() if point is not None]
        if len(set(points)) < len(points) or (whole and len(points) < self.main.points):
            return False
        return all(self.shared(each) and self.fed(each) for each in table)

    def shared(self, each: Mapping[tuple[int, ...], Point | None]) -> bool:
        for operand, _ in self.binding.pairs:
            pairs = {
                (self.registers(operand, lane), self.element(operand, point))
                for lane, point in each.items()
                if point is not None
            }
            if len({register for register, _ in pairs}) < len(pairs):
                return False
            if operand == self.pattern.output.tensor and len({element for _, element in pairs}) < len(pairs):
                return False
        return True

    def fed(self, each: Mapping[tuple[int, ...], Point | None]) -> bool:
        free = set()
        for operand, _ in self.binding.pairs:
            used = {self.registers(operand, lane) for lane, point in each.items() if point is not None}
            free |= {lane for lane in each if self.registers(operand, lane) not in used}
        return all(point is not None or lane in free for lane, point in each.items())


def table_of(view: View, lanes: Box, digits: Digits, order: Sequence[str]) -> Table:
    """What each lane does in each invocation: the user's point in the order of his dims, or nothing."""
    held = {dim for _, dims, _ in digits for dim in dims}
    loops = [range(extent) for dim, extent in view.box.items() if dim not in held]
    names = [dim for dim in view.box if dim not in held]
    sizes = [prod(view.box[dim] for dim in dims) for _, dims, _ in digits]
    runs = [range(len(runs_of(size, radix))) for size, (_, _, radix) in zip(sizes, digits, strict=True)]
    table: Table = []
    for place in product(*loops, *runs):
        start = dict(zip(names, place, strict=False))
        each = {}
        for lane in product(*(range(extent) for extent in lanes.values())):
            point = point_at(view, digits, sizes, dict(zip(lanes, lane, strict=True)), start, place[len(names) :])
            found = view.back(point) if point is not None else None
            each[lane] = {dim: found[dim] for dim in order} if found is not None else None
        table.append(each)
    return table


def point_at(
    view: View, digits: Digits, sizes: Sequence[int], lane: Box, start: Point, runs: Sequence[int]
) -> Point | None:
    """The point of the view's box at one lane, None beyond the end of a digit."""
    point, left = dict(start), dict(lane)
    for (name, dims, radix), size, run in zip(digits, sizes, runs, strict=True):
        flat = run * radix + left[name] % radix
        left[name] //= radix
        if flat >= size:
            return None
        for dim in reversed(dims):
            point[dim] = flat % view.box[dim]
            flat //= view.box[dim]
    return None if any(left.values()) else point


def mapped(table: Table) -> Map:
    """The map as a set."""
    return frozenset(
        frozenset((lane, tuple(point.values())) for lane, point in each.items() if point is not None) for each in table
    )


Site = tuple[Callable[[View, int], View], str, int]


@dataclass
class Brute:
    """Every regular embedding of a case under one binding, by plain loops."""

    case: Case
    binding: Binding
    rules: Rules = field(init=False)
    lanes: Box = field(init=False)

    def __post_init__(self) -> None:
        self.rules = Rules(self.case.operator.main, self.case.pattern, self.binding)
        self.lanes = self.case.pattern.extents

    def table(self, view: View, digits: Digits) -> Table:
        return table_of(view, self.lanes, digits, list(self.case.operator.main.extents))

    def homes(self, view: View, dim: str) -> list[str]:
        """Lane dimensions that two or more neighbours along a dim can fill by themselves."""
        return [
            lane
            for lane, extent in self.lanes.items()
            if extent > 1 < view.box[dim]
            and self.rules.hold(self.table(view, ((lane, (dim,), min(extent, view.box[dim])),)), False)
        ]

    def widths(self, view: View, dim: str) -> list[int]:
        """Lanes of the lane dimensions that a dim can fill, the most last."""
        return sorted(self.lanes[lane] for lane in self.homes(view, dim))

    def views(self) -> Iterator[View]:
        """The plain box, then every relaxation and combination."""
        start = plain(self.case.operator.main.extents)
        yield start
        for dim in start.box:
            yield from self.split(start, dim)
        sites: list[Site] = []
        for x, s, step in self.case.windows:
            make = partial(window, x, s, step)
            sites.append((make, x, max(self.widths(make(start, 2), f"{x}i"), default=0)))
        for g in self.case.blocks:
            make = partial(block, g)
            sites.append((make, g, min(self.widths(make(start, 2), f"{g}r")[-2:], default=0)))
        for chosen in product((False, True), repeat=len(sites)):
            yield from self.combined(start, [site for site, taken in zip(sites, chosen, strict=True) if taken])

    def split(self, start: View, dim: str) -> Iterator[View]:
        size = start.box[dim]
        lanes = self.widths(start, dim)
        slides = any(len(i.dims) > 1 and i.coefficient(dim) for read in self.rules.main.reads for i in read.index)
        factors = set(least_factors(size, max(lanes))) if len(lanes) > 1 else set()
        if slides and lanes:
            factors |= {-(-size // count) for count in least_factors(size, max(lanes))}
        for factor in sorted(factors - {1, size}):
            yield halves(start, dim, factor)

    def combined(self, view: View, sites: Sequence[Site]) -> Iterator[View]:
        """Windows and blocks together, with factors whose product is no more than the lanes that take one of them."""
        room = max((lanes for _, _, lanes in sites), default=0)
        for factors in product(*(least_factors(view.box[dim], lanes) for _, dim, lanes in sites)):
            if sites and prod(factors) <= room:
                found = view
                for (make, _, _), factor in zip(sites, factors, strict=True):
                    found = make(found, factor)
                yield found

    def maps(self) -> Iterator[Map]:
        for view in self.views():
            homes = {dim: self.homes(view, dim) for dim in view.box}
            for digits in self.fillings(view, homes):
                table = self.table(view, digits)
                if self.rules.hold(table, True):
                    yield mapped(table)

    def fillings(self, view: View, homes: Mapping[str, Sequence[str]]) -> Iterator[Digits]:
        """Every way to put dims into lanes that leaves no lane idle where a digit could have fewer runs."""
        for places in product(*([None, *homes[dim]] for dim in view.box)):
            chosen = dict(zip(view.box, places, strict=True))
            if any(chosen[dim] is None for dim in view.inner if view.box[dim] > 1):
                continue
            if any(chosen[one] == chosen[other] for one, other in view.apart):
                continue
            sides = [list(self.side(view, lane, [d for d in chosen if chosen[d] == lane])) for lane in self.lanes]
            yield from (sum(side, ()) for side in product(*sides))

    def side(self, view: View, lane: str, dims: Sequence[str]) -> Iterator[Digits]:
        """The digits of one lane dimension, the innermost first, each with the least radix for its runs."""
        lanes = self.lanes[lane]
        for groups in partitions(list(dims)):
            sizes = [prod(view.box[dim] for dim in group) for group in groups]
            for radices in product(*(least_factors(size, lanes) for size in sizes)):
                room = [lanes * radix // prod(radices) for radix in radices]
                fewest = all(
                    len(runs_of(size, radix)) == len(runs_of(size, max(radix, min(size, most))))
                    for size, radix, most in zip(sizes, radices, room, strict=True)
                )
                if prod(radices) <= lanes and fewest:
                    yield tuple((lane, group, radix) for group, radix in zip(groups, radices, strict=True))[::-1]


def partitions(items: list[str]) -> Iterator[list[tuple[str, ...]]]:
    """Every way to split a list into groups; each keeps the list's order, and so do the groups' first items."""
    if not items:
        yield []
        return
    for taken in product((False, True), repeat=len(items) - 1):
        group = (items[0], *(item for item, here in zip(items[1:], taken, strict=True) if here))
        for others in partitions([item for item, here in zip(items[1:], taken, strict=True) if not here]):
            yield [group, *others]


def solved(case: Case, binding: Binding) -> Iterator[Embedding]:
    """What the solver finds, each digit with the least radix for its runs."""
    placeable = Placeable("pattern", case.pattern)
    free = Rates(1, 1, 1, 1, {tensor.name: 1 for tensor in case.pattern.inputs}, {}, 1, 1)
    problems = [Problem(case.operator, placeable, binding, free)]
    rewritten = candidates(case.operator, case.pattern, binding, EXACT)
    problems += [Problem(one.operator, placeable, binding, free, relaxed=one) for one in rewritten]
    for problem in problems:
        stream = Placements(problem).stream(Settings(), 1e12, False)
        for embedding in stream:
            verify(embedding)
            least = [replace(d, radix=-(-embedding.size(d) // embedding.steps(d))) for d in embedding.digits]
            yield replace(embedding, digits=tuple(least))
        assert stream.complete


def map_of(embedding: Embedding) -> Map:
    """The embedding's own map, all invocations at once, in the user's dims."""
    lanes = np.indices(tuple(embedding.lanes.values())).reshape(len(embedding.lanes), -1)
    named = dict(zip(embedding.lanes, lanes, strict=True))
    found = set()
    for place in product(*(range(loop.extent) for loop in embedding.loops)):
        origin = {loop.name: value for loop, value in zip(embedding.loops, place, strict=True)}
        points, idle = embedding.points(origin, named)
        real = ~idle
        if embedding.relaxed:
            points, own = embedding.relaxed.back(points)
            real = real & own
        columns = [np.broadcast_to(points[dim], real.shape) for dim in embedding.asked.main.extents]
        chosen = np.flatnonzero(real)
        found.add(
            frozenset((tuple(map(int, lanes[:, n])), tuple(int(column[n]) for column in columns)) for n in chosen)
        )
    return frozenset(found)


@pytest.mark.parametrize("name", CASES)
def test_the_solver_finds_what_brute_force_finds(name: str) -> None:
    case = CASES[name]
    for binding in bindings(case.operator.main, case.pattern):
        found = {map_of(embedding) for embedding in solved(case, binding)}
        assert found == set(Brute(case, binding).maps())
        assert found
