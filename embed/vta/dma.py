"""Boxes of a packed array as VTA transfers: strided 2-D copies between external memory and a dense scratchpad tile."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from embed.layout import Layout


@dataclass(frozen=True, slots=True)
class Transfer:
    """`y_size` rows of `x_size` words; `external` and `local` are word offsets in the array and in the tile."""

    external: int
    local: int
    y_size: int
    x_size: int
    x_stride: int
    y_pad: tuple[int, int] = (0, 0)
    x_pad: tuple[int, int] = (0, 0)

    @property
    def local_words(self) -> int:
        """Words of the tile it fills, zeros included."""
        return (sum(self.y_pad) + self.y_size) * (sum(self.x_pad) + self.x_size)

    @property
    def fields(self) -> dict[str, int]:
        """The fields of LOAD and STORE that do not depend on addresses."""
        pads = {"y_pad_0": self.y_pad[0], "y_pad_1": self.y_pad[1], "x_pad_0": self.x_pad[0], "x_pad_1": self.x_pad[1]}
        sizes = {"y_size": self.y_size, "x_size": self.x_size, "x_stride": self.x_stride}
        return sizes | {name: pad for name, pad in pads.items() if pad}


@dataclass(frozen=True, slots=True)
class _Axis:
    """One axis of a box: stored extent, first stored word, stored words taken, zeros before and after."""

    extent: int
    start: int
    count: int
    before: int
    after: int

    @property
    def words(self) -> int:
        return self.before + self.count + self.after


def transfers(layout: Layout, box: Sequence[range], longest: int) -> list[Transfer]:
    """The copies that move a box (ranges along the padded axes) of a packed array, each of at most `longest` words."""
    axes = _merged([_axis(axis.extent, axis.before, span) for axis, span in zip(layout.axes, box, strict=True)])
    *outer, y, x = [_Axis(1, 0, 1, 0, 0)] * (2 - len(axes)) + axes
    if any(axis.before or axis.after for axis in outer):
        raise ValueError(f"padding in front of the last two axes of {layout}")
    row, plane = x.extent, y.extent * x.extent
    found: list[Transfer] = []
    for place in np.ndindex(*(axis.count for axis in outer)):
        external = local = 0
        for i, axis in zip(place, outer, strict=True):
            external = external * axis.extent + axis.start + i
            local = local * axis.count + i
        first = external * plane + y.start * row + x.start
        whole = Transfer(
            first, local * y.words * x.words, y.count, x.count, row, (y.before, y.after), (x.before, x.after)
        )
        found += _split(whole, longest)
    return found


def _axis(extent: int, before: int, span: range) -> _Axis:
    start = min(max(span.start - before, 0), extent)
    stop = min(max(span.stop - before, 0), extent)
    zeros = max(0, before - span.start)
    return _Axis(extent, start, stop - start, zeros, len(span) - zeros - (stop - start))


def _merged(axes: Sequence[_Axis]) -> list[_Axis]:
    """Neighbouring axes made one wherever the box takes the whole of the inner one."""
    found: list[_Axis] = []
    for axis in reversed(axes):
        inner = found[0] if found else None
        if inner is None or axis.before or axis.after or inner.words != inner.extent or inner.count != inner.extent:
            found.insert(0, axis)
            continue
        e = inner.extent
        found[0] = _Axis(axis.extent * e, axis.start * e, axis.count * e, 0, 0)
    return found


def _split(whole: Transfer, longest: int) -> Iterator[Transfer]:
    """Cut a transfer by rows, or a single row by words, until each part is short enough."""
    width = sum(whole.x_pad) + whole.x_size
    if whole.local_words <= longest:
        yield whole
        return
    if whole.y_size == 1 and not sum(whole.y_pad):
        yield from _split_row(whole, longest)
        return
    rows = max(1, (longest - max(whole.y_pad) * width) // width)
    for first in range(0, whole.y_size, rows):
        count = min(rows, whole.y_size - first)
        pads = (whole.y_pad[0] if not first else 0, whole.y_pad[1] if first + count == whole.y_size else 0)
        local = whole.local + (0 if not first else (whole.y_pad[0] + first) * width)
        part = Transfer(
            whole.external + first * whole.x_stride, local, count, whole.x_size, whole.x_stride, pads, whole.x_pad
        )
        yield from _split_row(part, longest) if part.local_words > longest and count == 1 else [part]


def _split_row(row: Transfer, longest: int) -> Iterator[Transfer]:
    step = longest - max(row.x_pad)
    for first in range(0, row.x_size, step):
        count = min(step, row.x_size - first)
        pads = (row.x_pad[0] if not first else 0, row.x_pad[1] if first + count == row.x_size else 0)
        local = row.local + (0 if not first else row.x_pad[0] + first)
        yield Transfer(row.external + first, local, 1, count, row.x_stride, row.y_pad, pads)


def dense(counts: Sequence[int]) -> tuple[int, ...]:
    """Word strides of a dense row-major tile."""
    return tuple(prod(counts[place + 1 :]) for place in range(len(counts)))
