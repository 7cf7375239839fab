"""Gather and scatter between an array and packed words, as a few strided copies. Knows arrays only, no embeddings."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from types import EllipsisType

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import as_strided

from embed.embedding import Array

Vector = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Move:
    """`extent` positions, each `steps` elements further along the dimensions of the array."""

    extent: int
    steps: Vector


@dataclass(frozen=True, slots=True)
class _Part:
    """Positions along a run's moves, the runs that they make, and how many positions each of these has."""

    positions: slice
    runs: slice
    width: int

    @property
    def count(self) -> int:
        return int(self.runs.stop) - int(self.runs.start)


@dataclass(frozen=True, slots=True)
class Run:
    """One axis of the words: `count` runs of `radix` positions along `moves`, which are flattened, the outermost first.

    The positions of a run lie in the digit of that number of a word; without a digit, runs are single positions.
    """

    moves: tuple[Move, ...]
    count: int
    radix: int = 1
    digit: int | None = None

    @property
    def size(self) -> int:
        return prod(move.extent for move in self.moves)

    @property
    def parts(self) -> list[_Part]:
        """The complete runs, and the last one if it is shorter."""
        whole = self.size // self.radix
        parts = [_Part(slice(0, whole * self.radix), slice(0, whole), self.radix)] if whole else []
        rest = self.size - whole * self.radix
        return [*parts, _Part(slice(whole * self.radix, self.size), slice(whole, whole + 1), rest)] if rest else parts


@dataclass(frozen=True, slots=True)
class Lanes:
    """One dimension of a word: its digits' radices, outermost first; what they leave of `extent` is idle."""

    extent: int
    radices: Vector


@dataclass(frozen=True, slots=True)
class Gather:
    """Words along `runs`, with `lanes` in each, of an array of `shape` whose element `origin` the first lane holds."""

    shape: Vector
    origin: Vector
    runs: tuple[Run, ...]
    lanes: tuple[Lanes, ...]

    def pack(self, array: Array, dtype: npt.DTypeLike) -> Array:
        """The words of an array; what lies outside the array and idle lanes are zero."""
        before, padded = self._around
        if padded != self.shape:
            array = np.pad(array, [(b, p - b - n) for b, p, n in zip(before, padded, self.shape, strict=True)])
        flat = self._view(array, before).reshape([run.size for run in self.runs])
        packed = np.zeros((*(run.count for run in self.runs), *(lane.extent for lane in self.lanes)), dtype)
        for parts in product(*(run.parts for run in self.runs)):
            self._words(packed, parts, slice(None))[...] = self._positions(flat, parts)
        return packed

    def unpack(self, packed: Array) -> Array:
        """The array whose words these are; elements in no lane are zero, of one in several lanes any is taken."""
        before, padded = self._around
        array = np.zeros(padded, packed.dtype)
        view = self._view(array, before)
        flat = view.reshape([run.size for run in self.runs])
        for parts in product(*(run.parts for run in self.runs)):
            self._positions(flat, parts)[...] = self._words(packed, parts, slice(0, 1))
        if not np.may_share_memory(flat, array):
            view[...] = flat.reshape(view.shape)
        if padded == self.shape:
            return array
        return array[tuple(slice(b, b + n) for b, n in zip(before, self.shape, strict=True))].copy()

    @property
    def _around(self) -> tuple[Vector, Vector]:
        """Zeros needed before each dimension of the array, and its extents with zeros on both sides."""
        before, padded = [], []
        for number, size in enumerate(self.shape):
            reach = [move.steps[number] * (move.extent - 1) for run in self.runs for move in run.moves]
            low = self.origin[number] + sum(far for far in reach if far < 0)
            high = self.origin[number] + sum(far for far in reach if far > 0)
            before.append(max(0, -low))
            padded.append(before[-1] + max(size, high + 1))
        return tuple(before), tuple(padded)

    def _view(self, array: Array, before: Vector) -> Array:
        """The padded array with one axis for each move."""
        moves = [move for run in self.runs for move in run.moves]
        strides = [sum(step * size for step, size in zip(move.steps, array.strides, strict=True)) for move in moves]
        first = [slice(start + zeros, None) for start, zeros in zip(self.origin, before, strict=True)]
        return as_strided(_part(array, [*first, ...]), [move.extent for move in moves], strides)

    def _positions(self, flat: Array, parts: tuple[_Part, ...]) -> Array:
        """Part of the flattened moves as a view with the axes of words: runs, then digits (1 where no run fills it)."""
        rank, digits = len(self.runs), sum(len(lane.radices) for lane in self.lanes)
        part = _part(flat, [*(part.positions for part in parts), ...])
        split = part.reshape([extent for part in parts for extent in (part.count, part.width)])
        single = [2 * place + 1 for place, run in enumerate(self.runs) if run.digit is None]
        filled = {run.digit: 2 * place + 1 for place, run in enumerate(self.runs) if run.digit is not None}
        order = [*range(0, 2 * rank, 2), *(filled[digit] for digit in range(digits) if digit in filled), *single]
        shape = [part.count for part in parts]
        shape += [split.shape[filled[digit]] if digit in filled else 1 for digit in range(digits)]
        return split.transpose(order).reshape(shape)

    def _words(self, packed: Array, parts: tuple[_Part, ...], free: slice) -> Array:
        """The same part of the packed array; of digits that no run fills, the lanes in `free`."""
        used = _part(packed, [..., *(slice(0, prod(lane.radices)) for lane in self.lanes)])
        radices = [radix for lane in self.lanes for radix in lane.radices]
        split = used.reshape([*(run.count for run in self.runs), *radices])
        width = {run.digit: part.width for run, part in zip(self.runs, parts, strict=True) if run.digit is not None}
        lanes = (slice(0, width[digit]) if digit in width else free for digit in range(len(radices)))
        return _part(split, [*(part.runs for part in parts), *lanes, ...])


def _part(array: Array, places: Sequence[slice | EllipsisType]) -> Array:
    """A view of part of an array; the ellipsis makes it one even of an array without dimensions."""
    part: Array = array[tuple(places)]
    return part
