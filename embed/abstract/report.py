"""What an abstract program costs: invocations, bytes by memory, cycles by the timing section."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

from dataflow.dtypes import bits
from embed.abstract.homes import clearing
from embed.abstract.placed import Placed
from embed.abstract.traffic import Moved, loaded
from embed.epilogue import Epilogue
from embed.moves import pieces
from embed.nest.schedule import Schedule
from isa.model import Cost, Instruction

Busy = dict[str, Fraction]


@dataclass(frozen=True, slots=True)
class Report:
    """`bytes` are those read from or written to external memory, by the memory on the other side (or `direct`).

    `busy` gives each unit's cycles; without a timing section, `timed` is false and invocations stand for cycles.
    """

    invocations: int
    utilisation: float
    cycles: int
    bytes: Mapping[str, int]
    busy: Mapping[str, int]
    timed: bool

    @property
    def total_bytes(self) -> int:
        return sum(self.bytes.values())


def report(placed: Placed, schedule: Schedule, epilogue: Epilogue) -> Report:
    """The costs of a program, from its schedule alone."""
    ledger, embedding = _Ledger(placed, schedule, epilogue), placed.embedding
    sizes = ledger.bytes()
    if not placed.target.timings:
        return Report(embedding.invocations, embedding.utilisation, embedding.invocations, sizes, {}, False)
    busy = ledger.busy(sum(sizes.values()))
    shown = {unit: ceil(spent) for unit, spent in busy.items()}
    cycles = max(1, ceil(ledger.cycles(busy)))
    return Report(embedding.invocations, embedding.utilisation, cycles, sizes, shown, True)


@dataclass
class _Ledger:
    """The parts of a program's price."""

    placed: Placed
    schedule: Schedule
    epilogue: Epilogue

    def __post_init__(self) -> None:
        self.embedding, self.target = self.placed.embedding, self.placed.target
        self.layouts, self.homes, self.output = self.placed.layouts, self.placed.homes, self.placed.output
        self.moved = {
            tensor: loaded(self.embedding, layout, self.schedule, tensor)
            for tensor, layout in self.layouts.items()
            if tensor != self.output
        }
        self.results = self.layouts[self.output].words
        self.costs = self.target.timing.costs if self.target.timings else {}
        self.bus = self.target.timing.constants.get("bus_bytes", 0) if self.target.timings else 0

    def bytes(self) -> dict[str, int]:
        """Bytes between external memory and each other memory; what instructions access there themselves is direct."""
        found: dict[str, int] = {}
        for tensor, moved in self.moved.items():
            home = self.homes[tensor]
            name = "direct" if home.direct else home.memory
            own = home.direct and tensor in self.embedding.inputs
            times = self.embedding.invocations if own else moved.stored
            found[name] = found.get(name, 0) + times * home.bytes
        home = self.homes[self.output]
        name = "direct" if home.direct else home.memory
        stored = 2 * self.embedding.invocations * home.bytes if home.direct else self.results * self._size(self.output)
        found[name] = found.get(name, 0) + stored
        return found

    def busy(self, size: int) -> Busy:
        """Cycles of every unit, and of the bus that all bytes share."""
        total: Busy = {}
        _add(total, self._own(), self._starts(), self.embedding.invocations)
        for tensor, moved in self.moved.items():
            self._move(total, tensor, moved)
        self._move(total, self.output, Moved(self._tiles(), self.results, self.results), self.epilogue.planes)
        cleared = clearing(self.homes[self.output], self.target)
        if cleared is not None:
            self._passes(total, cleared)
        for step in (*self.epilogue.passes, *self.epilogue.between * (self.epilogue.planes - 1)):
            self._passes(total, self.target.instructions[step.instruction])
        if self.bus:
            total["bus"] = Fraction(size, self.bus)
        return total

    def cycles(self, busy: Busy) -> Fraction:
        """The busiest unit, or the steps that wait for one another; and what stands alone at both ends.

        With two tiles in flight those are the first tile's loads and the last one's store; with one, loads or stores
        wait for the invocations, and these for them.
        """
        loads = {tensor: self._moving(tensor, moved) for tensor, moved in self.moved.items()}
        stores = self._moving(self.output, Moved(self._tiles(), self.results, self.results), self.epilogue.planes)
        steps = max((busy[unit] for unit in self._own().by_unit), default=Fraction(0))
        alone = Fraction(0)
        if self.schedule.buffers == 1:
            steps += sum(loads.values())
        else:
            alone += sum(spent / self.moved[tensor].tiles for tensor, spent in loads.items())
        if self.schedule.result_buffers == 1:
            steps += stores
        else:
            alone += stores / self._tiles()
        return max([steps, *busy.values()]) + alone

    def _moving(self, tensor: str, moved: Moved, times: int = 1) -> Fraction:
        """Cycles of all loads or stores of a tensor: of the bus, or of their unit where those are more."""
        if self.homes[tensor].direct:
            return Fraction(0)
        own: Busy = {}
        self._move(own, tensor, moved, times)
        over = Fraction(moved.stored * self._size(tensor), self.bus) if self.bus else Fraction(0)
        return max([over, *own.values()])

    def _size(self, tensor: str) -> int:
        """Bytes of an operand in external memory; of a result those that the epilogue leaves."""
        if tensor != self.output:
            return self.homes[tensor].bytes
        return self.homes[tensor].operand.tensor.size * bits(self.embedding.operator.output.dtype) // 8

    def _tiles(self) -> int:
        found = 1
        for loop in self.embedding.loops:
            if any(loop.name in dict(axis.loops) for axis in self.layouts[self.output].axes):
                found *= -(-loop.extent // self.schedule.tiles[loop.name])
        return found

    def _own(self) -> Cost:
        """What an invocation costs; a cycle where the file does not say."""
        return self.costs.get(self.embedding.name, Cost("", 0, {"trip": 1}))

    def _starts(self) -> int:
        """Instructions that the invocations take: one for each tile and step of the sums where it loops itself."""
        if not self.target.instructions[self.embedding.name].repeat:
            return self.embedding.invocations
        found = 1
        for loop in self.embedding.loops:
            found *= -(-loop.extent // self.schedule.tiles[loop.name])
        return found

    def _move(self, total: Busy, tensor: str, moved: Moved, times: int = 1) -> None:
        """Loads or stores: an instruction for each row of a tile where it loops itself, else for each piece."""
        home = self.homes[tensor]
        if home.entry not in self.costs:
            return
        entry = self.target.instructions[home.entry]
        trips = moved.operands * pieces(entry, home.operand)
        starts = trips
        if entry.repeat:
            rows = 1
            for axis in self.layouts[tensor].axes[:-2]:
                rows *= max(1, axis.span // max(1, self._cuts(axis.loops)))
            starts = min(trips, moved.tiles * rows)
        _add(total, self.costs[home.entry], starts * times, trips * times)

    def _cuts(self, loops: tuple[tuple[str, int], ...]) -> int:
        extents = {loop.name: loop.extent for loop in self.embedding.loops}
        found = 1
        for loop, _ in loops:
            found *= -(-extents[loop] // self.schedule.tiles[loop])
        return found

    def _passes(self, total: Busy, entry: Instruction) -> None:
        trips = self.results * pieces(entry, self.homes[self.output].operand)
        _add(total, self.costs.get(entry.name), self._tiles() if entry.repeat else trips, trips)


def _add(total: Busy, cost: Cost | None, starts: int, trips: int) -> None:
    if cost is None:
        return
    for unit, share in cost.by_unit.items():
        total[unit] = total.get(unit, Fraction(0)) + share * trips
    if not cost.uops:
        total[cost.unit] = total.get(cost.unit, Fraction(0)) + cost.start * starts


def steady_cycles(entry: Instruction, cost: Cost) -> Fraction:
    """Cycles of one execution of the pattern, many of them in a row: of a trip where the instruction loops itself."""
    return cost.steady if entry.repeat or cost.uops else cost.steady + cost.start
