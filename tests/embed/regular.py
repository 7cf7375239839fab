"""Regular embeddings in plain Python, from their definition: all of them, random ones, and the map phi of each."""

from collections.abc import Iterator, Mapping
from itertools import product
from math import prod

from hypothesis import strategies as st

import isa
from dataflow import Operator
from dataflow.expression import Read
from embed.binding import Binding, bindings
from embed.embedding import Digit, Embedding, Placeable


def vta(batch: int, block_in: int, block_out: int) -> isa.Isa:
    """VTA of any shape, its scratchpads as many words deep as usual."""
    sizes = {"inp_bytes": 2048 * batch * block_in, "wgt_bytes": 1024 * block_in * block_out}
    sizes |= {"batch": batch, "block_in": block_in, "block_out": block_out, "acc_bytes": 2048 * 4 * batch * block_out}
    return isa.load("vta", sizes)


SMALL = vta(1, 4, 4)
TARGETS = (SMALL, vta(4, 8, 4), vta(2, 16, 8))
GEMM = Placeable.of(SMALL, "gemm")

Place = dict[str, int]


def uses(read: Read, dim: str) -> bool:
    return any(index.coefficient(dim) != 0 for index in read.index)


def reads(operator: Operator, binding: Binding) -> dict[str, Read]:
    """The operator's access in the role of each instruction operand: `x.2` is the second read of x."""
    main, found = operator.main, {}
    for operand, name in binding.pairs:
        tensor, _, number = name.partition(".")
        named = [read for read in (main.output, *main.reads) if read.tensor == tensor]
        found[operand] = named[int(number or 1) - 1]
    return found


def homes(operator: Operator, instruction: Placeable, binding: Binding) -> dict[str, list[str]]:
    """For every dim with more than one point, the lane dims it may fill by sharing, accumulation and idle."""
    pattern, found = instruction.pattern, reads(operator, binding)
    result: dict[str, list[str]] = {}
    for dim, extent in operator.main.extents.items():
        if extent == 1:
            continue
        result[dim] = []
        for lane, lanes in pattern.extents.items():
            having = [operand for operand in found if uses(pattern.accesses[operand], lane)]
            moving = [operand for operand in found if uses(found[operand], dim)]
            output = pattern.output.tensor
            shared = all(operand in having for operand in moving)
            apart = output not in having or output in moving
            if lanes > 1 and shared and apart and set(having) & set(moving):
                result[dim].append(lane)
    return result


def partitions(items: list[str]) -> Iterator[list[tuple[str, ...]]]:
    """Every way to split a list into groups; each group keeps the list's order, and so do the groups' first items."""
    if not items:
        yield []
        return
    first, rest = items[0], items[1:]
    for chosen in product((False, True), repeat=len(rest)):
        group = (first, *(item for item, taken in zip(rest, chosen, strict=True) if taken))
        for others in partitions([item for item, taken in zip(rest, chosen, strict=True) if not taken]):
            yield [group, *others]


def radices(size: int, lanes: int) -> list[int]:
    """Radices that no smaller one matches in the number of runs."""
    runs: dict[int, int] = {}
    for radix in range(1, min(size, lanes) + 1):
        runs.setdefault(-(-size // radix), radix)
    return [radix for radix in runs.values() if radix > 1]


def placements(operator: Operator, instruction: Placeable, binding: Binding) -> Iterator[Embedding]:
    """Every regular placement under one binding, each with the smallest radices for its runs."""
    places = homes(operator, instruction, binding)
    for choice in product(*([None, *lanes] for lanes in places.values())):
        chosen = dict(zip(places, choice, strict=True))
        sides = [
            list(fillings(operator, lane, extent, [dim for dim in places if chosen[dim] == lane]))
            for lane, extent in instruction.pattern.extents.items()
            if extent > 1
        ]
        for digits in product(*sides):
            yield Embedding(operator, instruction, binding, tuple(digit for side in digits for digit in side))


def fillings(operator: Operator, lane: str, lanes: int, dims: list[str]) -> Iterator[tuple[Digit, ...]]:
    """Every way to fill one lane dim with all of `dims`, outermost first as in the box."""
    for groups in partitions(dims):
        sizes = [prod(operator.main.extents[dim] for dim in group) for group in groups]
        for chosen in product(*(radices(size, lanes) for size in sizes)):
            if prod(chosen) <= lanes:
                pairs = zip(groups, chosen, strict=True)
                yield tuple(reversed([Digit(lane, tuple(reversed(group)), radix) for group, radix in pairs]))


def full(embedding: Embedding) -> bool:
    """Whether no digit could have fewer runs on lanes that are idle. Radices are the smallest for their runs."""
    for digit in embedding.digits:
        size = embedding.size(digit)
        taken = prod(other.radix for other in embedding.digits_of(digit.lane) if other != digit)
        room = embedding.lanes[digit.lane] // taken
        if -(-size // min(size, room)) < embedding.steps(digit):
            return False
    return True


def canonical(embedding: Embedding) -> object:
    """What two placements that differ in idle lanes only have in common: the dims and runs of every digit."""
    return (
        embedding.name,
        embedding.binding,
        tuple((digit.lane, digit.dims, embedding.steps(digit)) for digit in embedding.digits),
    )


def executed(embedding: Embedding) -> object:
    """The map itself: which points the lanes do together, with the instruction and the binding."""
    lanes = list(lane_positions(embedding))
    tiles = set()
    for origin in invocations(embedding):
        points = [phi(embedding, origin, lane) for lane in lanes]
        tiles.add(tuple(None if point is None else tuple(sorted(point.items())) for point in points))
    return embedding.name, embedding.binding, frozenset(tiles)


@st.composite
def embeddings(draw: st.DrawFn, operator: Operator, target: isa.Isa) -> Embedding:
    """A random regular embedding of GEMM with any useful radices, digits in any order."""
    instruction = Placeable.of(target, "gemm")
    binding = draw(st.sampled_from(bindings(operator.main, instruction.pattern)))
    places = homes(operator, instruction, binding)
    chosen = {dim: draw(st.sampled_from([None, *lanes, *lanes])) for dim, lanes in places.items()}
    digits: list[Digit] = []
    for lane, extent in instruction.pattern.extents.items():
        dims = [dim for dim in places if chosen[dim] == lane]
        room, rest = extent, draw(st.permutations(dims))
        while rest and room > 1:
            count = draw(st.integers(1, len(rest)))
            group, rest = tuple(rest[:count]), rest[count:]
            radix = draw(st.integers(2, min(room, prod(operator.main.extents[dim] for dim in group))))
            digits.append(Digit(lane, group, radix))
            room //= radix
    return Embedding(operator, instruction, binding, tuple(digits))


def phi(embedding: Embedding, origin: Mapping[str, int], lanes: Mapping[str, int]) -> Place | None:
    """The operator point at one lane of one invocation, None where the lane is idle."""
    extents = embedding.operator.main.extents
    point = {dim: origin[dim] for dim in extents if dim in origin}
    for lane, value in lanes.items():
        for digit in (digit for digit in embedding.digits if digit.lane == lane):
            value, place = divmod(value, digit.radix)
            flat = origin[digit.loop] * digit.radix + place
            for dim in digit.dims:
                flat, point[dim] = divmod(flat, extents[dim])
            if flat:
                return None
        if value:
            return None
    return point


def invocations(embedding: Embedding) -> Iterator[dict[str, int]]:
    """Every tile origin."""
    loops = embedding.loops
    for place in product(*(range(loop.extent) for loop in loops)):
        yield {loop.name: value for loop, value in zip(loops, place, strict=True)}


def lane_positions(embedding: Embedding) -> Iterator[dict[str, int]]:
    """Every lane of the instruction's box."""
    names = embedding.pattern.extents
    for place in product(*(range(extent) for extent in names.values())):
        yield dict(zip(names, place, strict=True))
