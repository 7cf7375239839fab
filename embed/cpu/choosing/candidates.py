"""Schedules worth pricing: the best register tiles, sums unrolled a little, and loop orders that reuse a cache."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from embed.cpu.choosing.register_tiles import Core, register_tiles
from embed.cpu.lowering.moves import Moves
from embed.embedding import Embedding

_NARROWEST_UNROLL = 4
_LONG_BODY = 64
"""Multiply-accumulates in a row beside which the few instructions of a loop take no slot that is needed."""

_PANEL_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Tiling:
    """Iterations per tile of each loop, and the orders of the loops that are worth a price, the most likely first."""

    tiles: Mapping[str, int]
    orders: Sequence[tuple[str, ...]]


def choose(
    embedding: Embedding,
    core: Core,
    moving: Mapping[str, Moves],
    steps: Mapping[str, int],
    panel_bytes: int,
    threads: int,
) -> list[Tiling]:
    """Tiles of the output's loops that fit the registers and waste least; sums unrolled a little; in several orders.

    `moving` gives the loops that move each input's words, `steps` the elements each loop moves in the input that is
    read in place; `panel_bytes` is the size of the input with whole words. The outermost loop is what `threads` share.
    """
    extents = {loop.name: loop.extent for loop in embedding.loops}
    results = sorted(embedding.result_loops, key=lambda name: extents[name] == 1)
    sums = sorted((name for name in extents if name not in results), key=lambda name: -steps.get(name, 0))
    sums = sorted(sums, key=lambda name: extents[name] > 1)
    usual = _orders(results, moving, panel_bytes)
    found, unrolled = [], dict[bool, dict[str, int]]()
    for tile in register_tiles(core, extents, results, moving):
        long = prod(tile.values()) * _NARROWEST_UNROLL >= _LONG_BODY
        if long not in unrolled:
            unrolled[long] = _unrolled(extents, sums, moving, long)
        counts = {name: -(-extents[name] // size) for name, size in tile.items()}
        orders = [_shared_evenly(order, counts, threads) for order in usual] if threads > 1 else usual
        found.append(Tiling(tile | unrolled[long], [(*order, *sums) for order in _distinct(orders, counts)]))
    return found


def _unrolled(extents: Mapping[str, int], sums: list[str], moving: Mapping[str, Moves], long: bool) -> dict[str, int]:
    """Innermost sums unrolled until a few steps stand in a row, in parts that divide the loop where there are any.

    Where a register holds several steps, the parts are whole registers. `long` steps of many multiply-accumulates hide
    the loop around them sooner, unless pairs of words leave few other instructions.
    """
    soon = long and all(moves.at_once == 1 for moves in moving.values())
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
            enough = min(room, _NARROWEST_UNROLL) if soon else room
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
        found.setdefault(tuple([name for name in order if counts[name] > 1]), order)
    return list(found.values())
