"""The smallest ELF executables for AArch64 Linux: segments at fixed addresses, no sections, no libraries."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

PAGE = 1 << 16
_HEADER, _PROGRAM_HEADER = 64, 56
_EXECUTABLE, _AARCH64, _LOAD = 2, 183, 1
READ, WRITE, EXECUTE = 4, 2, 1


@dataclass(frozen=True, slots=True)
class Segment:
    """Bytes at a page-aligned address; `access` is a sum of READ, WRITE, EXECUTE."""

    address: int
    data: bytes
    access: int


def executable(segments: Sequence[Segment], entry: int) -> bytes:
    """A static executable of these segments (System V ABI, chapters 4 and 5)."""
    at = _up(_HEADER + _PROGRAM_HEADER * len(segments))
    ident = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    counts = (_HEADER, _PROGRAM_HEADER, len(segments), 0, 0, 0)
    out = ident + struct.pack("<HHIQQQIHHHHHH", _EXECUTABLE, _AARCH64, 1, entry, _HEADER, 0, 0, *counts)
    bodies = b""
    for segment in segments:
        size, place = len(segment.data), at + len(bodies)
        address = segment.address
        out += struct.pack("<IIQQQQQQ", _LOAD, segment.access, place, address, address, size, size, PAGE)
        bodies += segment.data.ljust(_up(size), b"\0")
    return out.ljust(at, b"\0") + bodies


def _up(size: int) -> int:
    return -(-size // PAGE) * PAGE
