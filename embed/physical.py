"""Where a tensor's elements lie: dimension orders such as NHWC, blocks such as NCHW16c, and arrays that obey them.

Without blocks an array has the tensor's own shape and only its strides differ: an NHWC array is the transposed view
that numpy and PyTorch's channels_last use. With blocks it has one dimension for each part of the name: NCHW16c is an
array of [N, C/16, H, W, 16], whose last block is filled up with zeros where 16 does not divide C (oneDNN, Developer
Guide, "Understanding memory formats"). Kernels count on these zeros in inputs, and write them in outputs.
"""

import re
from dataclasses import dataclass
from functools import cache, cached_property
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from dataflow.arguments import of_kind
from dataflow.computation import Tensor
from dataflow.dtypes import numpy_dtype
from dataflow.errors import UserError

Array = npt.NDArray[Any]

_LINE = 64

LETTERS = {
    0: ("",), 1: ("C",), 2: ("RC",), 3: ("NCW", "KCS"), 4: ("NCHW", "KCRS", "OIHW"), 5: ("NCDHW", "KCTRS", "OIDHW"),
}  # fmt: skip
"""The names of the dimensions, by rank; a matrix has rows and columns, and weights may be written as weights."""

_NAME = re.compile(r"([A-Za-z]*)((?:[1-9][0-9]*[a-z])*)")
_BLOCK = re.compile(r"([0-9]+)([a-z])")


@cache
def _parts(name: str, choices: tuple[str, ...]) -> tuple[str, tuple[int, ...], tuple[tuple[int, int], ...]] | None:
    """The letters as in `choices`, the order of the dimensions and the blocks; None if a name is not a layout's."""
    match = _NAME.fullmatch(name)
    outer = match[1].upper() if match else ""
    letters = next((found for found in choices if sorted(found) == sorted(outer)), None)
    blocks = [(letter.upper(), int(size)) for size, letter in _BLOCK.findall(match[2])] if match else []
    if match is None or letters is None or any(letter not in letters for letter, _ in blocks):
        return None
    return letters, tuple(map(letters.index, outer)), tuple([(letters.index(letter), size) for letter, size in blocks])


@dataclass(frozen=True)
class Physical:
    """A dense tensor whose dimensions lie in `order`, outermost first, and behind these its `blocks`.

    A block is a dimension and how many of its elements stand in it; a dimension may have several, and all that they do
    not hold is counted in `order`. `letters` names the dimensions.
    """

    tensor: Tensor
    order: tuple[int, ...]
    blocks: tuple[tuple[int, int], ...] = ()
    letters: str = ""

    @classmethod
    def of(cls, tensor: Tensor, name: str | None = None) -> "Physical":
        """The layout called `name` (NHWC, NCHW16c, CR, ...), or row-major; raises UserError for one that does not fit.

        `NCHW16c` has blocks of 16 channels innermost, `KCRS16c16k` blocks of 16 x 16 (oneDNN's OIhw16i16o).
        """
        choices = LETTERS.get(len(of_kind("tensor", tensor, Tensor, "a Tensor").shape))
        if name is None or choices is None:
            return cls(tensor, tuple(range(len(tensor.shape))), letters=choices[0] if choices else "")
        parts = _parts(of_kind("layout", name, str, "the name of one, such as NHWC"), choices)
        if parts is None:
            example = "" if name.isalpha() else ", then any blocks (such as 16c)"
            raise UserError(
                f"layout {name} of '{tensor.name}': write its dimensions {choices[0]} in the order they lie in{example}"
            )
        letters, order, blocks = parts
        return cls(tensor, order, blocks, letters)

    @cached_property
    def plain(self) -> "Physical":
        """The layout without blocks that is nearest: dimensions that have blocks lie innermost."""
        if not self.blocks:
            return self
        inner = list(dict.fromkeys(dimension for dimension, _ in reversed(self.blocks)))[::-1]
        order = (*(dimension for dimension in self.order if dimension not in inner), *inner)
        return Physical(self.tensor, order, letters=self.letters)

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """The shape of an array that lies so."""
        if not self.blocks:
            return self.tensor.shape
        outer = [-(-self.tensor.shape[dimension] // self.block(dimension)) for dimension in self.order]
        return (*outer, *(size for _, size in self.blocks))

    @property
    def size(self) -> int:
        """Elements of an array that lies so, zeros that fill its last blocks included."""
        return prod(self.shape)

    def block(self, dimension: int) -> int:
        """Elements along a dimension that its blocks hold."""
        return prod(size for found, size in self.blocks if found == dimension)

    def strides(self, shape: tuple[int, ...] | None = None) -> tuple[int, ...]:
        """Elements between neighbours along each dimension of a dense array of `shape`, by default the layout's own."""
        extents = shape or self.shape
        found = [0] * len(extents)
        step = 1
        for dimension in reversed(range(len(extents)) if self.blocks else self.order):
            found[dimension] = step
            step *= extents[dimension]
        return tuple(found)

    def places(self, dimension: int) -> Array:
        """Where each index along a dimension lies, in elements from index 0: places add up over dimensions."""
        index = np.arange(self.tensor.shape[dimension], dtype=np.int64)
        steps = self.strides()
        if not self.blocks:
            return index * steps[dimension]
        inside = self.block(dimension)
        found: Array = index // inside * steps[self.order.index(dimension)]
        for (other, size), step in zip(self.blocks, steps[len(self.order) :], strict=True):
            if other == dimension:
                inside //= size
                found = found + index // inside % size * step
        return found

    def empty(self, shape: tuple[int, ...] | None = None) -> Array:
        """An array that lies so; of `shape`, or with blocks, its elements are zero, else they are anything."""
        extents = shape or self.shape
        flat = (aligned_zeros if shape or self.blocks else aligned_empty)(prod(extents), numpy_dtype(self.tensor.dtype))
        if self.blocks or not self.order:
            return flat.reshape(extents)
        return flat.reshape([extents[dimension] for dimension in self.order]).transpose(np.argsort(self.order))

    def pack(self, array: Array) -> Array:
        """A copy, lying so, of an array of the tensor's shape; what fills up blocks is zero. Raises UserError."""
        self._check_shape(array, self.tensor.shape)
        found = self.empty()
        found[...] = self.lying(array)
        return found

    def lying(self, array: Array) -> Array:
        """An array of the tensor's shape in the layout's shape; a view that lies otherwise where that is possible."""
        if not self.blocks:
            return array
        padded = np.zeros(self._filled, array.dtype)
        padded[self._inside] = array
        return padded.reshape(self._split).transpose(self._axes)

    def unpack(self, array: Array) -> Array:
        """The tensor in its own shape, from an array that lies so; without blocks this is the array itself.

        Raises UserError for an array of another shape.
        """
        self._check_shape(array, self.shape)
        if not self.blocks:
            return array
        whole: Array = array.transpose(np.argsort(self._axes)).reshape(self._filled)[self._inside]
        return whole

    @property
    def _inside(self) -> tuple[slice, ...]:
        return tuple(slice(extent) for extent in self.tensor.shape)

    @property
    def _filled(self) -> tuple[int, ...]:
        """The tensor's shape, blocks filled up."""
        return tuple(n + -n % self.block(dimension) for dimension, n in enumerate(self.tensor.shape))

    @property
    def _split(self) -> tuple[int, ...]:
        """The same with every dimension cut into what lies outside and its blocks, the outermost first."""
        found = []
        for dimension, extent in enumerate(self._filled):
            own = [size for other, size in self.blocks if other == dimension]
            found += [extent // prod(own), *own]
        return tuple(found)

    @property
    def _axes(self) -> tuple[int, ...]:
        """Where in that shape each dimension of the array is."""
        places, numbers = {}, {}
        at = 0
        for dimension in range(len(self.tensor.shape)):
            places[dimension] = at
            at += 1
            for number, (other, _) in enumerate(self.blocks):
                if other == dimension:
                    numbers[number] = at
                    at += 1
        return (*(places[dimension] for dimension in self.order), *(numbers[n] for n in range(len(self.blocks))))

    def check(self, array: Array) -> Array:
        """The array, if it has this layout's shape, dtype and strides; else UserError with what it should be."""
        name = self.tensor.name
        self._check_shape(array, self.shape)
        dtype = numpy_dtype(self.tensor.dtype)
        if array.dtype != dtype:
            raise UserError(f"'{name}' has dtype {array.dtype}, not {dtype}")
        wanted = tuple(stride * dtype.itemsize for stride in self.strides())
        if any(s != w for s, w, n in zip(array.strides, wanted, self.shape, strict=True) if n > 1):
            rows = self.blocks or list(self.order) == sorted(self.order)
            makes = "np.ascontiguousarray(array)" if rows else f"embed.Physical.of(tensor, '{self.name}').pack(array)"
            said = f"'{name}' does not lie as {self.name}; give numpy strides {wanted}, not {array.strides}"
            raise UserError(f"{said}, as {makes} has them")
        return array

    def _check_shape(self, array: Array, shape: tuple[int, ...]) -> None:
        name = self.tensor.name
        if not isinstance(array, np.ndarray):
            raise UserError(f"'{name}' is a {type(array).__name__}, not a numpy array")
        if array.shape != shape:
            blocked = shape != self.tensor.shape
            lies = f", which {self.name} makes of {list(self.tensor.shape)}" if blocked else ""
            raise UserError(f"'{name}' has shape {list(array.shape)}, not {list(shape)}{lies}")

    @property
    def name(self) -> str:
        """The layout's letters."""
        if not self.letters:
            return ""
        blocks = "".join(f"{size}{self.letters[dimension].lower()}" for dimension, size in self.blocks)
        return "".join(self.letters[dimension] for dimension in self.order) + blocks


def aligned_zeros(count: int, dtype: np.dtype[Any]) -> Array:
    """A flat array of zeros that starts on a cache line."""
    return _aligned(np.zeros(count * dtype.itemsize + _LINE, np.uint8), count, dtype)


def aligned_empty(count: int, dtype: np.dtype[Any]) -> Array:
    """The same with any values."""
    return _aligned(np.empty(count * dtype.itemsize + _LINE, np.uint8), count, dtype)


def _aligned(raw: Array, count: int, dtype: np.dtype[Any]) -> Array:
    start = -raw.ctypes.data % _LINE
    return raw[start : start + count * dtype.itemsize].view(dtype)
