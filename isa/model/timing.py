"""What instructions cost on a core."""

from dataclasses import dataclass
from fractions import Fraction

from isa.errors import IsaError, listing


@dataclass(frozen=True, slots=True)
class MicroOperations:
    """`count` equal micro-operations, each of which goes to one of `units`."""

    count: int
    units: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Cost:
    """Cycles of one instruction.

    On a machine that runs one after another on each unit: `start`, and more per thing of `per` (`trip`, `element`,
    `beat`, ...). On a pipelined core: the `uops` it is made of, each of which holds its unit for `cycles`, and the
    `latency` until its output can be used, `accumulate` until it can be used as what is added to.
    """

    unit: str
    start: int
    per: dict[str, int]
    uops: tuple[MicroOperations, ...] = ()
    latency: int = 0
    cycles: int = 1
    accumulate: int = 0

    @property
    def trip(self) -> int:
        """Cycles for each trip of the repeat loops; on a pipelined core, for which it holds a unit."""
        return self.cycles if self.uops else self.per.get("trip", 0)

    @property
    def by_unit(self) -> dict[str, Fraction]:
        """Cycles of each trip by unit; a micro-operation is spread evenly over those it can go to."""
        if not self.uops:
            return {self.unit: Fraction(self.trip)}
        found: dict[str, Fraction] = {}
        for part in self.uops:
            for unit in part.units:
                found[unit] = found.get(unit, Fraction(0)) + Fraction(part.count * self.cycles, len(part.units))
        return found

    @property
    def steady(self) -> Fraction:
        """Cycles of each trip of many in a row, by the busiest unit."""
        return max(self.by_unit.values(), default=Fraction(0))


@dataclass(frozen=True, slots=True)
class Timing:
    """One core: where the numbers come from, its constants, the cost of instructions by name, its execution units."""

    name: str
    source: tuple[str, ...]
    constants: dict[str, int]
    costs: dict[str, Cost]
    doc: str = ""
    units: tuple[str, ...] = ()

    def __getitem__(self, constant: str) -> int:
        if constant not in self.constants:
            raise IsaError(f"[timing.{self.name}] has no '{constant}'; it has {listing(self.constants)}")
        return self.constants[constant]
