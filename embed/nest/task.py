"""An embedding to schedule on a machine: its loops and tensors, the words a tile has, and the choices there are."""

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import permutations
from math import prod

import numpy as np
import numpy.typing as npt

from embed.costs import Rates
from embed.embedding import Embedding
from embed.layout import Layout
from embed.window import Axis

Ints = npt.NDArray[np.int64]

_MOST_TILES = 4096
"""Tiles of one loop at most."""


@dataclass(frozen=True, slots=True)
class Room:
    """Words each tensor's scratchpad holds, fixed cycles of a load and of a compute pass, and limits of the machine.

    `shared` tensors lie in the output's scratchpad; `passes` is the number of compute passes over each output tile,
    `longest_load` the words of one load, `result_buffers` the most output tiles in flight, `fetch` the cycles that
    fetching an instruction takes at least, `launch` those before the first load starts, `most_slots` the most tiles of
    one input that the machine keeps apart, `store_burst` the cycles of a store for every `burst_bytes`.
    """

    words: Mapping[str, int]
    shared: tuple[str, ...]
    load_start: int
    pass_start: int
    passes: int
    longest_load: int
    result_buffers: int
    fetch: int = 0
    launch: int = 0
    most_slots: int = 1 << 20
    store_burst: int = 0
    burst_bytes: int = 1


@dataclass(frozen=True)
class Choice:
    """Tile sizes, loop order, the depth from which each input is kept, tiles in flight, epilogue tensors kept whole.

    `double` loads a tile while the one before is in use; the last output tile is stored in `pieces`.
    """

    tiles: Mapping[str, int]
    order: tuple[str, ...]
    kept: Mapping[str, int]
    double: bool
    result_buffers: int
    whole: tuple[str, ...]
    pieces: int


@dataclass(frozen=True)
class Task:
    """An embedding to schedule on a machine."""

    embedding: Embedding
    layouts: Mapping[str, Layout]
    rates: Rates
    room: Room

    @cached_property
    def extents(self) -> dict[str, int]:
        return {loop.name: loop.extent for loop in self.embedding.loops}

    @cached_property
    def form(self) -> Hashable:
        """What the cycles of schedules depend on: of two tasks of one form one may be scheduled for both.

        Names do not count, nor do loops of one iteration and axes of one word, unless one ends a copy.
        """
        places = {name: place for place, name in enumerate(name for name, extent in self.extents.items() if extent > 1)}
        loops = tuple((self.extents[name], name in self.results) for name in places)
        room = replace(self.room, words={}, shared=())
        tensors = tuple((*self._role(tensor), *self._axes(tensor, places)) for tensor in self.layouts)
        return loops, self.embedding.invocations, tensors, str(self.rates), str(room)

    def _role(self, tensor: str) -> tuple[Hashable, ...]:
        """What a tensor is used for, the bytes of a word, and the room for it."""
        return tensor in self.inputs, tensor == self.output, self.word_bytes(tensor), self.room.words[tensor]

    def _axes(self, tensor: str, places: Mapping[str, int]) -> Iterator[Hashable]:
        """The axes that cycles depend on."""
        padded = False
        for axis in self.layouts[tensor].axes:
            if axis.span > 1 or padded:
                moved = sorted((places[loop], factor) for loop, factor in axis.loops if loop in places)
                yield axis.extent, axis.before, axis.after, tuple(moved)
            padded = bool(axis.before or axis.after)

    @cached_property
    def results(self) -> tuple[str, ...]:
        """Loops that move along the output."""
        return self.embedding.result_loops

    @property
    def output(self) -> str:
        return self.embedding.operator.main.output.tensor

    @property
    def inputs(self) -> tuple[str, ...]:
        return self.embedding.inputs

    def word_bytes(self, tensor: str) -> int:
        """Bytes of a packed word of an input or of an epilogue's tensor."""
        operand = self.embedding.binding.operands.get(tensor)
        return self.rates.input_bytes[operand] if tensor in self.inputs and operand else self.rates.extra_bytes

    def beats(self, tensor: str, words: int) -> int:
        """Bus cycles of some words."""
        return words * self.word_bytes(tensor) // self.rates.bus if self.rates.bus else 0

    def storing(self, words: int) -> int:
        """Cycles of storing some output words that are neighbours in memory."""
        bursts = -(-words * self.rates.result_bytes // self.room.burst_bytes)
        return self.rates.store * words + self.room.store_burst * bursts

    def bursts(self, place: int, tiles: Mapping[str, int]) -> int:
        """Bursts of storing the whole output if `place` is the innermost of its axes that tiles cut; a run starts one.

        A run is what a tile has along that axis and all of the axes inside it.
        """
        axes = self.layouts[self.output].axes
        if not axes:
            return -(-self.rates.result_bytes // self.room.burst_bytes)
        size = prod(axis.extent for axis in axes[place + 1 :]) * self.rates.result_bytes
        outer = prod(axis.extent for axis in axes[:place])
        span = self.span(axes[place], tiles)
        full, rest = divmod(axes[place].extent, span)
        lengths = [span] * full + [rest] * bool(rest)
        return outer * sum(-(-length * size // self.room.burst_bytes) for length in lengths)

    def moves(self, tensor: str) -> frozenset[str]:
        """Loops that move along a tensor."""
        return frozenset(loop for axis in self.layouts[tensor].axes for loop, _ in axis.loops)

    @cached_property
    def stored(self) -> int:
        """Output words."""
        return prod(self.extents[name] for name in self.moves(self.output))

    @cached_property
    def options(self) -> dict[str, list[int]]:
        """Tile sizes worth trying of each loop: the smallest for its number of tiles.

        A summing loop of a padded window stays whole: a load of part of it could be all padding.
        """
        padded = [axis for layout in self.layouts.values() for axis in layout.axes if axis.before or axis.after]
        fixed = {loop for axis in padded for loop, _ in axis.loops if loop not in self.results}
        return {name: [extent] if name in fixed else even_tiles(extent) for name, extent in self.extents.items()}

    @cached_property
    def orders(self) -> list[tuple[str, ...]]:
        """Loop orders that differ in what they reload: output loops outside, sums inside.

        Loops that move the same inputs are neighbours, in their own order.
        """
        groups: dict[tuple[bool, ...], list[str]] = {}
        single = [name for name, extent in self.extents.items() if extent == 1]
        for name in self.results:
            if name not in single:
                groups.setdefault(tuple(name in self.moves(tensor) for tensor in self.inputs), []).append(name)
        sums = [name for name in self.extents if name not in self.results and name not in single]
        orders = permutations(groups.values())
        return [(*single, *(name for group in order for name in group), *sums) for order in orders]

    def span(self, axis: Axis, tiles: Mapping[str, int]) -> int:
        """Words along an axis of one tile, padding included."""
        return sum(factor * (tiles[loop] - 1) for loop, factor in axis.loops) + 1

    def reads(self, axis: Axis, tiles: Mapping[str, int]) -> int:
        """Stored words along an axis that all its tiles read together; overlaps count for each tile."""
        loops = tuple((self.extents[loop], factor, tiles[loop]) for loop, factor in axis.loops)
        return _reads(axis.before, axis.extent, loops)

    def parts(self, tensor: str, tiles: Mapping[str, int]) -> int:
        """Load instructions of one tile: 2-D copies, over the axes that do not merge with their inner neighbours."""
        axes = self.layouts[tensor].axes
        total, boundaries = 1, 0
        for place in reversed(range(len(axes))):
            total *= self.span(axes[place], tiles) if boundaries >= 2 else 1
            boundaries += self.breaks(axes, place, tiles)
        return total

    def pads_outside(self, tensor: str, tiles: Mapping[str, int]) -> bool:
        """Whether a tile of a tensor has padding in front of the two axes that one copy moves."""
        axes = self.layouts[tensor].axes
        breaks = [self.breaks(axes, place, tiles) for place in range(len(axes))]
        padded = [place for place, axis in enumerate(axes) if axis.before or axis.after]
        return any(sum(breaks[place + 1 :]) > 1 for place in padded)

    def breaks(self, axes: tuple[Axis, ...], place: int, tiles: Mapping[str, int]) -> bool:
        """Whether an axis does not merge with the one around it."""
        axis = axes[place]
        outer = place > 0 and bool(axes[place - 1].before or axes[place - 1].after)
        return bool(axis.before or axis.after) or outer or self.span(axis, tiles) < axis.extent


@lru_cache(maxsize=1 << 16)
def _reads(before: int, extent: int, loops: tuple[tuple[int, int, int], ...]) -> int:
    """Words between `before` and `before + extent` that tiles read; a loop is its extent, words per trip, and tile."""
    starts = np.zeros(1, np.int64)
    for trips, factor, tile in loops:
        starts = (starts[:, None] + factor * np.arange(0, trips, tile)).reshape(-1)
    ends = starts + _lengths(starts, loops)
    found = np.minimum(ends, before + extent) - np.maximum(starts, before)
    return int(np.maximum(found, 0).sum())


def _lengths(starts: Ints, loops: tuple[tuple[int, int, int], ...]) -> Ints | int:
    """Words of the tiles at some starts; the last tile of the only loop that is cut is shorter."""
    whole = 1 + sum(factor * (tile - 1) for _, factor, tile in loops)
    cut = [loop for loop in loops if loop[2] < loop[0]] if len(loops) > 1 else loops
    if len(cut) != 1:
        return whole
    [(trips, factor, tile)] = cut
    left = np.minimum(tile, trips - starts // factor)
    return whole - factor * (tile - left)


def even_tiles(extent: int) -> list[int]:
    """Tile sizes ceil(extent / count), each the smallest for its count of tiles."""
    sizes = {-(-extent // count) for count in range(1, min(extent, _MOST_TILES) + 1)}
    return sorted(sizes)


def is_even(extent: int, size: int) -> bool:
    """Whether a tile size is one of `even_tiles`."""
    count = -(-extent // size)
    return count <= _MOST_TILES and -(-extent // count) == size


def whole_and_rest(extent: int, size: int) -> tuple[tuple[int, int], ...]:
    """How many tiles of each size a loop is cut into: whole ones, and the rest if there is one."""
    full, rest = divmod(extent, size)
    return ((full, size), (1, rest)) if rest else ((full, size),)
