"""Rewritings of an operator that may let an instruction do more: those whose new dims find lanes to stand in."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

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


def candidates(
    operator: Operator, pattern: Computation, binding: Binding, kinds: Collection[str]
) -> Iterator[Rewritten]:
    """Every rewriting by relaxations of `kinds` whose held dims may all stand in lanes of the pattern.

    Windows and blocks combine, each dim once; a split and partial sums come alone. Factors are those with fewer runs
    than any smaller one, and no larger than the lane dimensions that take the dims of so many points; nor is their
    product.
    """
    start = Rewritten(operator, operator)
    if "split" in kinds:
        yield from _splits(start, pattern, binding)
    if "sums" in kinds:
        for site in _sites(start, RELAXATIONS["sums"], pattern, binding):
            yield from _combined(start, [site], site.lanes)
    names = [name for name in ("toeplitz", "blocks") if name in kinds]
    sites = [site for name in names for site in _sites(start, RELAXATIONS[name], pattern, binding)]
    for count in range(1, len(sites) + 1):
        for chosen in combinations(sites, count):
            if len({site.names[0] for site in chosen}) == count:
                yield from _combined(start, chosen, max(site.lanes for site in chosen))


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


def _sites(known: Rewritten, kind: Relaxation, pattern: Computation, binding: Binding) -> Iterator[_Site]:
    """Where a relaxation applies and its dims find lanes."""
    main = known.operator.main
    for names in kind.sites(main):
        try:
            probe = kind.apply(known, names, _PROBE)
        except Refused:
            continue
        placed = probe.operator.main
        lanes = {dim: _lanes(placed, pattern, binding, dim) for dim in probe.held}
        if all(lanes.values()):
            most = min(max(found.values()) for dim, found in lanes.items() if placed.extents[dim] == _PROBE)
            yield _Site(kind, names, useful_radices(main.extents[names[0]], most), most)


def _splits(known: Rewritten, pattern: Computation, binding: Binding) -> Iterator[Rewritten]:
    """Dims in two: the outer part in lanes where a window stays a loop, or each part in a lane dimension of its own."""
    main = known.operator.main
    for (dim,) in RELAXATIONS["split"].sites(main):
        lanes = _lanes(main, pattern, binding, dim)
        extent = main.extents[dim]
        factors: set[int] = set()
        if lanes and _slides(main, dim):
            factors |= {-(-extent // count) for count in useful_radices(extent, max(lanes.values()))}
        if len(lanes) > 1:
            factors |= set(useful_radices(extent, max(lanes.values())))
        for factor in sorted(factors - {1, extent}):
            try:
                yield RELAXATIONS["split"].apply(known, (dim,), factor)
            except Refused:
                continue


def _slides(main: Computation, dim: str) -> bool:
    """Whether an input's index moves along another dim too."""
    return any(index.coefficient(dim) and len(index.dims) > 1 for read in main.reads for index in read.index)


def _lanes(main: Computation, pattern: Computation, binding: Binding, dim: str) -> Mapping[str, int]:
    """The lane dimensions of several lanes that a dim may stand in."""
    return {
        lane: extent
        for lane, extent in pattern.extents.items()
        if extent > 1 and dim in allowed_dims(main, pattern, binding, lane)
    }
