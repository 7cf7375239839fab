"""External memory during a simulation: one byte array per segment, addressed absolutely."""

from bisect import bisect_right
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from embed.vta.program import Segment

Bytes = npt.NDArray[np.uint8]


class OutsideSegments(Exception):
    """A transfer left the segments; the message says where."""


class Dram:
    """The segments of a program. Data segments are shared until something is stored to them."""

    def __init__(self, segments: Iterable[Segment]) -> None:
        self._segments = sorted(segments, key=lambda segment: segment.address)
        self._starts = [segment.address for segment in self._segments]
        self._arrays = [_contents(segment) for segment in self._segments]

    def rows(self, address: int, count: int, length: int, stride: int) -> Bytes:
        """A read-only use of `count` rows of `length` bytes, `stride` bytes apart: uint8[count, length], not a copy."""
        place = self._locate(address, (count - 1) * stride + length)
        return self._view(place, address, count, length, stride)

    def writable_rows(self, address: int, count: int, length: int, stride: int) -> Bytes:
        """The same rows, to be written."""
        place = self._locate(address, (count - 1) * stride + length)
        if not self._arrays[place].flags.writeable:
            self._arrays[place] = self._arrays[place].copy()
        return self._view(place, address, count, length, stride)

    def contents(self) -> dict[str, Bytes]:
        """The bytes of every segment now, by name."""
        return {segment.name: array for segment, array in zip(self._segments, self._arrays, strict=True)}

    def _view(self, place: int, address: int, count: int, length: int, stride: int) -> Bytes:
        offset = address - self._starts[place]
        return np.ndarray((count, length), np.uint8, self._arrays[place], offset, (stride, 1))

    def _locate(self, address: int, size: int) -> int:
        place = bisect_right(self._starts, address) - 1
        if place < 0 or address + size > self._segments[place].end:
            raise OutsideSegments(f"DRAM bytes {address:#x}..{address + size:#x} are not inside one segment")
        return place


def _contents(segment: Segment) -> Bytes:
    if segment.data is None:
        return np.zeros(segment.size, np.uint8)
    data = np.ascontiguousarray(segment.data).view(np.uint8).reshape(-1)
    frozen = data.view()
    frozen.flags.writeable = False
    return frozen
