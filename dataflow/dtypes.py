"""Scalar types by name: width, range, numpy equivalent. Integers wrap on overflow, as two's complement hardware does."""

import re

import ml_dtypes
import numpy as np
import numpy.typing as npt

_FLOATS: dict[str, tuple[int, npt.DTypeLike]] = {
    "f16": (16, np.float16),
    "bf16": (16, ml_dtypes.bfloat16),
    "f32": (32, np.float32),
    "f64": (64, np.float64),
}
_INTEGER = re.compile(r"([iu])([1-9][0-9]?)")
_STORED_WIDTHS = (8, 16, 32, 64)

ACCUMULATOR = {"i8": "i32", "u8": "i32", "i16": "i32", "f16": "f32", "bf16": "f32", "f32": "f32"}
"""The type in which products of two such scalars are summed."""


def is_dtype(name: str) -> bool:
    """True for f16, bf16, f32, f64 and i1..i64, u1..u64."""
    match = _INTEGER.fullmatch(name)
    return name in _FLOATS or (match is not None and int(match[2]) <= 64)


def is_integer(name: str) -> bool:
    return name not in _FLOATS


def is_signed(name: str) -> bool:
    return not name.startswith("u")


def bits(name: str) -> int:
    """Width of a scalar in bits."""
    return _FLOATS[name][0] if name in _FLOATS else int(name[1:])


def limits(name: str) -> tuple[int, int]:
    """Smallest and largest value of an integer type."""
    width = bits(name)
    return (-(1 << (width - 1)), (1 << (width - 1)) - 1) if is_signed(name) else (0, (1 << width) - 1)


def numpy_dtype(name: str) -> np.dtype[np.generic]:
    """The numpy type that holds such scalars; odd integer widths live in the next wider one."""
    if name in _FLOATS:
        return np.dtype(_FLOATS[name][1])
    width = next(stored for stored in _STORED_WIDTHS if stored >= bits(name))
    return np.dtype(f"{'i' if is_signed(name) else 'u'}{width // 8}")


def convert(values: npt.NDArray[np.generic], name: str) -> npt.NDArray[np.generic]:
    """Cast an array to the scalar type `name`; integers wrap modulo 2**bits."""
    dtype = numpy_dtype(name)
    if not is_integer(name) or bits(name) in _STORED_WIDTHS:
        return values.astype(dtype)
    mask = (1 << bits(name)) - 1
    low = values.astype(np.int64) & mask
    sign = 1 << (bits(name) - 1)
    return ((low ^ sign) - sign if is_signed(name) else low).astype(dtype)
