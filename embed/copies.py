"""Copies: elements of a tensor that its packed array holds more than once.

A window's elements belong to several iteration points. Where all of the window's dims are loops, the points share one
word; where some stand in lanes, each of these has words of its own. That is a relaxation of storing everything once,
and its price is bytes: of the copies, and of reading them.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from math import prod

import numpy as np

from dataflow.expression import Read
from embed.embedding import Embedding
from embed.lanes import slides
from embed.layout import word_lanes
from embed.window import Window

Group = tuple[tuple[str, ...], tuple[int, ...]]
"""Dims that move along common dimensions of a tensor, and these dimensions."""


def copies(embedding: Embedding, name: str) -> int:
    """How many elements of the packed array of the access `name` are in it already."""
    read, operand = embedding.accesses[name], embedding.binding.operands[name]
    shape = embedding.operator.main.tensor(read.tensor).shape
    pads = embedding.instruction.pads.get(operand, 0)
    outer = set(embedding.outer_dims)
    counted = [
        count(read, shape, group, outer, embedding.extents, embedding.operator.main.output_dims, pads)
        for group in groups(read, embedding.extents)
    ]
    entries = prod(entry for entry, _ in counted) * _repeated(embedding, read, operand)
    return entries - prod(distinct for _, distinct in counted)


def all_copies(embedding: Embedding) -> dict[str, int]:
    """`copies` of each input; empty where lanes slide over an operand, since they share its elements in a word."""
    if slides(embedding.operator.main, embedding.pattern, embedding.binding):
        return {}
    return {name: copies(embedding, name) for name in embedding.inputs}


def groups(read: Read, extents: Mapping[str, int]) -> Iterator[Group]:
    """The dims of several points that an access uses, in groups that have no dimension of the tensor in common."""
    moved = [(number, {dim for dim in index.dims if extents[dim] > 1}) for number, index in enumerate(read.index)]
    left = [(set(dims), [number]) for number, dims in moved if dims]
    while left:
        dims, numbers = left.pop(0)
        near = next((other for other in left if not dims.isdisjoint(other[0])), None)
        if near is None:
            yield tuple(dim for dim in extents if dim in dims), tuple(sorted(numbers))
        else:
            left.remove(near)
            left.insert(0, (dims | near[0], numbers + near[1]))


def count(
    read: Read,
    shape: Sequence[int],
    group: Group,
    outer: Collection[str],
    extents: Mapping[str, int],
    results: tuple[str, ...],
    pads: int,
) -> tuple[int, int]:
    """Entries of the packed array along a group's dims that lie within the tensor, and how many different ones.

    The dims of `outer` are loops, the others stand in lanes; `results` and `pads` as in `embed.layout`.
    """
    dims, numbers = group
    start = {number: read.index[number].constant for number in numbers}
    moves = [
        (extents[dim], {number: read.index[number].coefficient(dim) for number in numbers})
        for dim in dims
        if dim not in outer or len(_along(read, numbers, dim)) > 1
    ]
    apart = {dim for dim in dims if dim in outer and len(_along(read, numbers, dim)) == 1}
    for number in numbers:
        index = read.index[number]
        own = [dim for dim in index.dims if dim in apart]
        window = Window.of(index, own, extents, results, tuple(shape[number:]), pads) if own else None
        if window is None:
            moves += [(extents[dim], {number: index.coefficient(dim)}) for dim in own]
        else:
            moves.append((window.stored, {number: window.step}))
            start[number] += window.step * window.before
    return _counted(moves, start, {number: shape[number] for number in numbers})


def _along(read: Read, numbers: Sequence[int], dim: str) -> list[int]:
    return [number for number in numbers if read.index[number].coefficient(dim)]


def _counted(
    moves: Sequence[tuple[int, Mapping[int, int]]], start: Mapping[int, int], sizes: Mapping[int, int]
) -> tuple[int, int]:
    """Places within dimensions of `sizes` that all combinations of moves reach, and how many are different."""
    box = [extent for extent, _ in moves]
    flat, inside = np.zeros(box, np.int64), np.ones(box, bool)
    for number, size in sizes.items():
        place = np.full(box, start[number])
        for axis, (extent, steps) in enumerate(moves):
            line = np.arange(extent) * steps.get(number, 0)
            place = place + line.reshape([-1 if other == axis else 1 for other in range(len(box))])
        inside &= (place >= 0) & (place < size)
        flat = flat * size + place
    found = flat[inside]
    return found.size, np.unique(found).size


def _repeated(embedding: Embedding, read: Read, operand: str) -> int:
    """How often a word holds everything, for dims in its lanes that the tensor does not use."""
    times = 1
    for digit in embedding.digits:
        used = [dim for dim in digit.dims if any(index.coefficient(dim) for index in read.index)]
        if not used:
            times *= min(digit.radix, embedding.size(digit)) if digit.lane in word_lanes(embedding, operand) else 1
        else:
            times *= prod(embedding.extents[dim] for dim in digit.dims if dim not in used)
    return times
