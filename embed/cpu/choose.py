"""Register tiles and loop orders worth pricing, by counting what one step of the sum costs the core."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from math import prod

from embed.cpu.indexed import pieces
from embed.embedding import Embedding
from embed.nest.build import result_loops
from embed.nest.price import even_tiles
from embed.nest.schedule import Schedule

_LATENCY_STEPS = 4
"""A multiply-accumulate can start on the same register every 4 cycles (Intel cores from Skylake on, AMD Zen)."""

_NARROWEST_UNROLL = 4
_PANEL_BYTES = 1 << 20
_SPARE_LOAD = 0.05
"""Where registers hold several steps, many tiles keep the multiply-accumulates busy; of these, few loads are better."""
_MOST_TILES = 3


@dataclass(frozen=True, slots=True)
class Core:
    """What bounds a step: vector registers, and multiply-accumulates, loads and instructions per cycle.

    `far_bytes` is what the second-level cache sustains per cycle; whole words come from there.
    """

    registers: int
    word_bytes: int
    computes: int = 2
    loads: int = 2
    width: int = 6
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
    found = []
    for tile in _register_tiles(extents, results, core, moving):
        tiles = tile | _unrolled(extents, sums, moving)
        counts = {name: -(-extents[name] // tiles[name]) for name in results}
        orders = _orders(results, moving, panel_bytes)
        if threads > 1:
            orders = [_shared_evenly(order, counts, threads) for order in orders]
        found += [Schedule(tiles, (*order, *sums), 1, 1) for order in _distinct(orders, counts)]
    return found


def _register_tiles(
    extents: Mapping[str, int], results: list[str], core: Core, moving: Mapping[str, Moves]
) -> list[dict[str, int]]:
    """The cheapest tiles: at most four loops are unrolled, the innermost that turn more than once."""
    open_loops = [name for name in results if extents[name] > 1][-4:]
    found: list[tuple[float, int, dict[str, int]]] = []
    choices = [[size for size in even_tiles(extents[name]) if size < core.registers] for name in open_loops]
    for sizes in product(*choices):
        if prod(sizes) > core.registers - 2:
            continue
        tiles = dict.fromkeys(results, 1) | dict(zip(open_loops, sizes, strict=True))
        if prod(sizes) + _kept(tiles, moving) > core.registers:
            continue
        price = _price(extents, tiles, open_loops, core, moving)
        found.append((price, -prod(sizes), tiles))
    found.sort(key=lambda entry: entry[:2])
    return [tiles for _, _, tiles in found[:_MOST_TILES]] or [dict.fromkeys(results, 1)]


def _kept(tiles: Mapping[str, int], moving: Mapping[str, Moves]) -> int:
    """Registers for inputs: the words of the one that stays for a whole step, and room for one load of the other."""
    lanes = [moves for moves in moving.values() if moves.lanes > 1]
    held = min(lanes or moving.values(), key=lambda moves: _words(tiles, moves))
    return _words(tiles, held) + max((moves.at_once for moves in moving.values() if moves is not held), default=1)


def _words(tiles: Mapping[str, int], moves: Moves) -> int:
    """Registers that hold an input's words of one step."""
    return prod(
        pieces(count, moves.lanes) if name == moves.along else count
        for name, count in tiles.items()
        if name in moves.loops
    )


def loads_per_step(tiles: Mapping[str, int], moves: Moves) -> float:
    """Load instructions in one step; a register that holds several steps is loaded that much less often."""
    steps = 1 if moves.along in tiles else moves.lanes
    return _words(tiles, moves) / (steps * moves.at_once)


def _price(
    extents: Mapping[str, int],
    tiles: Mapping[str, int],
    open_loops: list[str],
    core: Core,
    moving: Mapping[str, Moves],
) -> float:
    """Cycles per step of the sum over the whole output: whole tiles and the rests along each loop."""
    pieces = []
    for name in open_loops:
        full, rest = divmod(extents[name], tiles[name])
        pieces.append([(count, size) for count, size in ((full, tiles[name]), (1, rest)) if count and size])
    spare = _SPARE_LOAD if any(moves.lanes > 1 for moves in moving.values()) else 0.0
    total = 0.0
    for choice in product(*pieces):
        sizes = dict(tiles) | {name: size for name, (_, size) in zip(open_loops, choice, strict=True)}
        computes = prod(sizes.values())
        loads = sum(loads_per_step(sizes, moves) for moves in moving.values())
        far = core.word_bytes * sum(_words(sizes, moves) for moves in moving.values() if moves.whole)
        busy = (computes / core.computes, loads / core.loads, (computes + loads) / core.width, far / core.far_bytes)
        cycles = max(*busy, _LATENCY_STEPS)
        total += prod(count for count, _ in choice) * (cycles + 0.02 * computes + 0.1 + spare * loads)
    return total


def _unrolled(extents: Mapping[str, int], sums: list[str], moving: Mapping[str, Moves]) -> dict[str, int]:
    """Innermost sums unrolled until a few steps stand in a row, in parts that divide the loop where there are any.

    Where a register holds several steps, the parts are whole registers.
    """
    tiles = dict.fromkeys(sums, 1)
    steps = 1
    for name in reversed(sums):
        if steps >= _NARROWEST_UNROLL:
            break
        lanes = max((moves.lanes for moves in moving.values() if moves.along == name), default=1)
        room = max(1, 2 * _NARROWEST_UNROLL * (2 if lanes > 1 else 1) // steps)
        tiles[name] = _part(extents[name], room, lanes)
        steps *= tiles[name]
        if tiles[name] < extents[name]:
            break
    return tiles


def _part(extent: int, room: int, lanes: int) -> int:
    """How much of a loop of `extent` to unroll: at most `room` iterations."""
    if extent <= room:
        return extent
    fitting = [size for size in range(lanes, room + 1, lanes) if extent % size == 0]
    return fitting[-1] if fitting and fitting[-1] >= _NARROWEST_UNROLL else room


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
