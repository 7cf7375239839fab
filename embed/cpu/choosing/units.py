"""How long micro-operations hold execution units at least, however they are spread over the units they can go to.

By Hall's theorem that is the largest, over all sets of units, of the work that has to go there over the set's size.
"""

from collections.abc import Iterable
from itertools import combinations

from isa.model import Cost


def unit_sets(costs: Iterable[Cost]) -> list[frozenset[str]]:
    """The sets that can be the busiest: every union of the sets that some micro-operation can go to."""
    sets = list(dict.fromkeys(frozenset(uop.units) for cost in costs for uop in cost.uops))
    unions = {frozenset[str]().union(*some) for count in range(1, len(sets) + 1) for some in combinations(sets, count)}
    return sorted(unions, key=sorted)


def held(cost: Cost, units: frozenset[str]) -> int:
    """Cycles for which an instruction's micro-operations hold units of a set that they cannot leave."""
    return sum(uop.count * cost.cycles for uop in cost.uops if units.issuperset(uop.units))
