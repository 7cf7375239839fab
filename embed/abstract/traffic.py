"""What a schedule moves, without running it: tiles loaded and operands read or written, exactly."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

from embed.abstract.program import moving
from embed.embedding import Embedding
from embed.layout import Layout
from embed.nest.schedule import Schedule
from embed.window import Axis

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Moved:
    """Tiles of a tensor that are loaded, and operands in them: all, and those that are no padding."""

    tiles: int
    operands: int
    stored: int


def loaded(embedding: Embedding, layout: Layout, schedule: Schedule, tensor: str) -> Moved:
    """What loads of an input do; of an epilogue's tensor, whose loads stand outside the sums."""
    if tensor in schedule.whole:
        return Moved(1, prod(axis.span for axis in layout.axes), layout.words)
    counts = {loop.name: -(-loop.extent // schedule.tiles[loop.name]) for loop in embedding.loops}
    results = embedding.result_loops
    order = [loop for loop in schedule.order if tensor in embedding.inputs or loop in results]
    movers = set(moving(layout))
    last = max((place for place, loop in enumerate(order) if loop in movers and counts[loop] > 1), default=-1)
    again = prod(counts[loop] for loop in order[: last + 1] if loop not in movers)
    tiles = again * prod(counts[loop] for loop in movers)
    operands, stored = _summed(embedding, layout, schedule)
    return Moved(tiles, again * operands, again * stored)


def _summed(embedding: Embedding, layout: Layout, schedule: Schedule) -> tuple[int, int]:
    """Operands in all boxes of tiles of the loops that move a layout, padding counted and not."""
    extents = {loop.name: loop.extent for loop in embedding.loops}
    everything = stored = 1
    for axes in _together(layout.axes):
        loops = tuple(dict.fromkeys(loop for axis in axes for loop, _ in axis.loops))
        pairs = [_reached(axis, loops, extents, schedule) for axis in axes]
        everything *= int(prod((length for length, _ in pairs), start=np.ones((), np.int64)).sum())
        stored *= int(prod((inside for _, inside in pairs), start=np.ones((), np.int64)).sum())
    return everything, stored


def _together(axes: Sequence[Axis]) -> list[list[Axis]]:
    """Axes in groups that have no loop in common."""
    groups: list[list[Axis]] = []
    for axis in axes:
        names = {loop for loop, _ in axis.loops}
        joined = [group for group in groups if any(names & {loop for loop, _ in other.loops} for other in group)]
        groups = [group for group in groups if group not in joined]
        groups.append([*(other for group in joined for other in group), axis])
    return groups


def _reached(axis: Axis, loops: Sequence[str], extents: Mapping[str, int], schedule: Schedule) -> tuple[Counts, Counts]:
    """Words along an axis that each tile of some loops reaches, padding counted and not: a grid, one axis a loop."""
    factors = dict(axis.loops)
    first: Counts = np.zeros((), np.int64)
    reach: Counts = np.ones((), np.int64)
    for loop in loops:
        starts = np.arange(0, extents[loop], schedule.tiles[loop], dtype=np.int64)
        lengths = np.minimum(starts + schedule.tiles[loop], extents[loop]) - starts
        first = np.add.outer(first, factors.get(loop, 0) * starts)
        reach = np.add.outer(reach, factors.get(loop, 0) * (lengths - 1))
    low, high = np.maximum(first, axis.before), np.minimum(first + reach, axis.before + axis.extent)
    return reach, np.maximum(0, high - low)
