"""The solver-free checker: the rules an embedding must satisfy, tested on the map itself, point by point.

`verify` looks at whole invocations: every one of a small operator, and of a large one those at the corners of the
loop nest and some in between. It uses only the operator's and the pattern's accesses.
"""

from collections.abc import Iterator, Mapping
from itertools import product
from math import prod

import numpy as np

from dataflow.expression import Read
from embed.binding import bindings
from embed.embedding import Array, Embedding

_INVOCATIONS = 24


class CheckError(Exception):
    """An embedding breaks a rule; whoever made it has a defect."""


def verify(embedding: Embedding) -> None:
    """Raise CheckError unless labels, sharing, accumulation, once and idle all hold."""
    _labels(embedding)
    _cover(embedding)
    lanes = _lanes(embedding)
    seen: set[int] = set()
    for origin in sample_origins(embedding):
        points, idle = embedding.points(origin, lanes)
        points = {dim: np.broadcast_to(values, idle.shape) for dim, values in points.items()}
        _inside(embedding, points, idle)
        _once(embedding, points, idle, seen)
        _accesses(embedding, points, lanes, idle)
        _idle(embedding, lanes, idle)


def sample_origins(embedding: Embedding) -> Iterator[dict[str, int]]:
    """Tile origins to look at: all of a few, else the corners and evenly spaced ones."""
    loops = embedding.loops
    total = prod(loop.extent for loop in loops)
    if total <= _INVOCATIONS:
        places = list(product(*(range(loop.extent) for loop in loops)))
    else:
        shape = [loop.extent for loop in loops]
        flat = np.linspace(0, total - 1, _INVOCATIONS).astype(int)
        ends = product(*(sorted({0, loop.extent - 1}) for loop in loops))
        places = list(dict.fromkeys([*list(ends)[:_INVOCATIONS], *zip(*np.unravel_index(flat, shape), strict=True)]))
    for place in places:
        yield {loop.name: int(value) for loop, value in zip(loops, place, strict=True)}


def _lanes(embedding: Embedding) -> dict[str, Array]:
    rank = len(embedding.lanes)
    return {
        lane: np.arange(extent).reshape([-1 if axis == place else 1 for axis in range(rank)])
        for place, (lane, extent) in enumerate(embedding.lanes.items())
    }


def _labels(embedding: Embedding) -> None:
    if embedding.binding not in bindings(embedding.operator.main, embedding.pattern):
        raise CheckError(f"labels: {embedding.binding} does not make the scalar bodies agree")


def _cover(embedding: Embedding) -> None:
    """Each dim stands in exactly one place, and the digits of a lane dimension fit in it."""
    held = [dim for digit in embedding.digits for dim in digit.dims]
    if sorted([*held, *embedding.outer_dims]) != sorted(embedding.extents):
        raise CheckError(f"once: a dim stands in two digits: {held}")
    for lane, extent in embedding.lanes.items():
        used = prod(digit.radix for digit in embedding.digits_of(lane))
        if used > extent:
            raise CheckError(f"once: the digits of {lane} take {used} lanes of {extent}")


def _inside(embedding: Embedding, points: Mapping[str, Array], idle: Array) -> None:
    for dim, extent in embedding.extents.items():
        busy = points[dim][~idle]
        if busy.size and not (0 <= busy.min() and busy.max() < extent):
            raise CheckError(f"once: {dim} leaves 0..{extent - 1}")


def _once(embedding: Embedding, points: Mapping[str, Array], idle: Array, seen: set[int]) -> None:
    """No point of the operator twice, neither in one invocation nor in two of those looked at."""
    total = np.zeros(idle.shape, np.int64)
    for dim, extent in embedding.extents.items():
        total = total * extent + points[dim]
    numbers = total[~idle].tolist()
    fresh = set(numbers)
    if len(fresh) < len(numbers) or fresh & seen:
        raise CheckError("once: two lanes do the same point")
    seen |= fresh


def _accesses(embedding: Embedding, points: Mapping[str, Array], lanes: Mapping[str, Array], idle: Array) -> None:
    """Sharing for every operand; for the output also that no two accumulators hold one sum."""
    busy = ~idle
    output = embedding.pattern.output.tensor
    registers, elements = embedding.pattern.accesses, embedding.operator.main.accesses
    for operand, tensor in embedding.binding.pairs:
        register = _numbers(registers[operand], lanes, busy)
        element = _numbers(elements[tensor], points, busy)
        pairs = len(set(zip(register, element, strict=True)))
        if len(set(register)) != pairs:
            raise CheckError(f"sharing: one element of {operand} would hold several of {tensor}")
        if operand == output and len(set(element)) != pairs:
            raise CheckError(f"accumulation: several elements of {operand} would hold one of {tensor}")


def _numbers(read: Read, values: Mapping[str, Array], busy: Array) -> list[int]:
    """A number for the element read at each busy lane, the same for the same element only."""
    total = np.zeros(busy.shape, np.int64)
    for index in read.index:
        place = np.full(busy.shape, index.constant, np.int64)
        for dim, coefficient in index.terms:
            place += coefficient * values[dim]
        low, high = int(place.min()), int(place.max())
        total = total * (high - low + 1) + (place - low)
    numbers: list[int] = total[busy].tolist()
    return numbers


def _idle(embedding: Embedding, lanes: Mapping[str, Array], idle: Array) -> None:
    """Every idle lane must read a word element that only idle lanes use, so that it can hold zero."""
    fed = np.zeros(idle.shape, bool)
    for read in embedding.pattern.reads:
        used = {dim for index in read.index for dim in index.dims}
        others = tuple(axis for axis, lane in enumerate(lanes) if lane not in used)
        fed |= np.broadcast_to(idle.all(axis=others, keepdims=True), idle.shape)
    outputs = {dim for index in embedding.pattern.output.index for dim in index.dims}
    unused = tuple(axis for axis, lane in enumerate(lanes) if lane not in outputs)
    fed |= np.broadcast_to(idle.all(axis=unused, keepdims=True), idle.shape)
    if (idle & ~fed).any():
        raise CheckError("idle: a lane without a point shares all its operands with busy lanes")
