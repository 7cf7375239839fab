"""Where a tensor's elements lie: dimension orders such as NHWC, the strides they give, and arrays that obey them.

Arrays always have the tensor's own shape; only their strides differ. An NHWC array is the transposed view that numpy
and PyTorch's channels_last use.
"""

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from dataflow.computation import Tensor
from dataflow.dtypes import numpy_dtype
from dataflow.errors import UserError

Array = npt.NDArray[Any]

_LINE = 64

LETTERS = {0: "", 1: "C", 2: "RC", 3: "NCW", 4: "NCHW", 5: "NCDHW"}
"""The name of each dimension, by rank; a matrix has rows and columns."""


@dataclass(frozen=True, slots=True)
class Physical:
    """A dense tensor whose dimensions lie in `order`, outermost first."""

    tensor: Tensor
    order: tuple[int, ...]

    @classmethod
    def of(cls, tensor: Tensor, name: str | None = None) -> "Physical":
        """The layout called `name` (NHWC, CR, ...), or row-major; raises UserError for letters that do not fit."""
        letters = LETTERS.get(len(tensor.shape))
        if name is None or letters is None:
            return cls(tensor, tuple(range(len(tensor.shape))))
        if sorted(name.upper()) != sorted(letters):
            raise UserError(
                f"layout {name} of '{tensor.name}': write its dimensions {letters} in the order they lie in"
            )
        return cls(tensor, tuple(letters.index(letter) for letter in name.upper()))

    def strides(self, shape: tuple[int, ...] | None = None) -> tuple[int, ...]:
        """Elements between neighbours along each dimension of a dense array of `shape`, the tensor's own by default."""
        extents = shape or self.tensor.shape
        found = [0] * len(extents)
        step = 1
        for dimension in reversed(self.order):
            found[dimension] = step
            step *= extents[dimension]
        return tuple(found)

    def empty(self, shape: tuple[int, ...] | None = None) -> Array:
        """An array that lies so; of `shape`, its elements are zero, of the tensor's own shape they are anything."""
        extents = shape or self.tensor.shape
        flat = (aligned_zeros if shape else aligned_empty)(prod(extents), numpy_dtype(self.tensor.dtype))
        lying = flat.reshape([extents[dimension] for dimension in self.order])
        return lying.transpose(np.argsort(self.order)) if self.order else lying

    def check(self, array: Array) -> Array:
        """The array, if it has the tensor's shape, dtype and this layout; else UserError with what it should be."""
        tensor = self.tensor
        if not isinstance(array, np.ndarray) or array.shape != tensor.shape:
            shape = list(getattr(array, "shape", ()))
            raise UserError(f"'{tensor.name}' has shape {shape}, not {list(tensor.shape)}")
        dtype = numpy_dtype(tensor.dtype)
        if array.dtype != dtype:
            raise UserError(f"'{tensor.name}' has dtype {array.dtype}, not {dtype}")
        wanted = tuple(stride * dtype.itemsize for stride in self.strides())
        if any(s != w for s, w, n in zip(array.strides, wanted, tensor.shape, strict=True) if n > 1):
            raise UserError(
                f"'{tensor.name}' does not lie as {self.name}; give numpy strides {wanted}, not {array.strides}"
            )
        return array

    @property
    def name(self) -> str:
        """The layout's letters."""
        letters = LETTERS.get(len(self.tensor.shape), "")
        return "".join(letters[dimension] for dimension in self.order)


def aligned_zeros(count: int, dtype: np.dtype[Any]) -> Array:
    """A flat array of zeros that starts on a cache line."""
    return _aligned(np.zeros(count * dtype.itemsize + _LINE, np.uint8), count, dtype)


def aligned_empty(count: int, dtype: np.dtype[Any]) -> Array:
    """The same with any values."""
    return _aligned(np.empty(count * dtype.itemsize + _LINE, np.uint8), count, dtype)


def _aligned(raw: Array, count: int, dtype: np.dtype[Any]) -> Array:
    start = -raw.ctypes.data % _LINE
    return raw[start : start + count * dtype.itemsize].view(dtype)
