"""A schedule for a machine that is only a file: every combination of tile sizes worth having, priced at once.

Tensors of one memory, a register file say, share its words as their tiles need. The price is the largest of the
compute, load and store cycles, plus what cannot overlap; in a file without timing, the bytes that move.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from embed.abstract.homes import Home, sharing
from embed.abstract.placed import Placed
from embed.abstract.program import moving
from embed.costs import Rates
from embed.embedding import Embedding
from embed.epilogue import Epilogue
from embed.errors import NoEmbedding
from embed.layout import Layout
from embed.moves import pieces
from embed.nest.schedule import Schedule
from embed.nest.task import even_tiles
from isa.model import Isa

Grid = npt.NDArray[np.float64]

_MOST_COMBINATIONS = 20_000
_MANY = 1e30


def schedule(placed: Placed, epilogue: Epilogue, price: Rates) -> Schedule:
    """The cheapest schedule that fits, of equals the one that moves the fewest bytes; raises NoEmbedding for none."""
    grid, embedding, target = _Grid(placed, price), placed.embedding, placed.target
    flights = ((2, 2), (2, 1), (1, 1)) if target.timings else ((1, 1),)
    best: tuple[tuple[float, float], Schedule] | None = None
    for buffers, result_buffers in flights:
        if epilogue.planes > 1 and result_buffers > 1:
            continue
        fits = grid.fits(buffers, result_buffers)
        for order in _orders(embedding, placed.layouts):
            found = grid.cheapest(order, buffers, result_buffers, fits)
            if found is not None and (best is None or found[0] < best[0]):
                best = found[0], Schedule(found[1], order, buffers, result_buffers)
    if best is None:
        raise NoEmbedding(f"no tile of {embedding} fits the memories of {target.name}")
    return best[1]


def _orders(embedding: Embedding, layouts: Mapping[str, Layout]) -> list[tuple[str, ...]]:
    """Output loops outside, sums inside; among the output loops, those that leave one input in place go innermost."""
    results = embedding.result_loops
    sums = [loop.name for loop in embedding.loops if loop.name not in results]
    found = []
    for name in embedding.inputs:
        movers = moving(layouts[name])
        found.append((*(r for r in results if r in movers), *(r for r in results if r not in movers), *sums))
    return list(dict.fromkeys(found))


def _options(embedding: Embedding) -> dict[str, list[int]]:
    """Tile sizes to try for each loop, 1 among them, thinned evenly until their combinations are few enough."""
    options = {loop.name: sorted({1, *even_tiles(loop.extent)}) for loop in embedding.loops}
    while prod(map(len, options.values())) > _MOST_COMBINATIONS:
        longest = max(options, key=lambda name: len(options[name]))
        kept = options[longest]
        options[longest] = sorted({*kept[::2], kept[-1]})
    return options


@dataclass
class _Grid:
    """Every combination of tile sizes as one array a quantity, with one axis for each loop."""

    placed: Placed
    price: Rates

    def __post_init__(self) -> None:
        self.embedding, self.target = self.placed.embedding, self.placed.target
        self.layouts, self.homes, self.output = self.placed.layouts, self.placed.homes, self.placed.output
        self.results = self.embedding.result_loops
        self.options = _options(self.embedding)
        self.tile = {name: self._axis(name, sizes) for name, sizes in self.options.items()}
        self.count = {loop.name: np.ceil(loop.extent / self.tile[loop.name]) for loop in self.embedding.loops}
        self.words = {name: self._words(layout) for name, layout in self.layouts.items()}
        self.loads = {name: _load(home, self.price.bus, self.target) for name, home in self.homes.items()}

    def _axis(self, name: str, sizes: Sequence[int]) -> Grid:
        return np.array(sizes, np.float64).reshape([len(sizes) if other == name else 1 for other in self.options])

    def _words(self, layout: Layout, axes: slice = slice(None)) -> Grid:
        """Operands of a tile along some of a layout's axes."""
        total: Any = np.float64(1)
        for axis in layout.axes[axes]:
            total = total * (sum((factor * (self.tile[loop] - 1) for loop, factor in axis.loops), np.float64(0)) + 1)
        return np.asarray(total)

    def fits(self, buffers: int, result_buffers: int) -> npt.NDArray[np.bool_]:
        """Whether the tiles in flight fit every memory."""
        fits: Any = np.bool_(True)
        for _, capacity, tensors in sharing(self.homes):
            used: Any = np.float64(0)
            for tensor in tensors:
                flight = result_buffers if tensor == self.output else buffers
                flight = flight if tensor in (self.output, *self.embedding.inputs) else 1
                alone = self._tiles(tensor) == 1
                used = used + np.where(alone, 1, flight) * self.words[tensor] * self.homes[tensor].words
            fits = fits & (used <= capacity)
        return np.asarray(fits)

    def _tiles(self, tensor: str) -> Grid:
        """How many different tiles a tensor has."""
        return np.asarray(prod((self.count[loop] for loop in moving(self.layouts[tensor])), start=np.float64(1)))

    def _times(self, tensor: str, order: tuple[str, ...]) -> Grid:
        """How often a tile of `tensor` is loaded: loops inside the last one that moves it do not count."""
        movers = moving(self.layouts[tensor])
        moved: Any = np.bool_(False)
        total: Any = np.float64(1)
        for name in reversed(order):
            if tensor in self.embedding.inputs or name in self.results:
                moved = moved | ((self.count[name] > 1) & (name in movers))
                total = total * np.where(moved, self.count[name], 1)
        return np.asarray(total)

    def cheapest(
        self, order: tuple[str, ...], buffers: int, result_buffers: int, fits: npt.NDArray[np.bool_]
    ) -> tuple[tuple[float, float], dict[str, int]] | None:
        """The cheapest combination under one loop order, with its cycles and bytes; of equals the smallest tiles."""
        if not fits.any():
            return None
        cycles, size = self._cycles(order, buffers, result_buffers)
        cost = np.where(fits, cycles, _MANY)
        least = cost.min()
        place = np.unravel_index(int(np.where(cost <= least, size, _MANY).argmin()), cost.shape)
        tiles = {name: sizes[int(i)] for (name, sizes), i in zip(self.options.items(), place, strict=True)}
        return (float(least), float(np.broadcast_to(size, cost.shape)[place])), tiles

    def _cycles(self, order: tuple[str, ...], buffers: int, result_buffers: int) -> tuple[Grid, Grid]:
        """Cycles (bytes without timing), and bytes loaded."""
        loading: Any = np.float64(0)
        first: Any = np.float64(0)
        size: Any = np.float64(0)
        for name in self.layouts:
            if name != self.output and not self.homes[name].direct:
                tile = self.words[name] * self.loads[name] + self._starts(name)
                times = self._times(name, order)
                loading, first = loading + times * tile, first + tile
                size = size + times * self.words[name] * self.homes[name].bytes
        shape = tuple(map(len, self.options.values()))
        if not self.target.timings:
            return np.broadcast_to(size, shape), np.broadcast_to(size, shape)
        stored = self.words[self.output] * self._tiles(self.output)
        compute = self.price.invocation * self.embedding.invocations + self.price.result * stored
        compute = compute / self.price.per + self._passes()
        last = self._storing() * self.words[self.output]
        storing = last * self._tiles(self.output)
        compute = compute + (loading if buffers == 1 else 0) + (storing if result_buffers == 1 else 0)
        alone = (first if buffers > 1 else 0) + (last if result_buffers > 1 else 0)
        shared = (size + self._fixed_bytes(stored)) / self.price.bus if self.price.bus else np.float64(0)
        total = np.maximum(np.maximum(compute, loading), np.maximum(storing, shared)) + alone
        return np.broadcast_to(total, shape), np.broadcast_to(size, shape)

    def _storing(self) -> float:
        """Cycles of a result word on its way out: the store unit's, or the bus's where those are more."""
        over = self.price.result_bytes / self.price.bus if self.price.bus else 0.0
        return 0.0 if self.homes[self.output].direct else max(over, self.price.store / self.price.per)

    def _fixed_bytes(self, stored: Grid) -> Grid:
        """Bytes that take their turns on the bus whatever the tiles: results, and what invocations access in place."""
        found = np.float64(0)
        for name in self.embedding.inputs:
            if self.homes[name].direct:
                found += self.homes[name].bytes * self.embedding.invocations
        if self.homes[self.output].direct:
            return np.asarray(found + 2 * self.homes[self.output].bytes * self.embedding.invocations)
        return np.asarray(found + self.price.result_bytes * stored)

    def _starts(self, tensor: str) -> Grid:
        """Cycles that the loads of a tile start with, where one load loops over the two innermost axes itself."""
        name = self.homes[tensor].entry
        if not _loops(name, self.target):
            return np.zeros(())
        return self.target.timing.costs[name].start * self._words(self.layouts[tensor], slice(0, -2))

    def _passes(self) -> Grid:
        """Cycles that the invocations of all tiles start with, where one instruction loops over a tile itself."""
        if not _loops(self.embedding.name, self.target):
            return np.zeros(())
        steps = prod(self.count.values(), start=np.float64(1))
        return np.asarray(self.target.timing.costs[self.embedding.name].start * steps)


def _load(home: Home, bus: int, target: Isa) -> float:
    """Cycles that bring one operand: the bus's, or the load entry's where those are more."""
    if not target.timings:
        return 0.0
    over = Fraction(home.bytes, bus) if bus else Fraction(0)
    cost = target.timing.costs.get(home.entry)
    if cost is None:
        return float(over)
    entry = target.instructions[home.entry]
    start = 0 if entry.repeat else cost.start
    own = (cost.steady + start) * pieces(entry, home.operand)
    return float(max(over, own))


def _loops(name: str, target: Isa) -> bool:
    """Whether an instruction of a timed entry runs many trips."""
    return bool(target.timings and name in target.timing.costs and target.instructions[name].repeat)
