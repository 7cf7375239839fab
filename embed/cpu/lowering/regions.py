"""Rows and columns of the output whose windows reach outside the input: what is summed there is less.

A tap that reads padding adds nothing, so that the sums over the window are narrowed to the taps that lie inside, for
each region of a loop over output rows or columns; the regions at the borders get code of their own.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from math import prod
from operator import itemgetter

from dataflow.affine import Affine
from dataflow.expression import Read
from embed.embedding import Embedding
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


Regions = Mapping[str, tuple[Region, ...]]
"""The regions of some loops over results, by loop."""


@dataclass(frozen=True)
class _Window:
    """Taps `gap` apart over `positions` of an input; at iteration 0 of the output's loop the first is at `start`."""

    loop: str
    window: str
    step: int
    gap: int
    start: int
    positions: int
    extent: int
    taps: int

    @cached_property
    def whole(self) -> range:
        """The iterations all of whose taps lie inside."""
        first = min(self.extent, max(0, -(self.start // self.step)))
        last = (self.positions - 1 - self.gap * (self.taps - 1) - self.start) // self.step
        return range(first, max(first, min(self.extent, last + 1)))

    def inside(self, at: int) -> range:
        """The taps of an iteration that lie inside."""
        first = self.start + self.step * at
        begin = max(0, -(first // self.gap))
        end = min(self.taps, -(-(self.positions - first) // self.gap))
        return range(begin, end) if end > begin else range(0)

    def union(self, iterations: range) -> range:
        """The taps from the first to the last that some iteration needs: both come earlier as iterations go on."""
        real = [taps for taps in map(self.inside, iterations) if taps]
        return range(real[-1].start, real[0].stop) if real else range(0)

    def evenly(self, count: int, tile: int, taps: range) -> list[Region]:
        """Regions of so many iterations in tiles, the last of which may be shorter."""
        full, rest = divmod(count, tile)
        return [Region(runs, size, {self.window: taps}) for runs, size in ((full, tile), (1, rest)) if runs and size]


def regions(embedding: Embedding, schedule: Schedule, linear: Collection[str]) -> Regions:
    """The regions of each loop over a result that is worth cutting.

    Tiles keep their places unless a loop is in `linear`: every tensor then moves alike from iteration to iteration. A
    loop in blocks stays whole.
    """
    found = {}
    blocks = schedule.block or ("", 0)
    for each in _windows(embedding):
        if each.whole == range(each.extent) or each.loop == blocks[0]:
            continue
        width = prod([schedule.tiles[name] for name in embedding.result_loops if name != each.loop])
        tile = schedule.tiles[each.loop]
        plain = each.evenly(each.extent, tile, range(each.taps))
        choices = [_tiled(each, tile)]
        if each.loop in linear:
            choices += [cut for cut in [_cut(each, tile)] if _steps(cut) <= _steps(plain)]
        best = min(choices, key=lambda choice: _price(choice, width))
        if len(best) <= _MOST and _price(best, width) < _GAIN * _price(plain, width):
            found[each.loop] = tuple(best)
    return found


def inside(embedding: Embedding, cut: Regions, read: Read, shape: Sequence[int]) -> frozenset[int]:
    """The dimensions of a tensor beyond which no tap is read that regions leave."""
    found = []
    for number, (index, size) in enumerate(zip(read.index, shape, strict=True)):
        window = _window(embedding, index, size)
        if window is not None and window.loop in cut and _stays(window, cut[window.loop]):
            found.append(number)
    return frozenset(found)


def _stays(window: _Window, regions: Sequence[Region]) -> bool:
    """Whether all taps lie inside: taps of a later iteration that do so begin and end earlier."""
    at = 0
    for region in regions:
        if window.window not in region.taps:
            return False
        taps, last = region.taps[window.window], at + region.runs * region.size - 1
        ends = [window.inside(at), window.inside(last)]
        if taps and not all(real and real.start <= taps.start and taps.stop <= real.stop for real in ends):
            return False
        at = last + 1
    return True


def _windows(embedding: Embedding) -> Sequence[_Window]:
    """Where inputs are read along a loop of the output and a window's."""
    main = embedding.operator.main
    found: dict[str, _Window] = {}
    for read in main.reads:
        for index, size in zip(read.index, main.tensor(read.tensor).shape, strict=True):
            window = _window(embedding, index, size)
            if window is not None:
                found.setdefault(window.loop, window)
    windows = [each.window for each in found.values()]
    return [each for each in found.values() if windows.count(each.window) == 1]


def _window(embedding: Embedding, index: Affine, size: int) -> _Window | None:
    """The window along one dimension of a tensor, if an index into it is one whose dims are loops."""
    main = embedding.operator.main
    if len(index.terms) != 2 or not set(embedding.outer_dims).issuperset(index.dims):
        return None
    (result, step), (window, gap) = sorted(index.terms, key=lambda term: term[0] not in main.output_dims)
    if result not in main.output_dims or window in main.output_dims or step <= 0 or gap <= 0:
        return None
    return _Window(result, window, step, gap, index.constant, size, main.extents[result], main.extents[window])


def _tiled(window: _Window, tile: int) -> list[Region]:
    """Tiles in their places, each with the taps that any of its iterations needs."""
    count, whole = -(-window.extent // tile), window.whole
    first = min(count, -(-whole.start // tile))
    last = max(first, whole.stop // tile)
    spans = [range(at * tile, min(window.extent, at * tile + tile)) for at in (*range(first), *range(last, count))]
    found = [region for span in spans for region in window.evenly(len(span), len(span), window.union(span))]
    return _merged([*found[:first], *window.evenly((last - first) * tile, tile, range(window.taps)), *found[first:]])


def _cut(window: _Window, tile: int) -> list[Region]:
    """The same where tiles start anew wherever the taps change."""
    whole = window.whole
    borders = range(whole.start), range(whole.stop, window.extent)
    before, after = ([(window.inside(at), 1) for at in border] for border in borders)
    parts = groupby([*before, *([(range(window.taps), len(whole))] if whole else []), *after], key=itemgetter(0))
    return [region for taps, same in parts for region in window.evenly(sum(n for _, n in same), tile, taps)]


def _merged(regions: Sequence[Region]) -> list[Region]:
    """Neighbouring tiles of one size with the same taps together."""
    alike = groupby(regions, key=lambda region: (region.size, region.taps))
    return [Region(sum(region.runs for region in same), size, taps) for (size, taps), same in alike]


def _steps(choice: Sequence[Region]) -> int:
    """How often words that do not move along the loop are read: where memory is the bound, that is the price."""
    return sum([region.runs * len(taps) for region in choice for taps in region.taps.values()])


def _price(choice: Sequence[Region], width: int) -> float:
    """Cycles per step of the other sums."""
    cycles = 0.0
    for region in choice:
        taps = sum([len(taps) for taps in region.taps.values()])
        cycles += region.runs * taps * max(_LATENCY, region.size * width / _PER_CYCLE)
    return cycles
