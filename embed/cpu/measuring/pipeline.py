"""Cycles of straight-line code on a pipelined core: what its units, its width and its chains of results allow.

A core that issues in program order is walked instruction by instruction; for one that reorders, the largest of the
bounds counts, as if its window had no end. Caches, branch misses and page walks are not in it.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from embed.cpu.choosing.units import held, unit_sets
from isa.model import Cost, Timing

_PASSES = 8
"""Passes of a loop that are walked; the second half of them gives its pace."""

Register = tuple[str, int]
"""A register: its memory's name and its number."""


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction: its cost, and the registers it reads, adds to (which it needs late) and writes."""

    cost: Cost
    reads: tuple[Register, ...] = ()
    sums: tuple[Register, ...] = ()
    writes: tuple[Register, ...] = ()


def cycles(steps: Sequence[Step], core: Timing, repeated: bool) -> float:
    """Cycles of one pass; of a loop's body, which is `repeated`, at the pace that it settles at."""
    if core.constants.get("window") == 0:
        return _pace(_in_order(steps, core), repeated)
    bounds = [
        _busiest(steps),
        len(steps) / core.constants.get("decode", len(steps)) if steps else 0.0,
        sum(_uops(step) for step in steps) / core.constants.get("dispatch", float("inf")),
    ]
    return max(*bounds, _pace(_chained(steps), repeated=True) if repeated else 0.0)


def _pace(ends: Iterator[int], repeated: bool) -> float:
    """Cycles of the first pass, or of a later one, from the cycle in which each pass ends."""
    if not repeated:
        return float(next(ends))
    found = [end for _, end in zip(range(_PASSES), ends, strict=False)]
    half = _PASSES // 2
    return (found[-1] - found[half - 1]) / half


def _uops(step: Step) -> int:
    return sum(uop.count for uop in step.cost.uops)


def _busiest(steps: Sequence[Step]) -> float:
    """Cycles for which the busiest units are busy."""
    sets = unit_sets(step.cost for step in steps)
    return max((sum(held(step.cost, units) for step in steps) / len(units) for units in sets), default=0.0)


class _Ready:
    """The cycle in which each register can be read, and the one in which it can be added to."""

    def __init__(self) -> None:
        self._read: dict[Register, int] = {}
        self._sum: dict[Register, int] = {}

    def start(self, step: Step) -> int:
        """When its inputs are there."""
        found = (self._read.get(register, 0) for register in step.reads)
        return max(*found, *(self._sum.get(register, 0) for register in step.sums), 0, 0)

    def write(self, step: Step, start: int) -> None:
        for register in step.writes:
            self._read[register] = start + step.cost.latency
            self._sum[register] = start + (step.cost.accumulate if step.sums else step.cost.latency)


def _chained(steps: Sequence[Step]) -> Iterator[int]:
    """The end of each pass where every step starts as soon as its inputs are there."""
    ready, end = _Ready(), 0
    while True:
        for step in steps:
            start = ready.start(step)
            ready.write(step, start)
            end = max(end, start)
        yield end


def _in_order(steps: Sequence[Step], core: Timing) -> Iterator[int]:
    """The end of each pass where no step starts before the one above it, nor before its units are free."""
    ready, free, now = _Ready(), dict.fromkeys(core.units, 0), 0
    while True:
        for step in steps:
            start = max(now, ready.start(step))
            taken = _taken(step, free, start)
            now = max(start, *(free[unit] for unit in taken), 0)
            free.update({unit: now + busy for unit, busy in taken.items()})
            ready.write(step, now)
        yield max(free.values())


def _taken(step: Step, free: dict[str, int], start: int) -> dict[str, int]:
    """The units that a step takes, each for how many cycles: of those it can go to, the ones that are free first."""
    taken: Counter[str] = Counter()
    for uop in step.cost.uops:
        for _ in range(uop.count):
            unit = min(uop.units, key=lambda unit: max(free[unit], start) + taken[unit])
            taken[unit] += step.cost.cycles
    return taken
