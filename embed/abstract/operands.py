"""Between a layout's words, which have a place for every lane, and operands, in which lanes may share elements."""

from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from dataflow.dtypes import numpy_dtype
from dataflow.expression import Read
from embed.layout import Layout
from isa.model import Operand

Array = npt.NDArray[Any]


def operands_of(layout: Layout, operand: Operand, read: Read, packed: Array) -> Array:
    """Packed words [n, *lanes] as operands [n, *shape]; elements that no lane uses are zero.

    Of lanes that share an element, as in `inp[x+r]`, the idle ones hold zero and the busy ones its value.
    """
    tensor = operand.tensor
    places = _places(layout, operand, read)
    flat = packed.reshape(-1, places.size)
    if _identity(places, tensor.size):
        return flat.reshape(-1, *tensor.shape)
    found = np.zeros((flat.shape[0], tensor.size), numpy_dtype(tensor.dtype))
    if np.unique(places).size == places.size:
        found[:, places] = flat
    else:
        for lane, place in enumerate(places):
            found[:, place] = np.where(flat[:, lane] != 0, flat[:, lane], found[:, place])
    return found.reshape(-1, *tensor.shape)


def words_of(layout: Layout, operand: Operand, read: Read, operands: Array) -> Array:
    """Operands [n, *shape] as a layout's words [n, *lanes]."""
    flat = operands.reshape(-1, operand.tensor.size)
    places = _places(layout, operand, read)
    return (flat if _identity(places, operand.tensor.size) else flat[:, places]).reshape(-1, *layout.word_shape)


def _places(layout: Layout, operand: Operand, read: Read) -> Array:
    """Which element of an operand each lane of a word uses, by the pattern's access `read`."""
    lanes = layout.word_lanes
    grid = dict(zip(lanes, np.indices(layout.word_shape).reshape(len(lanes), prod(layout.word_shape)), strict=True))
    total: Array = np.zeros(prod(layout.word_shape), np.int64)
    for index, extent in zip(read.index, operand.tensor.shape, strict=True):
        value = index.constant + sum(factor * grid[lane] for lane, factor in index.terms)
        total = total * extent + value
    return total


def _identity(places: Array, size: int) -> bool:
    return places.size == size and bool(np.array_equal(places, np.arange(size)))
