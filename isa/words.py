"""Elements in the words of a memory: bytes to arrays and back, for many words at once."""

from typing import Any

import numpy as np
import numpy.typing as npt

from dataflow.computation import Tensor
from dataflow.dtypes import bits, is_signed, numpy_dtype

Array = npt.NDArray[Any]
Bytes = npt.NDArray[np.uint8]

_WIDTHS_OF_NUMPY = (8, 16, 32, 64)


def from_bytes(data: Bytes, tensor: Tensor) -> Array:
    """The elements in the low bytes of each row of `data` [n, bytes], as [n, *shape]."""
    dtype, width = numpy_dtype(tensor.dtype), bits(tensor.dtype)
    count, used = data.shape[0], -(-tensor.size * width // 8)
    data = np.ascontiguousarray(data[:, :used])
    if width in _WIDTHS_OF_NUMPY:
        return np.asarray(data.view(dtype)).reshape(count, *tensor.shape)
    loose = np.unpackbits(data, axis=1, bitorder="little")[:, : tensor.size * width]
    table = loose.reshape(count, tensor.size, width).astype(np.int64)
    values = (table << np.arange(width)).sum(axis=2)
    if is_signed(tensor.dtype):
        values -= table[:, :, -1] << width
    return np.asarray(values, dtype).reshape(count, *tensor.shape)


def to_bytes(values: Array, tensor: Tensor) -> Bytes:
    """The bytes of arrays [n, *shape], a row each."""
    width, count = bits(tensor.dtype), values.shape[0]
    if width in _WIDTHS_OF_NUMPY:
        return np.ascontiguousarray(values).reshape(count, tensor.size).view(np.uint8).reshape(count, -1)
    table = (values.reshape(count, tensor.size, 1).astype(np.int64) >> np.arange(width)) & 1
    return np.packbits(table.astype(np.uint8).reshape(count, -1), axis=1, bitorder="little")
