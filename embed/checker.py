"""The solver-free checker: the rules an embedding must satisfy, tested on the map itself, point by point.

`verify` looks at whole invocations: every one of a small operator, and of a large one those at the corners of the
loop nest and some in between. It uses only the operator's and the pattern's accesses. Where the operator was rewritten,
the rules are those of the map to the points of the user's operator.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod

import numpy as np

from dataflow.affine import Affine
from dataflow.expression import Read
from dataflow.symbolic import sums_apart
from embed.binding import bindings, named_accesses
from embed.embedding import Array, Digit, Embedding
from embed.relax.check import lost_or_doubled, wrong_access

_INVOCATIONS = 24
_FEWEST, _LANES = 4, 1 << 22
"""Of instructions with very many lanes fewer invocations are looked at: so many lanes in all, but not fewer."""


class CheckError(Exception):
    """An embedding breaks a rule; whoever made it has a defect."""


def verify(embedding: Embedding) -> None:
    """Raise CheckError unless labels, sharing, accumulation, once and idle all hold."""
    _labels(embedding)
    _cover(embedding)
    sample = _Sample.of(embedding)
    _inside(embedding, sample)
    sample = _asked(embedding, sample)
    _once(embedding, sample)
    _accesses(embedding, sample)
    _idle(embedding, sample)


def sample_origins(embedding: Embedding) -> Iterator[dict[str, int]]:
    """Tile origins to look at: all of a few, else the corners and evenly spaced ones."""
    loops = embedding.loops
    total = prod(loop.extent for loop in loops)
    most = max(_FEWEST, min(_INVOCATIONS, _LANES // embedding.pattern.points))
    if total <= most:
        places = list(product(*(range(loop.extent) for loop in loops)))
    else:
        shape = [loop.extent for loop in loops]
        flat = [place * (total - 1) // (most - 1) for place in range(most)]
        corners = list(product(*(sorted({0, loop.extent - 1}) for loop in loops)))
        ends = [corners[place * (len(corners) - 1) // (most - 1)] for place in range(most)]
        between = (_unravelled(number, shape) for number in flat) if most == _INVOCATIONS else ()
        places = list(dict.fromkeys([*ends, *between]))
    for place in places:
        yield {loop.name: value for loop, value in zip(loops, place, strict=True)}


def _unravelled(number: int, shape: Sequence[int]) -> tuple[int, ...]:
    """The place of a number in row-major order."""
    place = []
    for extent in reversed(shape):
        number, digit = divmod(number, extent)
        place.append(digit)
    return tuple(reversed(place))


@dataclass(frozen=True, slots=True)
class _Sample:
    """Some invocations: coordinates of their lanes in the pattern's and the operator's dims, and which are idle.

    The arrays broadcast to `shape`: invocations, then the dims of the pattern. `busy` numbers the lanes of `shape` that
    have a point, None if all have.
    """

    shape: tuple[int, ...]
    invocation: Array
    lanes: Mapping[str, Array]
    points: Mapping[str, Array]
    idle: Array
    busy: Array | None

    @classmethod
    def of(cls, embedding: Embedding) -> "_Sample":
        origins = list(sample_origins(embedding))
        rank = len(embedding.lanes)
        lanes = {
            lane: np.arange(extent).reshape([-1 if axis == place else 1 for axis in range(rank)])
            for place, (lane, extent) in enumerate(embedding.lanes.items())
        }
        names = [loop.name for loop in embedding.loops]
        places = {name: np.array([origin[name] for origin in origins]).reshape(-1, *[1] * rank) for name in names}
        points, idle = embedding.points(places, lanes)
        shape = (len(origins), *embedding.lanes.values())
        idle = np.broadcast_to(idle, shape)
        invocation = np.arange(len(origins)).reshape(-1, *[1] * rank)
        return cls(shape, invocation, lanes, points, idle, np.flatnonzero(~idle) if idle.any() else None)

    def taken(self, values: Array) -> Array:
        """One value for each busy lane."""
        flat = np.broadcast_to(values, self.shape).reshape(-1)
        return flat if self.busy is None else flat[self.busy]


def _asked(embedding: Embedding, sample: _Sample) -> _Sample:
    """The sample in the dims of the user's operator; lanes with an added point are idle."""
    relaxed = embedding.relaxed
    if relaxed is None:
        return sample
    lost = lost_or_doubled(relaxed)
    if lost is not None:
        raise CheckError(f"once: {relaxed} does not have each point of {lost} once")
    taken = {dim: sample.taken(place) for dim, place in sample.points.items()}
    wrong = wrong_access(relaxed, taken, *relaxed.back(taken))
    if wrong is not None:
        raise CheckError(f"relaxation: {wrong}")
    points, real = relaxed.back(sample.points)
    points |= {part: sample.points[part] for part in relaxed.parts}
    idle = sample.idle | ~np.broadcast_to(real, sample.shape)
    return replace(sample, points=points, idle=idle, busy=np.flatnonzero(~idle) if idle.any() else None)


def _labels(embedding: Embedding) -> None:
    if embedding.binding not in bindings(embedding.asked.main, embedding.pattern):
        raise CheckError(f"labels: {embedding.binding} does not make the scalar bodies agree")


def _cover(embedding: Embedding) -> None:
    """Each dim stands in exactly one place, and the digits of a lane dimension fit in it."""
    held = [dim for digit in embedding.digits for dim in digit.dims]
    if not all(digit.dims for digit in embedding.digits):
        raise CheckError("once: a digit holds no dim")
    if sorted([*held, *embedding.outer_dims]) != sorted(embedding.extents):
        raise CheckError(f"once: a dim stands in two digits, or is not the operator's: {held}")
    unknown = [str(digit) for digit in embedding.digits if digit.lane not in embedding.lanes or digit.radix < 1]
    if unknown:
        raise CheckError(f"capacity: no lanes for the digits {unknown}")
    for lane, extent in embedding.lanes.items():
        used = prod(digit.radix for digit in embedding.digits_of(lane))
        if used > extent:
            raise CheckError(f"capacity: the digits of {lane} take {used} lanes of {extent}")


def _inside(embedding: Embedding, sample: _Sample) -> None:
    for dim, extent in embedding.extents.items():
        outside = (sample.points[dim] < 0) | (sample.points[dim] >= extent)
        if outside.any() and sample.taken(outside).any():
            raise CheckError(f"once: {dim} leaves 0..{extent - 1}")


def _once(embedding: Embedding, sample: _Sample) -> None:
    """No point of the operator twice, neither in one invocation nor in two of those looked at."""
    total: Array = np.zeros(1, np.int64)
    for dim, extent in embedding.asked.main.extents.items():
        total = total * extent + sample.points[dim]
    numbers = sample.taken(total)
    if _distinct(numbers) < numbers.size:
        raise CheckError("once: two lanes do the same point")


def _accesses(embedding: Embedding, sample: _Sample) -> None:
    """Sharing for every operand; for the output also that no two accumulators hold one sum."""
    output = embedding.pattern.output.tensor
    main = embedding.asked.main
    accesses = named_accesses(main)
    if not sums_apart(main):
        raise CheckError(f"accumulation: several points of the output dims of `{main}` share a sum")
    for operand, access in embedding.binding.pairs:
        register = sample.taken(_numbers(embedding.pattern.accesses[operand], sample.lanes, sample.invocation))
        read = accesses[access]
        if operand == output and embedding.relaxed:
            read = replace(read, index=(*read.index, *(Affine(((part, 1),)) for part in embedding.relaxed.parts)))
        element = sample.taken(_numbers(read, sample.points, sample.invocation))
        held = np.full(int(register.max(initial=-1)) + 1, -1, np.int64)
        held[register] = element
        if not np.array_equal(held[register], element):
            raise CheckError(f"sharing: one element of {operand} would hold several of {access}")
        used = held[held >= 0]
        if operand == output and _distinct(used) < used.size:
            raise CheckError(f"accumulation: several elements of {operand} would hold one of {access}")


def _numbers(read: Read, values: Mapping[str, Array], invocation: Array) -> Array:
    """A number for the element read at each lane, the same for the same element of one invocation only."""
    total: Array = invocation.astype(np.int64)
    for index in read.index:
        place: Array = np.asarray(index.constant)
        for dim, coefficient in index.terms:
            place = place + coefficient * values[dim]
        low, high = int(place.min()), int(place.max())
        total = total * (high - low + 1) + (place - low)
    return total


def _distinct(numbers: Array) -> int:
    """How many different numbers there are."""
    ordered = np.sort(numbers)
    return int(np.count_nonzero(ordered[1:] != ordered[:-1])) + min(1, ordered.size)


def _idle(embedding: Embedding, sample: _Sample) -> None:
    """Every idle lane must read a word element that only idle lanes use, so that it can hold zero."""
    idle = sample.idle
    fed = np.zeros(idle.shape, bool)
    for read in (*embedding.pattern.reads, embedding.pattern.output):
        used = {dim for index in read.index for dim in index.dims}
        others = tuple(axis for axis, lane in enumerate(embedding.lanes, 1) if lane not in used)
        fed |= idle.all(axis=others, keepdims=True)
    if (idle & ~fed).any():
        raise CheckError("idle: a lane without a point shares all its operands with busy lanes")
    for digit in embedding.digits:
        if embedding.steps(digit) * digit.radix > embedding.size(digit) and not _moved(embedding, digit):
            raise CheckError(f"idle: no operand of {digit.lane} moves along {digit}, to hold zeros past its end")


def _moved(embedding: Embedding, digit: Digit) -> bool:
    """Whether the words of some operand with the digit's lane differ between its runs."""
    for operand, access in embedding.binding.pairs:
        lanes = {dim for index in embedding.pattern.accesses[operand].index for dim in index.dims}
        dims = {dim for index in embedding.accesses[access].index for dim in index.dims}
        if digit.lane in lanes and not dims.isdisjoint(digit.dims):
            return True
    return False
