"""Regular embeddings with every relaxation on, counted: the solver's against brute force, and compared as sets of maps.

The brute force below shares nothing with embed: dims are put into lanes in every way, the map from lanes to the user's
iteration points is written out, and the five rules are tested on it, element by element. What a relaxation is, and
which may follow which, stands here a second time, as new dims with a function back to the user's.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from math import prod

import numpy as np
import pytest

import embed
import isa
from dataflow import Operator, batched_gemm, conv1d, conv2d, depthwise_conv2d, gemm
from dataflow.computation import Computation, Tensor
from dataflow.notation import parse
from embed import same
from embed.binding import Binding, bindings
from embed.checker import verify
from embed.costs import Rates
from embed.embedding import Embedding, Placeable
from embed.relax.candidates import Candidates
from embed.relax.steps import names
from embed.solver.deadline import Deadline
from embed.solver.listing import stream
from embed.solver.model import Placements
from embed.solver.problem import Problem
from embed.solver.questions import every
from embed.solver.settings import Settings

Point = dict[str, int]
Box = dict[str, int]
Back = Callable[[Point], Point | None]
Digits = tuple[tuple[str, tuple[str, ...], int], ...]
"""Lane, dims from the outermost to the innermost, radix."""

Map = frozenset[frozenset[tuple[tuple[int, ...], tuple[int, ...]]]]
"""For each invocation, the lanes that have a point, each with its point and the part of the sum."""

PART = "the part of the sum"


@dataclass(frozen=True)
class View:
    """The user's box seen through new dims: `inner` must stand in lanes, the two of `apart` in different ones.

    Along `part` every sum has accumulators of its own. `moves` names the tensors that move along the dims of a block.
    """

    box: Box
    back: Back
    inner: tuple[str, ...] = ()
    apart: tuple[tuple[str, str], ...] = ()
    part: str = ""
    moves: Mapping[str, frozenset[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """An operator on an instruction, and by hand what slides (x, s, steps of s for one of x) and what is in blocks."""

    operator: Operator
    pattern: Computation
    windows: tuple[tuple[str, str, int], ...] = ()
    blocks: tuple[str, ...] = ()

    @property
    def sums(self) -> list[str]:
        """Dims that the output does not move along."""
        moves = {dim for index in self.operator.main.output.index for dim in index.dims}
        return [dim for dim in self.operator.main.extents if dim not in moves]


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
WIDE_DOTS = product_of("acc[i,j] += i32(a[i,k,q]) * i32(b[k,j,q])", i=1, j=4, k=4, q=2)
LANES = product_of("acc[l] += i32(a[l]) * i32(b[l])", l=4)
PAIRS = product_of("acc[l] += i32(a[l,q]) * i32(b[l,q])", l=2, q=2)
BATCHES = product_of("acc[l,o] += i32(a[l,q]) * i32(b[l,o,q])", l=2, o=2, q=2)

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
    "two lane dimensions, long window": Case(conv1d(c=1, k=1, w=6, s=3), DOTS, (("x", "s", 1),)),
    "two lane dimensions, blocks": Case(batched_gemm(batch=4, m=1, n=1, k=2), WIDE_DOTS, (), ("batch",)),
    "dot product, lane by lane": Case(gemm(m=1, n=1, k=7), LANES),
    "products, lane by lane": Case(gemm(m=1, n=2, k=3), LANES),
    "row, lane by lane": Case(conv1d(c=2, k=1, w=4, s=3), LANES, (("x", "s", 1),)),
    "depthwise row, lane by lane": Case(conv1d(c=2, k=2, w=3, s=2, groups=2), LANES, (("x", "s", 1),), ("g",)),
    "dot products in pairs": Case(gemm(m=1, n=1, k=9), PAIRS),
    "row in pairs": Case(conv1d(c=2, k=1, w=4, s=2), PAIRS, (("x", "s", 1),)),
    "sums and windows": Case(conv1d(c=3, k=1, w=5, s=2), BATCHES, (("x", "s", 1),)),
    "sums and blocks": Case(batched_gemm(batch=3, m=1, n=1, k=4), BATCHES, (), ("batch",)),
    "sums, windows and blocks": Case(conv2d(c=4, k=2, h=1, w=3, r=1, s=2, groups=2), BATCHES, (("x", "s", 1),), ("g",)),
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
    box = instead(view.box, {x: outer, s: pixels})
    return replace(view, box=box, back=back, inner=(*view.inner, f"{x}i"), apart=(*view.apart, pair))


def block(g: str, tensors: Sequence[str], both: str, view: View, factor: int) -> View:
    """`factor` neighbouring g as the rows and columns of a block; the tensor `both` moves along the two.

    Of `tensors` the output is the first. It needs no columns in lanes where it moves along the rows only.
    """
    row, column = f"{g}r", f"{g}c"
    new = {f"{g}o": len(runs_of(view.box[g], factor)), row: factor, column: factor}
    one, other = (tensor for tensor in tensors if tensor != both)

    def back(point: Point) -> Point | None:
        left = {d: v for d, v in point.items() if d not in new}
        left[g] = factor * point[f"{g}o"] + point[row]
        return view.back(left) if left[g] < view.box[g] and point[row] == point[column] else None

    moves = {**view.moves, row: frozenset((one, both)), column: frozenset((other, both))}
    pair = row, column
    inner = pair if both == tensors[0] else (row,)
    return replace(
        view,
        box=instead(view.box, {g: new}),
        back=back,
        moves=moves,
        inner=(*view.inner, *inner),
        apart=(*view.apart, pair),
    )


def halves(view: View, c: str, factor: int) -> View:
    """c as two dims, the inner one of `factor` points."""
    outer, inner = f"{c}o", f"{c}i"
    new = {outer: len(runs_of(view.box[c], factor)), inner: factor}

    def back(point: Point) -> Point | None:
        left = {d: v for d, v in point.items() if d not in new}
        left[c] = factor * point[outer] + point[inner]
        return view.back(left) if left[c] < view.box[c] else None

    kept = tuple(dim for dim in view.inner if dim != c)
    parts = {c: (outer, inner)}
    apart = tuple(pair for old in view.apart for pair in product(*(parts.get(dim, (dim,)) for dim in old)))
    moves = {part: view.moves[dim] for dim in view.moves for part in parts.get(dim, (dim,))}
    box = instead(view.box, {c: new})
    return View(box, back, (*kept, outer), (*apart, (outer, inner)), view.part, moves)


def parted(view: View, c: str, count: int) -> View:
    """c, a dim of the sum, in at most `count` parts of equal size, each summed by itself."""
    found = halves(view, c, -(-view.box[c] // count))
    return replace(found, part=f"{c}o")


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
        place = tuple(index.evaluate(point) for index in reads[dict(self.binding.pairs)[operand]].index)
        return (*place, point[PART]) if operand == self.pattern.output.tensor else place

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
            part = point.get(view.part, 0) if point is not None else 0
            each[lane] = {**{dim: found[dim] for dim in order}, PART: part} if found is not None else None
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


def moves(view: View, digits: Digits, dim: str) -> bool:
    """Whether a dim takes several values in the lanes of some invocation."""
    ((dims, radix),) = ((dims, radix) for _, dims, radix in digits if dim in dims)
    place, sizes = dims.index(dim), [view.box[each] for each in dims]
    runs = runs_of(prod(sizes), radix)
    return any(len({np.unravel_index(flat, sizes)[place] for flat in run}) > 1 for run in runs)


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
            and self.may_move(view, dim, lane)
            and self.rules.hold(self.table(view, ((lane, (dim,), min(extent, view.box[dim])),)), False)
        ]

    def may_move(self, view: View, dim: str, lane: str) -> bool:
        """Off a block's diagonal there is no point that shows what shares an element: the tensors say it.

        An operand without the lane holds one element along it; the output has one for each lane.
        """
        moved = view.moves.get(dim)
        output = self.case.pattern.output.tensor
        has = {operand: self.along(operand, lane) for operand, _ in self.binding.pairs}
        return moved is None or all(
            has[operand] >= (tensor in moved) and (operand != output or has[operand] == (tensor in moved))
            for operand, tensor in self.binding.pairs
        )

    def along(self, operand: str, lane: str) -> bool:
        ahead = {name: int(name == lane) for name in self.lanes}
        return self.rules.registers(operand, tuple(ahead.values())) != self.rules.registers(operand, (0,) * len(ahead))

    def widths(self, view: View, dim: str) -> list[int]:
        """Lanes of the lane dimensions that a dim can fill, the most last."""
        return sorted(self.lanes[lane] for lane in self.homes(view, dim))

    def views(self) -> Iterator[View]:
        """The plain box, then what steps make of it: windows and blocks, then a sum in parts, then a dim in two."""
        start = plain(self.case.operator.main.extents)
        placed = [start, *self.windows_and_blocks(start)]
        summed = [*placed, *(part for view in placed for part in self.parts(view))]
        yield from summed
        for view in summed:
            for dim in view.box:
                yield from self.split(view, dim, alone=view is start)

    def windows_and_blocks(self, start: View) -> Iterator[View]:
        sites: list[Site] = []
        for x, s, step in self.case.windows:
            make = partial(window, x, s, step)
            sites.append((make, x, max(self.widths(make(start, 2), f"{x}i"), default=0)))
        tensors = [tensor for _, tensor in self.binding.pairs]
        for g, both in product(self.case.blocks, tensors):
            make = partial(block, g, tensors, both)
            sides = "rc" if both == tensors[0] else "r"
            widths = [max(self.widths(make(start, 2), f"{g}{side}"), default=0) for side in sides]
            sites.append((make, g, min(widths)))
        for chosen in product((False, True), repeat=len(sites)):
            taken = [site for site, here in zip(sites, chosen, strict=True) if here]
            if taken and len({dim for _, dim, _ in taken}) == len(taken):
                yield from self.combined(start, taken)

    def parts(self, view: View) -> Iterator[View]:
        """Each dim of the user's sum that is still there, with an accumulator in the lanes for each part."""
        for dim in self.case.sums:
            if view.box.get(dim, 1) > 1:
                lanes = max(self.widths(parted(view, dim, 2), f"{dim}o"), default=1)
                yield from (parted(view, dim, count) for count in least_factors(view.box[dim], lanes))

    def split(self, view: View, dim: str, alone: bool) -> Iterator[View]:
        """A dim in two lane dimensions, or, where nothing else is done, its lanes apart in a window."""
        size = view.box[dim]
        lanes = self.widths(view, dim)
        reads = self.rules.main.reads
        slides = alone and any(len(i.dims) > 1 and i.coefficient(dim) for read in reads for i in read.index)
        factors = set(least_factors(size, max(lanes))) if len(lanes) > 1 else set()
        if slides and lanes:
            factors |= {-(-size // count) for count in least_factors(size, max(lanes))}
        for factor in sorted(factors - {1, size}):
            yield halves(view, dim, factor)

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
            for digits in self.fillings(view):
                table = self.table(view, digits)
                if all(view.box[dim] == 1 or moves(view, digits, dim) for dim in view.inner) and self.rules.hold(
                    table, True
                ):
                    yield mapped(table)

    def fillings(self, view: View) -> Iterator[Digits]:
        """Every way to put dims into lanes that leaves no lane idle where a digit could have fewer runs."""
        homes = {dim: self.homes(view, dim) for dim in view.box}
        for places in product(*([None, *homes[dim]] for dim in view.box)):
            chosen = dict(zip(view.box, places, strict=True))
            if any(chosen[dim] is None for dim in view.inner if view.box[dim] > 1):
                continue
            if any(chosen[one] and chosen[one] == chosen[other] for one, other in view.apart):
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
    rewritten = Candidates(case.operator, case.pattern, binding, names("all"))
    problems += [Problem(one.operator, placeable, binding, free, relaxed=one) for one in rewritten]
    for problem in problems:
        stream = Placements(problem).stream(Settings(), Deadline(100), False)
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
        columns.append(np.broadcast_to(part_of(embedding, origin, named), real.shape))
        chosen = np.flatnonzero(real)
        found.add(
            frozenset((tuple(map(int, lanes[:, n])), tuple(int(column[n]) for column in columns)) for n in chosen)
        )
    return frozenset(found)


def part_of(embedding: Embedding, origin: Point, lanes: Mapping[str, np.ndarray]) -> np.ndarray:
    """The part of the sum that each lane adds to; 0 where sums are whole."""
    points, _ = embedding.points(origin, lanes)
    parts = embedding.relaxed.parts if embedding.relaxed else ()
    return points[parts[0]] if parts else np.zeros((), int)


@pytest.mark.parametrize("name", CASES)
def test_the_solver_finds_what_brute_force_finds(name: str) -> None:
    case = CASES[name]
    for binding in bindings(case.operator.main, case.pattern):
        embeddings = list(solved(case, binding))
        found = {map_of(embedding) for embedding in embeddings}
        assert found == set(Brute(case, binding).maps())
        assert len(found) == len({same.map_of(embedding) for embedding in embeddings}) > 0


@pytest.mark.parametrize("operator", [conv1d(c=2, k=2, w=5, s=2), conv1d(c=2, k=2, w=6, s=3, groups=2)], ids=str)
def test_each_map_is_listed_once_and_none_is_lost(operator: Operator) -> None:
    """Of those that differ in their packed arrays only, the best."""
    target = isa.load("vta", {"block_in": 2, "block_out": 4})
    listed = [each.embedding for each in embed.alternatives(operator, target, relax="all", dominated=True)]
    streamed = stream(operator, target, Settings(relax=names("all")), dominated=True)
    for found in (listed, [each.embedding for each in streamed]):
        maps = [(embedding.binding, map_of(embedding)) for embedding in found]
        assert len(set(maps)) == len(maps) == len(listed)
    everything = (
        one
        for problem in every(operator, target, Settings(relax=names("all")))
        for one in Placements(problem).stream(Settings(), Deadline(100), False)
    )
    assert {(one.binding, map_of(one)) for one in everything} == set(maps)
