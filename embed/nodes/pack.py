"""The packed array of each operand of a placement: one word for every place of the loops that tell its words apart."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from dataflow.dtypes import numpy_dtype
from dataflow.expression import Const, Read
from embed.nodes.placement import Image, Placement

Array = npt.NDArray[Any]


def pack(placement: Placement, operand: str, known: Mapping[str, Array]) -> Array:
    """The words [count, *shape] of an operand, gathered from arrays by name; what no busy lane uses is zero."""
    tensor = placement.pattern.tensors[operand]
    words: Array = np.zeros((placement.words(operand), *tensor.shape), numpy_dtype(tensor.dtype))
    for own, held, image in _uses(placement, operand):
        place, point, busy = _places(placement, operand, own, image)
        if isinstance(held, Const):
            words[tuple(each[busy] for each in place)] = held.value
            continue
        source = known[held.tensor]
        index = [_value(each, point, busy.shape) for each in held.index]
        inside = np.array(busy)
        for axis, size in zip(index, source.shape, strict=True):
            inside &= (axis >= 0) & (axis < size)
        words[tuple(each[inside] for each in place)] = source[tuple(axis[inside] for axis in index)]
    return words


def unpack(placement: Placement, operand: str, words: Array, known: Mapping[str, Array]) -> None:
    """Write the words of an output back to where its elements lie."""
    for own, held, image in _uses(placement, operand):
        assert isinstance(held, Read)
        place, point, busy = _places(placement, operand, own, image)
        index = tuple(_value(each, point, busy.shape)[busy] for each in held.index)
        known[held.tensor][index] = words[tuple(each[busy] for each in place)]


def _uses(placement: Placement, operand: str) -> Iterator[tuple[Read, Read | Const, Image]]:
    """Every access of an operand by an addend, and what it holds there."""
    for image in placement.images:
        for own, held in placement.uses(image):
            if own.tensor == operand:
                yield own, held, image


def _places(placement: Placement, operand: str, own: Read, image: Image) -> tuple[list[Array], dict[str, Array], Array]:
    """For every word and lane: the place in the packed array, the operator's point, and whether a lane is busy there.

    Loops that the operand's words do not tell apart stand at 0, where as many lanes are busy as anywhere.
    """
    loops = placement.loops_of(operand)
    count = placement.words(operand)
    numbers = np.arange(count)
    origin: dict[str, Array] = {loop.name: np.zeros(count, np.int64) for loop in placement.loops}
    for loop in reversed(loops):
        numbers, origin[loop.name] = np.divmod(numbers, loop.extent)
    point, idle = placement.points(image, origin)
    shape = (count, *placement.pattern.extents.values())
    lanes = {
        lane: np.arange(extent).reshape([-1 if axis == place + 1 else 1 for axis in range(len(shape))])
        for place, (lane, extent) in enumerate(placement.pattern.extents.items())
    }
    word = np.arange(count).reshape(-1, *[1] * (len(shape) - 1))
    place = [np.broadcast_to(word, shape), *(_value(each, lanes, shape) for each in own.index)]
    return place, {dim: np.broadcast_to(value, shape) for dim, value in point.items()}, ~np.broadcast_to(idle, shape)


def _value(index: Any, point: Mapping[str, Array], shape: tuple[int, ...]) -> Array:
    """An affine index at points, an array of `shape`; dims of one lane stand at 0."""
    total: Array = np.full(shape, index.constant, np.int64)
    for dim, factor in index.terms:
        total = total + factor * point[dim]
    return np.broadcast_to(total, shape)
