"""The rewritings of an operator that are searched: those whose new dims find lanes of an instruction to stand in.

First windows and blocks, any number of them, no dim in two; then one dim of the sum in parts; then one dim in two.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, combinations

from dataflow.computation import Computation
from dataflow.operator import Operator
from embed.binding import Binding
from embed.lanes import allowed_dims, useful_radices
from embed.relax.rewritten import Refused, Relaxation, Rewritten
from embed.relax.steps import RELAXATIONS

_PROBE = 2


@dataclass(frozen=True, slots=True)
class _Site:
    """Names that a relaxation applies to, its useful factors, and the lanes that take all points of the largest."""

    kind: Relaxation
    names: tuple[str, ...]
    factors: tuple[int, ...]
    lanes: int


@dataclass(frozen=True)
class Candidates:
    """Rewritings for one instruction and binding by relaxations of `kinds`: steps whose new dims may stand in lanes.

    Factors are those with fewer runs than any smaller one, and no larger than the lane dimensions that take the dims of
    so many points; nor is the product of those of windows and blocks.
    """

    operator: Operator
    pattern: Computation
    binding: Binding
    kinds: Collection[str]

    def __iter__(self) -> Iterator[Rewritten]:
        first = list(self.first())
        yield from first
        yield from chain.from_iterable(map(self.further, first))

    def first(self) -> Iterator[Rewritten]:
        """All but those with a split after other steps."""
        start = Rewritten(self.operator, self.operator)
        yield from self._splits(start)
        yield from self._parts(start)
        placed = list(self._windows_and_blocks(start))
        yield from placed
        yield from chain.from_iterable(map(self._parts, placed))

    def further(self, known: Rewritten) -> Iterator[Rewritten]:
        """One of the first with a dim in two lane dimensions, too: no fewer points, for which no more lanes are."""
        if all(step.kind != "split" for step in known.steps):
            yield from self._splits(known)

    @cached_property
    def _lanes(self) -> dict[str, int]:
        """Lane dimensions of several lanes."""
        return {lane: extent for lane, extent in self.pattern.extents.items() if extent > 1}

    def _homes(self, main: Computation) -> dict[str, list[int]]:
        """For each dim the lanes of the lane dimensions that it may stand in."""
        takes = {lane: allowed_dims(main, self.pattern, self.binding, lane) for lane in self._lanes}
        return {dim: [self._lanes[lane] for lane in self._lanes if dim in takes[lane]] for dim in main.extents}

    def _windows_and_blocks(self, start: Rewritten) -> Iterator[Rewritten]:
        names = [name for name in ("toeplitz", "blocks") if name in self.kinds]
        sites = [site for name in names for site in self._sites(start, RELAXATIONS[name])]
        for count in range(1, len(sites) + 1):
            for chosen in combinations(sites, count):
                dims = [dim for site in chosen for dim in site.names[: site.kind.dims]]
                if len(set(dims)) == len(dims):
                    yield from _combined(start, chosen, max(site.lanes for site in chosen))

    def _parts(self, known: Rewritten) -> Iterator[Rewritten]:
        """One dim of the user's sum in parts."""
        if "sums" in self.kinds:
            for site in self._sites(known, RELAXATIONS["sums"]):
                if site.names[0] in known.user.main.extents:
                    yield from _combined(known, [site], site.lanes)

    def _sites(self, known: Rewritten, kind: Relaxation) -> Iterator[_Site]:
        """Where a relaxation applies and its dims find lanes."""
        main = known.operator.main
        for names in kind.sites(main):
            try:
                probe = kind.apply(known, names, _PROBE)
            except Refused:
                continue
            placed = probe.operator.main
            homes = self._homes(placed)
            if all(homes[dim] for dim in probe.held):
                new = [dim for dim in probe.held if dim not in known.held and placed.extents[dim] == _PROBE]
                most = min(max(homes[dim]) for dim in new)
                yield _Site(kind, names, useful_radices(main.extents[names[0]], most), most)

    def _splits(self, known: Rewritten) -> Iterator[Rewritten]:
        """One dim in two: each part in a lane dimension, or, of the plain operator, lanes along a window apart."""
        main = known.operator.main
        for dim, homes in self._homes(main).items() if "split" in self.kinds else ():
            extent = main.extents[dim]
            useful = useful_radices(extent, max(homes, default=1))
            factors = set(useful) if len(homes) > 1 else set()
            if not known.steps and _slides(main, dim):
                factors |= {-(-extent // count) for count in useful}
            for factor in sorted(factors - {1, extent}):
                try:
                    yield RELAXATIONS["split"].apply(known, (dim,), factor)
                except Refused:
                    continue


def _combined(known: Rewritten, sites: Sequence[_Site], room: int) -> Iterator[Rewritten]:
    """The sites one after the other with all factors whose product is at most `room`."""
    if not sites:
        yield known
        return
    site, rest = sites[0], sites[1:]
    for factor in site.factors:
        if factor * _PROBE ** len(rest) > room:
            return
        try:
            found = site.kind.apply(known, site.names, factor)
        except Refused:
            continue
        yield from _combined(found, rest, room // factor)


def _slides(main: Computation, dim: str) -> bool:
    """Whether an input's index moves along another dim too."""
    return any(index.coefficient(dim) and len(index.dims) > 1 for read in main.reads for index in read.index)
