"""How large the array must be that a kernel reads: a border of zeros, and room behind the last word."""

from collections.abc import Collection, Mapping, Sequence
from math import prod

from dataflow.expression import Read
from embed.cpu.arrays.streams import steps
from embed.embedding import Embedding
from embed.physical import Physical


def bordered(
    embedding: Embedding,
    read: Read,
    physical: Physical,
    rounding: Mapping[int, int],
    inside: Collection[int],
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Zeros before each dimension and the bordered shape; empty where neither lanes nor the access reach outside.

    It is known that the access does not along the dimensions `inside`.

    `rounding` names dimensions that lanes run along, with how many lanes there are: zeros fill them up to that. Words
    start at the first index that is read.
    """
    before, shape = [], []
    for number, (index, size) in enumerate(zip(read.index, physical.tensor.shape, strict=True)):
        low, high = (0, size - 1) if number in inside else index.bounds(embedding.extents)
        before.append(max(0, -low))
        reach = before[number] + max(size, high + 1)
        shape.append(reach + (max(0, low) - reach) % rounding.get(number, 1))
    if not any(before) and tuple(shape) == physical.tensor.shape:
        return (), ()
    return tuple(before), tuple(shape)


def reaching(
    embedding: Embedding, read: Read, plain: Physical, before: Sequence[int], shape: tuple[int, ...], words: int
) -> tuple[int, ...]:
    """The same shape, or one with room behind it, so that the last word of so many elements ends inside.

    What grows lies outside of a word, for the elements of one must stay neighbours.
    """
    found = shape or plain.tensor.shape
    strides = plain.strides(found)
    over = _last(embedding, read, strides, before) + words - prod(found)
    if over <= 0:
        return shape
    grows = next((number for number in reversed(plain.order) if strides[number] >= words), plain.order[0])
    return tuple([size + (number == grows) * -(-over // strides[grows]) for number, size in enumerate(found)])


def first(read: Read, before: Sequence[int], strides: Sequence[int]) -> int:
    """Where the element of the first iteration stands in the bordered array."""
    places = zip(read.index, before or (0,) * len(strides), strides, strict=True)
    return sum(stride * (index.constant + border) for index, border, stride in places)


def _last(embedding: Embedding, read: Read, strides: Sequence[int], before: Sequence[int]) -> int:
    """Where the last word begins there."""
    moves, radix = steps(read, strides), embedding.radix
    runs = [(loop.extent - 1) * moves.get(loop.dims[0], 0) * radix.get(loop.name, 1) for loop in embedding.loops]
    return first(read, before, strides) + sum([run for run in runs if run > 0])
