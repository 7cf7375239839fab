"""One core as the model knows it, from the first timing section of an ISA file: its units, its latency, its caches."""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import le, mul

from embed.cpu.choosing.units import held, unit_sets
from embed.cpu.lowering.roles import Roles
from isa.memo import remembered
from isa.model import Cost, Isa, MicroOperations

_UNKNOWN = Cost("", 0, {}, (MicroOperations(1, ("any0", "any1")),), 4)
"""An instruction that no timing section knows: two a cycle."""

_DISPATCH = 4
_LEVELS = ("l1", "l2", "l3")
_READS = {"l2": 32, "l3": 16, "memory": 6}
"""Bytes a cycle of cores that do not say."""

_USABLE = 0.75
"""The part of a cache that holds what is to be used again: lines of other data and uneven sets take the rest."""


@dataclass(frozen=True, slots=True)
class Units:
    """Cycles that counts of some instructions need at least: each row has a share for each instruction."""

    rows: tuple[tuple[float, ...], ...]

    def cycles(self, counts: Sequence[float]) -> float:
        """The busiest set of units."""
        return float(max([sum(map(mul, row, counts)) for row in self.rows]))


@dataclass(frozen=True, slots=True)
class Machine:
    """One core: its units for (compute, load, spread), and how long a compute waits for the one before on a register.

    `end` is what storing a result and clearing its register take; `caches` have bytes, and the rate of the next level.
    """

    units: Units
    latency: float
    end: float
    caches: tuple[tuple[float, float], ...]


def machine(target: Isa, roles: Roles) -> Machine:
    """The core of an ISA's first timing section."""
    return _machine(target, roles.compute, roles.load, roles.spread, roles.store, roles.zero)


@remembered
def _machine(target: Isa, *names: str) -> Machine:
    timing = next(iter(target.timings.values()), None)
    costs, constants = (timing.costs, timing.constants) if timing else ({}, {})
    used = [costs.get(name, _UNKNOWN) for name in names]
    dispatch = constants.get("decode") or constants.get("dispatch") or _DISPATCH
    rate = {level: float(constants.get(f"{level}_read", known)) for level, known in _READS.items()}
    caches = []
    for level, beyond in zip(_LEVELS, (*_LEVELS[1:], "memory"), strict=True):
        if f"{level}_bytes" in constants:
            caches.append((constants[f"{level}_bytes"] * _USABLE, rate[beyond]))
    steps, ends = Units(_rows(used[:3], dispatch)), Units(_rows(used[3:], dispatch))
    return Machine(steps, used[0].accumulate or used[0].latency, ends.cycles([1, 1]), tuple(caches))


def _rows(costs: Sequence[Cost], dispatch: int) -> tuple[tuple[float, ...], ...]:
    """A row for each set of units that can be the busiest, and one for the dispatch."""
    rows = [tuple(held(cost, units) / len(units) for cost in costs) for units in unit_sets(costs)]
    rows.append(tuple(sum(uop.count for uop in cost.uops) / dispatch for cost in costs))
    return tuple(row for row in dict.fromkeys(rows) if not any(row != o and all(map(le, row, o)) for o in rows))


@remembered
def invocation_cycles(target: Isa, name: str) -> float:
    """Cycles that one of many invocations of an instruction takes at least."""
    timing = next(iter(target.timings.values()), None)
    cost = timing.costs.get(name, _UNKNOWN) if timing else _UNKNOWN
    return Units(_rows([cost], _DISPATCH)).cycles([1])
