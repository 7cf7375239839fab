"""Register tiles and loop orders worth pricing, by counting what one step of the sum costs the core."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from embed.cpu.indexed import pieces
from embed.embedding import Embedding
from embed.nest.build import result_loops
from embed.nest.schedule import Schedule
from embed.nest.task import is_even

Grid = Any
"""Integers: one number, or an array of a number for each of many tiles."""

_MOST_PLACES = 256
_LATENCY_STEPS = 4
"""A multiply-accumulate can start on the same register every 4 cycles (Intel cores from Skylake on, AMD Zen)."""

_NARROWEST_UNROLL = 4
_LONG_BODY = 64
"""Multiply-accumulates in a row beside which the few instructions of a loop take no slot that is needed."""

_PANEL_BYTES = 1 << 20
_SPARE_LOAD = 0.05
"""Where a load brings several words or steps, many tiles keep the core busy; of these, few loads are better."""
_MOST_TILES = 3


@dataclass(frozen=True, slots=True)
class Core:
    """What bounds a step: vector registers, and multiply-accumulates and loads per cycle.

    `far_bytes` is what the second-level cache sustains per cycle; whole words come from there.
    """

    registers: int
    word_bytes: int
    computes: int = 2
    loads: int = 2
    far_bytes: int = 32


@dataclass(frozen=True, slots=True)
class Moves:
    """The loops that move an input's words, and whether its words are whole vectors or one element for all lanes.

    One load fills `at_once` registers. A register holds `lanes` words, one for each iteration of the loop `along`.
    """

    loops: frozenset[str]
    whole: bool
    at_once: int = 1
    lanes: int = 1
    along: str = ""


def choose(
    embedding: Embedding,
    core: Core,
    moving: Mapping[str, Moves],
    steps: Mapping[str, int],
    panel_bytes: int,
    threads: int,
) -> list[Schedule]:
    """Tiles of the output's loops that fit the registers and waste least; sums unrolled a little; in several orders.

    `moving` gives the loops that move each input's words, `steps` the elements each loop moves in the input that is
    read in place; `panel_bytes` is the size of the input with whole words. The outermost loop is what `threads` share.
    """
    extents = {loop.name: loop.extent for loop in embedding.loops}
    results = sorted(result_loops(embedding), key=lambda name: extents[name] == 1)
    sums = sorted((name for name in extents if name not in results), key=lambda name: -steps.get(name, 0))
    sums = sorted(sums, key=lambda name: extents[name] > 1)
    usual = _orders(results, moving, panel_bytes)
    found = []
    for tile in _register_tiles(extents, results, core, moving):
        tiles = tile | _unrolled(extents, sums, moving, prod(tile.values()))
        counts = {name: -(-extents[name] // tiles[name]) for name in results}
        orders = [_shared_evenly(order, counts, threads) for order in usual] if threads > 1 else usual
        found += [Schedule(tiles, (*order, *sums), 1, 1) for order in _distinct(orders, counts)]
    return found


def _register_tiles(
    extents: Mapping[str, int], results: list[str], core: Core, moving: Mapping[str, Moves]
) -> list[dict[str, int]]:
    """The cheapest tiles: at most four loops are unrolled, the innermost that turn more than once."""
    open_loops = {name: extents[name] for name in [name for name in results if extents[name] > 1][-4:]}
    alone = dict.fromkeys(results, 1)
    if not open_loops:
        return [alone]
    sizes, sums = _sizes(open_loops, core.registers - 2)
    (fits,) = np.nonzero(sums + _kept(alone | sizes, moving) <= core.registers)
    if not fits.size:
        return [alone]
    sizes, sums = {name: column[fits] for name, column in sizes.items()}, sums[fits]
    prices = _prices(open_loops, sizes, core, moving).round(6)
    cheapest = np.lexsort((-sums, prices))[:_MOST_TILES]
    return [alone | {name: int(column[place]) for name, column in sizes.items()} for place in cheapest]


def _sizes(extents: Mapping[str, int], most: int) -> tuple[dict[str, Grid], Grid]:
    """Every combination of even tile sizes of a product up to `most`: a column for each loop, and the products."""
    columns: dict[str, Grid] = {}
    products = np.array([1])
    for name, extent in extents.items():
        own = np.array([size for size in range(1, min(extent, most) + 1) if is_even(extent, size)])
        wider = np.multiply.outer(products, own)
        before, last = np.nonzero(wider <= most)
        columns = {name: column[before] for name, column in columns.items()} | {name: own[last]}
        products = wider[before, last]
    return columns, products


def _kept(tiles: Mapping[str, Grid], moving: Mapping[str, Moves]) -> Grid:
    """Registers for inputs: the words of the one that stays for a whole step, and room for one load of the other."""
    lanes = [moves for moves in moving.values() if moves.lanes > 1] or list(moving.values())
    rooms = {
        name: max((o.at_once for o in moving.values() if o is not moves), default=1) for name, moves in moving.items()
    }
    words = [_words(tiles, moves) for moves in lanes]
    room = [rooms[name] for name, moves in moving.items() if any(moves is one for one in lanes)]
    found, kept = words[0], words[0] + room[0]
    for other, more in zip(words[1:], room[1:], strict=True):
        kept = np.where(other < found, other + more, kept)
        found = np.minimum(found, other)
    return kept


def _words(tiles: Mapping[str, Grid], moves: Moves) -> Grid:
    """Registers that hold an input's words of one step."""
    found: Grid = 1
    for name, count in tiles.items():
        if name in moves.loops:
            found = (_pieces(moves.lanes)[count] if name == moves.along else count) * found
    return found


@cache
def _pieces(lanes: int) -> Grid:
    """How many registers hold a count of places, by the count."""
    return np.array([pieces(count, lanes) for count in range(_MOST_PLACES)], np.int64)


def loads_per_step(tiles: Mapping[str, Grid], moves: Moves) -> Grid:
    """Load instructions in one step; a register that holds several steps is loaded that much less often."""
    return _words(tiles, moves) / _words_a_load(tiles, moves)


def _words_a_load(tiles: Mapping[str, Grid], moves: Moves) -> int:
    return moves.at_once * (1 if moves.along in tiles else moves.lanes)


def _prices(
    extents: Mapping[str, int], sizes: Mapping[str, Grid], core: Core, moving: Mapping[str, Moves]
) -> npt.NDArray[np.float64]:
    """Cycles per step of the sum over the whole output, for each column: whole tiles and the rests along each loop.

    Every loop has an axis of its own for the two, so that all combinations are counted at once.
    """
    tiles: dict[str, Grid] = {}
    times: Grid = 1
    for axis, (name, size) in enumerate(sizes.items()):
        full, rest = np.divmod(extents[name], size)
        shape = (1,) * axis + (2,) + (1,) * (len(sizes) - axis - 1) + (-1,)
        tiles[name] = np.array((size, rest)).reshape(shape)
        times = np.array((full, rest > 0)).reshape(shape) * times
    computes = prod(tiles.values())
    words = [(_words(tiles, moves), moves) for moves in moving.values()]
    loads = sum(count / _words_a_load(tiles, moves) for count, moves in words)
    far = core.word_bytes / core.far_bytes * sum(count for count, moves in words if moves.whole)
    cycles = np.maximum(np.maximum(computes / core.computes, loads / core.loads), np.maximum(far, _LATENCY_STEPS))
    spare = _SPARE_LOAD if any(moves.lanes > 1 or moves.at_once > 1 for moves in moving.values()) else 0.0
    found = times * (cycles + 0.02 * computes + 0.1 + spare * loads)
    return np.asarray(found.reshape(found.size // found.shape[-1], -1).sum(axis=0))


def _unrolled(
    extents: Mapping[str, int], sums: list[str], moving: Mapping[str, Moves], computes: int
) -> dict[str, int]:
    """Innermost sums unrolled until a few steps stand in a row, in parts that divide the loop where there are any.

    Where a register holds several steps, the parts are whole registers. Steps of many multiply-accumulates hide the
    loop around them sooner, unless pairs of words leave few other instructions.
    """
    tiles = dict.fromkeys(sums, 1)
    steps = 1
    for place, name in reversed(list(enumerate(sums))):
        if steps >= _NARROWEST_UNROLL:
            break
        lanes = max((moves.lanes for moves in moving.values() if moves.along == name), default=1)
        if lanes > 1:
            outermost = all(extents[other] == 1 for other in sums[:place])
            tiles[name] = _registers_full(extents[name], lanes, outermost)
        else:
            room = max(1, 2 * _NARROWEST_UNROLL // steps)
            long = computes * _NARROWEST_UNROLL >= _LONG_BODY and all(moves.at_once == 1 for moves in moving.values())
            enough = min(room, _NARROWEST_UNROLL) if long else room
            tiles[name] = _part(extents[name], room, enough, _NARROWEST_UNROLL)
        steps *= tiles[name]
        if tiles[name] < extents[name]:
            break
    return tiles


def _part(extent: int, room: int, enough: int, least: int, unit: int = 1) -> int:
    """How much of a loop to unroll: all up to `room`, or from `least` to `enough` what divides it, or `enough`."""
    if extent <= room:
        return extent
    fitting = [size for size in range(unit, enough + 1, unit) if extent % size == 0 and size >= least]
    return max(fitting, default=enough)


def _registers_full(extent: int, lanes: int, outermost: bool) -> int:
    """How much of a loop to unroll whose steps share registers: more, since each saves moving the pointers.

    All of a short loop, unless it is the only one: then it stays a loop, and its code is half as long.
    """
    room = 4 * _NARROWEST_UNROLL
    if extent <= room + room // 2 and not (outermost and extent > room // 2):
        return extent
    half = min(room, -(-extent // 2))
    return _part(extent, half, half, room // 2, lanes)


def _shared_evenly(order: list[str], tiles: Mapping[str, int], threads: int) -> list[str]:
    """The order with another loop outermost where the first has too few tiles for all threads to get much the same."""
    if tiles[order[0]] >= 4 * threads:
        return order
    outermost = max(order, key=lambda name: tiles[name])
    return [outermost, *(name for name in order if name != outermost)]


def _panel_loops(moving: Mapping[str, Moves]) -> frozenset[str]:
    """The loops of the input whose words are whole vectors; of two such inputs, the one that fewer loops move."""
    whole = [moves.loops for moves in moving.values() if moves.whole] or [moves.loops for moves in moving.values()]
    return min(whole, key=len)


def _orders(results: list[str], moving: Mapping[str, Moves], panel_bytes: int) -> list[list[str]]:
    """Words of the packed input outermost when it exceeds the cache, else innermost, where other tiles are reused.

    The most likely order comes first.
    """
    packed = _panel_loops(moving)
    panels = [name for name in results if name in packed]
    others = [name for name in results if name not in packed]
    outside, between = [*panels, *others], [*others[:-1], *panels, *others[-1:]]
    likely = [outside, between] if panel_bytes > _PANEL_BYTES else [between, outside]
    return [*likely, [*others, *panels]]


def _distinct(orders: list[list[str]], counts: Mapping[str, int]) -> list[list[str]]:
    """The first of the orders that differ in loops of one tile alone."""
    found: dict[tuple[str, ...], list[str]] = {}
    for order in orders:
        found.setdefault(tuple(name for name in order if counts[name] > 1), order)
    return list(found.values())
