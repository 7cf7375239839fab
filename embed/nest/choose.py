"""Choosing a schedule: every combination of tile sizes worth having, priced at once, within the scratchpads.

The price is the largest of the compute, load and store units' cycles, plus what cannot overlap: the first loads, the
last tile's epilogue and store, and all loads or stores where only one tile of them is in flight.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from embed.costs import Rates
from embed.embedding import Embedding
from embed.errors import NoEmbedding
from embed.layout import Layout
from embed.nest.build import result_loops
from embed.nest.schedule import Schedule

Grid = npt.NDArray[np.int64]

_MOST_COMBINATIONS = 200_000

_WHOLE_SHARE = 8
"""An epilogue's tensor is loaded once, at the start, if it takes at most this part of the scratchpad."""


@dataclass(frozen=True, slots=True)
class Room:
    """Words each tensor's scratchpad holds, fixed cycles of a load and of a compute pass, and limits of the machine.

    `shared` tensors lie in the output's scratchpad; `passes` is the number of compute passes over each output tile,
    `longest_load` the words of one load, `result_buffers` the most output tiles in flight.
    """

    words: Mapping[str, int]
    shared: tuple[str, ...]
    load_start: int
    pass_start: int
    passes: int
    longest_load: int
    result_buffers: int


def choose(embedding: Embedding, layouts: Mapping[str, Layout], rates: Rates, room: Room) -> Schedule:
    """The cheapest schedule that fits; raises NoEmbedding where not even single iterations do."""
    loops = {loop.name: loop.extent for loop in embedding.loops}
    fixed = _whole_loops(embedding, layouts)
    best: tuple[int, Schedule] | None = None
    for buffers, result_buffers in _flights(room):
        options = _options(loops, fixed)
        grid = _Grid(embedding, layouts, loops, options, rates, room, buffers, result_buffers)
        for order in _orders(embedding, layouts, loops):
            found = grid.cheapest(order)
            if found is not None and (best is None or found[0] < best[0]):
                tail = last_pieces(embedding, layouts, found[1], rates, room)
                best = found[0], Schedule(found[1], order, buffers, result_buffers, whole=grid.whole, tail=tail)
    if best is None:
        raise NoEmbedding(f"no tile of {embedding} fits the scratchpads: {dict(room.words)} words")
    return best[1]


def last_pieces(
    embedding: Embedding, layouts: Mapping[str, Layout], tiles: Mapping[str, int], rates: Rates, room: Room
) -> tuple[str, int] | None:
    """How to cut the last output tile's epilogue: P pieces start each pass P times and leave 1/P of the store last.

    They run along the outermost axis that the tile has words on, so that each is stored from one piece of scratchpad.
    """
    output = layouts[embedding.operator.main.output.tensor]
    loops = [loop for axis in output.axes for loop, _ in axis.loops if tiles[loop] > 1]
    passes = room.passes - 1
    if not loops or not passes or room.result_buffers == 1:
        return None
    last = {loop.name: (loop.extent - 1) % tiles[loop.name] + 1 for loop in embedding.loops}
    words = prod(1 + sum(factor * (last[loop] - 1) for loop, factor in axis.loops) for axis in output.axes)
    cost = {
        size: -(-last[loops[0]] // size) * passes * room.pass_start + rates.store * -(-words * size // last[loops[0]])
        for size in even_tiles(last[loops[0]])
    }
    best = min(cost, key=lambda size: (cost[size], -size))
    return None if best == last[loops[0]] else (loops[0], best)


def _flights(room: Room) -> list[tuple[int, int]]:
    """Tiles in flight to try: of the inputs, of the output."""
    return [(inputs, results) for inputs, results in ((2, 2), (2, 1), (1, 1)) if results <= room.result_buffers]


def _whole_loops(embedding: Embedding, layouts: Mapping[str, Layout]) -> set[str]:
    """Summing loops of a padded window: a load of part of it could be all padding."""
    results = result_loops(embedding)
    padded = [axis for layout in layouts.values() for axis in layout.axes if axis.before or axis.after]
    return {loop for axis in padded for loop, _ in axis.loops if loop not in results}


def _options(loops: Mapping[str, int], fixed: set[str]) -> dict[str, list[int]]:
    """Tile sizes to try for each loop, thinned evenly until their combinations are few enough."""
    options = {name: [extent] if name in fixed else even_tiles(extent) for name, extent in loops.items()}
    while prod(map(len, options.values())) > _MOST_COMBINATIONS:
        longest = max(options, key=lambda name: len(options[name]))
        kept = options[longest]
        options[longest] = sorted({*kept[::2], kept[-1]})
    return options


def even_tiles(extent: int) -> list[int]:
    """Tile sizes ceil(extent / count), each the smallest for its count of tiles."""
    sizes = {-(-extent // count) for count in range(1, min(extent, 4096) + 1)}
    return sorted(sizes)


def _orders(embedding: Embedding, layouts: Mapping[str, Layout], loops: Mapping[str, int]) -> list[tuple[str, ...]]:
    """Output loops outside, sums inside; among the output loops, those that leave one input in place go innermost."""
    results = [name for name in loops if name in result_loops(embedding)]
    sums = [name for name in loops if name not in results]
    found = []
    for name in embedding.inputs:
        moving = {loop for axis in layouts[name].axes for loop, _ in axis.loops}
        order = [*(loop for loop in results if loop in moving), *(loop for loop in results if loop not in moving)]
        found.append((*order, *sums))
    return list(dict.fromkeys(found))


class _Grid:
    """Every combination of tile sizes as one array a quantity, with one axis for each loop."""

    def __init__(
        self,
        embedding: Embedding,
        layouts: Mapping[str, Layout],
        loops: Mapping[str, int],
        options: Mapping[str, Sequence[int]],
        rates: Rates,
        room: Room,
        buffers: int,
        result_buffers: int,
    ) -> None:
        self.layouts, self.options, self.rates, self.room = layouts, options, rates, room
        self.buffers, self.result_buffers = buffers, result_buffers
        self.output = embedding.operator.main.output.tensor
        self.inputs = embedding.inputs
        self.operands = embedding.binding.operands
        self.invocations = embedding.invocations
        self.names = list(loops)
        self.tile = {name: self._axis(name, options[name]) for name in loops}
        self.count = {name: -(-extent // self.tile[name]) for name, extent in loops.items()}
        self.words = {name: self._words(layout) for name, layout in layouts.items()}
        self.whole = tuple(name for name in room.shared if layouts[name].words * _WHOLE_SHARE <= room.words[name])
        self.words |= {name: np.asarray(layouts[name].words) for name in self.whole}
        self.results = result_loops(embedding)
        self.fits = self._fits()

    def _axis(self, name: str, values: Sequence[int]) -> Grid:
        shape = [len(values) if other == name else 1 for other in self.names]
        return np.array(values, np.int64).reshape(shape)

    def _words(self, layout: Layout) -> Grid:
        total: Any = np.int64(1)
        for axis in layout.axes:
            total = total * (sum((factor * (self.tile[loop] - 1) for loop, factor in axis.loops), np.int64(0)) + 1)
        return np.asarray(total)

    def _loads(self, tensor: str) -> Grid:
        """Load instructions of one tile: one for each row of words beyond the innermost two axes."""
        total: Any = np.int64(1)
        for axis in self.layouts[tensor].axes[:-2]:
            total = total * (sum((factor * (self.tile[loop] - 1) for loop, factor in axis.loops), np.int64(0)) + 1)
        return np.asarray(np.maximum(total, -(-self.words[tensor] // self.room.longest_load)))

    def _fits(self) -> npt.NDArray[np.bool_]:
        fits: Any = np.bool_(True)
        for name in self.inputs:
            fits = fits & (
                np.where(self._times(name, tuple(self.names)) == 1, 1, self.buffers) * self.words[name]
                <= self.room.words[name]
            )
        extra: Any = np.int64(0)
        for name in self.room.shared:
            extra = extra + self.words[name]
        return np.asarray(
            fits & (self.result_buffers * self.words[self.output] + extra <= self.room.words[self.output])
        )

    def _times(self, tensor: str, order: tuple[str, ...]) -> Grid:
        """How often a tile of `tensor` is loaded: loops inside the last one that moves it do not count."""
        moving = {loop for axis in self.layouts[tensor].axes for loop, _ in axis.loops}
        moved: Any = np.bool_(False)
        total: Any = np.int64(1)
        for name in reversed(order):
            moved = moved | ((self.count[name] > 1) & (name in moving))
            total = total * np.where(moved, self.count[name], 1)
        return np.asarray(total)

    def cheapest(self, order: tuple[str, ...]) -> tuple[int, dict[str, int]] | None:
        """The cheapest combination under one loop order; of equals the first, which has the smallest tiles."""
        if not self.fits.any():
            return None
        cycles = np.where(self.fits, self._cycles(order), np.iinfo(np.int64).max)
        place = np.unravel_index(int(cycles.argmin()), cycles.shape)
        tiles = {name: self.options[name][int(i)] for name, i in zip(self.names, place, strict=True)}
        return int(cycles[place]), tiles

    def _cycles(self, order: tuple[str, ...]) -> Grid:
        rates, room = self.rates, self.room
        results: Any = np.int64(1)
        steps: Any = np.int64(1)
        for name in self.names:
            steps = steps * self.count[name]
            results = results * (self.count[name] if name in self.results else 1)
        loading: Any = np.int64(0)
        first: Any = np.int64(0)
        for name in self.inputs:
            size = rates.input_bytes[self.operands[name]]
            tile = self._loads(name) * room.load_start + self._beats(self.words[name] * size)
            loading = loading + self._times(name, order) * tile
            first = first + tile
        stored = self.words[self.output] * results
        start = room.pass_start * (steps + results * room.passes)
        compute = rates.invocation * self.invocations + rates.result * stored + start
        storing = rates.store * stored
        if self.buffers == 1:
            compute = compute + loading
        if self.result_buffers == 1:
            compute = compute + storing
        last = rates.result * self.words[self.output] + rates.store * self.words[self.output]
        total = np.maximum(np.maximum(compute, loading), storing) + first + last
        return np.asarray(np.broadcast_to(total, tuple(len(self.options[name]) for name in self.names)))

    def _beats(self, size: Grid) -> Grid:
        return size // self.rates.bus if self.rates.bus else size * 0
