"""The packed output while a nest writes it: its words, or the byte planes that narrow results of wide words are in."""

import numpy as np

from dataflow.dtypes import convert, numpy_dtype
from embed.embedding import Array
from embed.nest.ir import Nest


class Planes:
    """As many arrays of shape (*axes, *word) as the nest has planes; `dtype` is that of an element written to one."""

    def __init__(self, nest: Nest) -> None:
        self._output = nest.embedding.operator.output.dtype
        self.dtype = self._output if nest.planes == 1 else "i8"
        shape = nest.layouts[nest.output].shape
        self._arrays = [np.zeros(shape, numpy_dtype(self.dtype)) for _ in range(nest.planes)]

    def write(self, plane: int, box: tuple[range, ...], words: Array) -> None:
        """Convert the words of a box and put them into a plane."""
        self._arrays[plane][tuple(slice(span.start, span.stop) for span in box)] = convert(words, self.dtype)

    def joined(self) -> Array:
        """The planes joined into words of the output's dtype."""
        if len(self._arrays) == 1:
            return self._arrays[0]
        return np.ascontiguousarray(np.stack(self._arrays, axis=-1)).view(numpy_dtype(self._output))[..., 0]
