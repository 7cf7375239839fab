"""Scalar types by name: width, range, numpy equivalent. Integers wrap on overflow, as two's complement does."""

import re
from typing import Any

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

ACCUMULATOR = {
    "i4": "i32", "u4": "i32", "i8": "i32", "u8": "i32", "i16": "i32", "f16": "f32", "bf16": "f32", "f32": "f32",
}  # fmt: skip
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


def convert(values: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    """Cast an array to the scalar type `name`: integers wrap modulo 2**bits, floats round once to nearest even.

    A float that is NaN or has no place in an integer type becomes some integer, as C leaves it.
    """
    dtype = numpy_dtype(name)
    if name == "bf16":
        return _to_bf16(values)
    with np.errstate(invalid="ignore", over="ignore"):
        if not is_integer(name) or bits(name) in _STORED_WIDTHS:
            return values.astype(dtype, copy=False)
        return _wrap(values, name).astype(dtype)


def round_to_odd(near: npt.NDArray[Any], error: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Of the two floats around `near + error` (f32 or f64, `near` the nearest) the one with an odd last bit.

    An exact `near` is kept. Rounding the result to at least two bits fewer is rounding once (Boldo and Melquiond,
    Emulation of FMA and correctly rounded sums, IEEE Transactions on Computers 57(4), 2008).
    """
    last = near.view(np.dtype(f"i{near.dtype.itemsize}")) & 1
    towards = np.where(error > 0, np.inf, -np.inf).astype(near.dtype)
    moved = (error != 0) & np.isfinite(near) & (last == 0)
    return np.where(moved, np.nextafter(near, towards), near)


def _to_bf16(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """ml_dtypes rounds anything but f32 twice, by way of f32."""
    exact = np.asarray(values)
    if exact.dtype in (np.float64, np.int32, np.uint32, np.int64, np.uint64):
        wide = exact.astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            near = wide.astype(np.float32)
            exact = round_to_odd(near, wide - near)
    return exact.astype(ml_dtypes.bfloat16)


def _wrap(values: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    """An i64 array of the low bits, with the sign of the type."""
    mask = (1 << bits(name)) - 1
    low = values.astype(np.int64) & mask
    sign = 1 << (bits(name) - 1)
    return (low ^ sign) - sign if is_signed(name) else low
