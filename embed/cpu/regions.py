"""Rows and columns of the output whose windows reach outside the input: what is summed there is less.

A tap that reads padding adds nothing, so that the sums over the window are narrowed to the taps that lie inside, for
each region of a loop over output rows or columns; the regions at the borders get code of their own.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

from embed.embedding import Embedding
from embed.nest.build import result_loops
from embed.nest.schedule import Schedule

_GAIN = 0.95
"""Regions must leave less than this part of the cycles, for each is more code."""

_MOST = 6
"""Regions of one loop at most."""

_LATENCY, _PER_CYCLE = 4, 2
"""Cycles between two multiply-accumulates on one register, and how many start in a cycle: enough to compare tiles."""

Taps = Mapping[str, range]


@dataclass(frozen=True, slots=True)
class Region:
    """`runs` tiles of `size` iterations each, in a row; `taps` narrows loops of the sum, perhaps to nothing."""

    runs: int
    size: int
    taps: Taps = field(default_factory=dict)


def regions(embedding: Embedding, schedule: Schedule, linear: Collection[str]) -> dict[str, tuple[Region, ...]]:
    """The regions of each loop over a result that is worth cutting.

    Tiles keep their places unless a loop is in `linear`: every tensor then moves alike from iteration to iteration.
    """
    found = {}
    for loop, window, step, gap, start, size in _windows(embedding):
        extents = embedding.extents
        if start >= 0 and start + step * (extents[loop] - 1) + gap * (extents[window] - 1) < size:
            continue
        inside = [_inside(start + step * at, gap, extents[window], size) for at in range(extents[loop])]
        width = prod(schedule.tiles[name] for name in result_loops(embedding) if name != loop)
        tile = schedule.tiles[loop]
        choices = [_regions(window, _tiled(inside, tile))]
        plain = [Region(1, n) for n, _ in _tiled(inside, tile)]
        cut = _regions(window, _cut(inside, tile))
        if loop in linear and _steps(cut, extents[window]) <= _steps(plain, extents[window]):
            choices.append(cut)
        whole = _price(plain, extents[window], width)
        best = min(choices, key=lambda choice: _price(choice, extents[window], width))
        if len(best) <= _MOST and _price(best, extents[window], width) < _GAIN * whole:
            found[loop] = tuple(best)
    return found


def _windows(embedding: Embedding) -> Sequence[tuple[str, str, int, int, int, int]]:
    """Output loop, window loop, their steps, the first position, positions: where an input is read along both."""
    main = embedding.operator.main
    free = set(embedding.outer_dims)
    found: dict[str, tuple[str, str, int, int, int, int]] = {}
    for read in main.reads:
        for index, size in zip(read.index, main.tensor(read.tensor).shape, strict=True):
            results = [dim for dim in index.dims if dim in main.output_dims]
            sums = [dim for dim in index.dims if dim not in main.output_dims]
            if len(results) != 1 or len(sums) != 1 or not {*results, *sums} <= free:
                continue
            step, gap = index.coefficient(results[0]), index.coefficient(sums[0])
            if step > 0 and gap > 0:
                found.setdefault(results[0], (results[0], sums[0], step, gap, index.constant, size))
    windows = [window for _, window, *_ in found.values()]
    return [each for each in found.values() if windows.count(each[1]) == 1]


def _inside(first: int, gap: int, taps: int, size: int) -> range:
    """The taps, `gap` apart from a `first` position on, that lie within `size` positions."""
    start = max(0, -(first // gap)) if first < 0 else 0
    stop = min(taps, max(start, -(-(size - first) // gap)))
    return range(start, stop) if stop > start else range(0)


def _tiled(inside: Sequence[range], tile: int) -> list[tuple[int, range]]:
    """Each tile's iterations, and the taps that any of them needs."""
    return [(len(part), _union(part)) for part in (inside[at : at + tile] for at in range(0, len(inside), tile))]


def _cut(inside: Sequence[range], tile: int) -> list[tuple[int, range]]:
    """The same where tiles start anew wherever the taps change."""
    found: list[tuple[int, range]] = []
    at = 0
    while at < len(inside):
        end = at
        while end < len(inside) and inside[end] == inside[at]:
            end += 1
        count = -(-(end - at) // tile)
        sizes = [tile] * ((end - at) // tile) + ([(end - at) % tile] if (end - at) % tile else [])
        assert len(sizes) == count
        found += [(size, inside[at]) for size in sizes]
        at = end
    return found


def _union(parts: Sequence[range]) -> range:
    real = [part for part in parts if part]
    return range(min(part.start for part in real), max(part.stop for part in real)) if real else range(0)


def _regions(window: str, tiles: Sequence[tuple[int, range]]) -> list[Region]:
    """Neighbouring tiles of one size with the same taps together."""
    found: list[Region] = []
    for size, taps in tiles:
        if found and (found[-1].size, found[-1].taps[window]) == (size, taps):
            found[-1] = Region(found[-1].runs + 1, size, {window: taps})
        else:
            found.append(Region(1, size, {window: taps}))
    return found


def _steps(choice: Sequence[Region], whole: int) -> int:
    """How often words that do not move along the loop are read: where memory is the bound, that is the price."""
    return sum(region.runs * len(next(iter(region.taps.values()), range(whole))) for region in choice)


def _price(choice: Sequence[Region], whole: int, width: int) -> float:
    """Cycles per step of the other sums."""
    taps = [len(next(iter(region.taps.values()), range(whole))) for region in choice]
    steps = [max(_LATENCY, region.size * width / _PER_CYCLE) for region in choice]
    return sum(region.runs * count * step for region, count, step in zip(choice, taps, steps, strict=True))
