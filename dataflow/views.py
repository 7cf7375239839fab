"""Strided views of arrays over the dims of a computation: element (p, q, ...) is what is read at that point."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import as_strided

from dataflow.affine import Affine
from dataflow.computation import Computation
from dataflow.expression import Read

Array = npt.NDArray[Any]


def read_view(read: Read, array: Array, extents: Mapping[str, int], dims: Sequence[str]) -> Array:
    """View with one axis for each of `dims` (length 1 where the access does not use it); outside the array is zero."""
    padded, origin = _reachable(array, [index.bounds(extents) for index in read.index])
    strides = _strides(read.index, padded, dims)
    shape = tuple(extents[dim] if _uses(read.index, dim) else 1 for dim in dims)
    start = tuple(_first(index) - low for index, low in zip(read.index, origin, strict=True))
    return _strided(padded, start, shape, strides)


def write_view(statement: Computation, out: Array, dims: Sequence[str]) -> Array | None:
    """Writable view of the output over `dims`, or None where two points of the box write one element."""
    index = statement.output.index
    extents = statement.extents
    strides = _strides(index, out, dims)
    shape = tuple(extents[dim] for dim in dims)
    if not _distinct(shape, strides):
        return None
    return _strided(out, tuple(_first(part) for part in index), shape, strides)


def _uses(index: Sequence[Affine], dim: str) -> bool:
    return any(part.coefficient(dim) for part in index)


def _first(index: Affine) -> int:
    """Value at the box's origin."""
    return index.constant


def _strides(index: Sequence[Affine], array: Array, dims: Sequence[str]) -> tuple[int, ...]:
    return tuple(
        sum(part.coefficient(dim) * stride for part, stride in zip(index, array.strides, strict=True)) for dim in dims
    )


def _strided(array: Array, start: tuple[int, ...], shape: tuple[int, ...], strides: tuple[int, ...]) -> Array:
    if any(coordinate < 0 for coordinate in start):
        raise ValueError("a view starts inside its array")
    place: tuple[Any, ...] = (*(slice(coordinate, None) for coordinate in start), Ellipsis)
    return as_strided(array[place], shape, strides)


def _reachable(array: Array, bounds: Sequence[tuple[int, int]]) -> tuple[Array, tuple[int, ...]]:
    """The array with zeros around it wherever the access reaches outside, and the index of its first element."""
    before = [max(0, -low) for low, _ in bounds]
    after = [max(0, high + 1 - size) for (_, high), size in zip(bounds, array.shape, strict=True)]
    origin = tuple(-width for width in before)
    if not any(before) and not any(after):
        return array, origin
    return np.pad(array, list(zip(before, after, strict=True))), origin


def _distinct(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Whether all elements of a view lie at different addresses: each stride clears the ones below it."""
    reach = 0
    for stride, extent in sorted(
        (abs(stride), extent) for stride, extent in zip(strides, shape, strict=True) if extent > 1
    ):
        if stride <= reach:
            return False
        reach += stride * (extent - 1)
    return True
