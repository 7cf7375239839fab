"""How often each instruction of a kernel runs: exact, from the loops' trips, without running anything.

A loop's body counts once and is multiplied by its trips; what steers branches are constants and the range of tiles.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from embed.cpu.assembler import control
from embed.cpu.assembler.control import Item
from embed.cpu.kernel import CpuKernel
from embed.embedding import as_accumulation
from isa.errors import IsaError
from isa.machine import MachineInstruction
from isa.model import Instruction, Isa

_BEGIN, _END = 1, 2
_BRANCHES = control.Branch | control.BranchIfLess | control.BranchIfZero | control.Loop
CONTROL = ""
"""The name under which pointer arithmetic, branches and the way in and out are counted."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Instructions executed in one call of a kernel over all its tiles; `hot` are those in innermost loops.

    `executed` and `hot` are by entry, CONTROL for the rest. A load is one instruction, however many words it reads.
    """

    executed: Counter[str]
    hot: Counter[str]
    computing: frozenset[str]
    loading: frozenset[str]

    @property
    def instructions(self) -> int:
        return self.executed.total()

    @property
    def multiply_accumulates(self) -> int:
        return _of(self.executed, self.computing)

    @property
    def loads(self) -> int:
        return _of(self.executed, self.loading)

    @property
    def hot_instructions(self) -> int:
        return self.hot.total()

    @property
    def hot_multiply_accumulates(self) -> int:
        return _of(self.hot, self.computing)

    @property
    def hot_loads(self) -> int:
        return _of(self.hot, self.loading)

    @property
    def hot_share(self) -> float:
        """Multiply-accumulates among the instructions of innermost loops; 0 where there are no loops."""
        return self.hot_multiply_accumulates / max(1, self.hot_instructions)


def count(kernel: CpuKernel) -> Counts:
    """What one call executes, all tiles in one go; raises IsaError where a branch depends on what is in memory.

    A multiply-accumulate that is a sequence counts by the first of its instructions.
    """
    target = kernel.target
    found = trips(kernel)
    executed, hot = _named(kernel, found.executed), _named(kernel, found.hot)
    entries = [target.instructions[name] for name in executed if name != CONTROL]
    first = {part.entry for part in target.instructions[kernel.embedding.name].sequence[:1]}
    computing = frozenset(entry.name for entry in entries if _accumulates(entry) or entry.name in first)
    loading = frozenset(entry.name for entry in entries if _loads(entry, target))
    return Counts(executed, hot, computing, loading)


@dataclass(frozen=True, slots=True)
class Trips:
    """How often each item of a program runs, by its place, and how often in innermost loops."""

    executed: Counter[int]
    hot: Counter[int]


def trips(kernel: CpuKernel) -> Trips:
    """How often one call runs each item, all tiles in one go; raises IsaError as `count` does."""
    walk = _Walk(kernel.items)
    walk.registers |= {_BEGIN: 0, _END: kernel.tiles}
    return Trips(walk.run(0, len(kernel.items)), walk.hot)


def _named(kernel: CpuKernel, trips: Counter[int]) -> Counter[str]:
    """Instructions by entry: the last of an item is the entry itself, those before make its address."""
    found: Counter[str] = Counter()
    for at, times in trips.items():
        item, size = kernel.items[at], kernel.sizes[at]
        if isinstance(item, MachineInstruction):
            found[item.name] += times
            size -= 1
        if size:
            found[CONTROL] += size * times
    return found


def _of(counts: Counter[str], names: frozenset[str]) -> int:
    return sum(counts[name] for name in names)


def _accumulates(entry: Instruction) -> bool:
    return entry.pattern is not None and as_accumulation(entry.pattern).accumulate


def _loads(entry: Instruction, target: Isa) -> bool:
    """Whether an entry does nothing but read memory: a multiply-accumulate with a memory operand is none."""
    memories = [target.memories[operand.memory] for operand in entry.inputs if operand.memory in target.memories]
    return not _accumulates(entry) and any(memory.kind == "external" for memory in memories)


@dataclass
class _Walk:
    """Follows the program; `registers` holds the pointer registers whose value is known."""

    items: Sequence[Item]
    registers: dict[int, int] = field(default_factory=dict)
    hot: Counter[int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.labels = {item.name: at for at, item in enumerate(self.items) if isinstance(item, control.Label)}
        branches = [(at, self.labels[item.label]) for at, item in enumerate(self.items) if isinstance(item, _BRANCHES)]
        self.ends = {to: at for at, to in branches if to < at}
        self.forward = [at for at, to in branches if to > at]

    def run(self, at: int, stop: int) -> Counter[int]:
        """Execute from one item up to another."""
        found: Counter[int] = Counter()
        while at < stop:
            item = self.items[at]
            if at in self.ends:
                found.update(self.loop(at, self.ends[at]))
                at = self.ends[at] + 1
                continue
            found[at] += 1
            if isinstance(item, control.Return):
                break
            at = self.labels[item.label] if isinstance(item, _BRANCHES) and self.taken(item) else at + 1
            self.step(item)
        return found

    def loop(self, head: int, end: int) -> Counter[int]:
        """All trips of the loop between a label and the branch back to it."""
        found: Counter[int] = Counter()
        steady = not any(head < at < end for at in self.forward)
        innermost = not any(head < at < end for at in self.ends)
        outer, self.hot = self.hot, Counter()
        trips = 1
        while trips:
            before = dict(self.registers)
            body = self.run(head + 1, end)
            body[end] += 1
            trips = self.trips_left(self.items[end], before)
            times = 1 + trips if steady else 1
            found.update({place: number * times for place, number in body.items()})
            outer.update({place: number * times for place, number in (body if innermost else self.hot).items()})
            self.hot.clear()
            if steady:
                self.finish(self.items[end], before, trips)
                break
        self.hot = outer
        return found

    def trips_left(self, last: Item, before: Mapping[int, int]) -> int:
        """Trips to come after the one that started with the registers `before`; a Loop's counter is decremented."""
        match last:
            case control.Loop(counter, _):
                self.registers[counter] = self.known(counter) - 1
                return self.registers[counter]
            case control.BranchIfLess(index, limit, _):
                step = self.known(index) - before.get(index, 0)
                return max(0, -((self.known(index) - self.known(limit)) // step)) if step > 0 else 0
        raise IsaError(f"a loop ends with {last}")

    def finish(self, last: Item, before: Mapping[int, int], trips: int) -> None:
        """What the trips to come do to the registers; of those that a trip changes, only the loop's own stays known."""
        moved = {number for number, value in self.registers.items() if before.get(number) != value}
        match last:
            case control.Loop(counter, _):
                own, value = counter, 0
            case control.BranchIfLess(index, _, _):
                own, value = index, self.known(index) + trips * (self.known(index) - before[index])
        for number in moved:
            del self.registers[number]
        self.registers[own] = value

    def taken(self, item: Item) -> bool:
        match item:
            case control.BranchIfLess(left, right, _):
                return self.known(left) < self.known(right)
            case control.BranchIfZero(register, _):
                return self.known(register) == 0
        return isinstance(item, control.Branch)

    def known(self, number: int) -> int:
        if number not in self.registers:
            raise IsaError(f"pointer register {number} decides a branch, and its value is not known")
        return self.registers[number]

    def step(self, item: Item) -> None:
        """What an item leaves in pointer registers."""
        known = self.registers
        match item:
            case control.SetImmediate(dst, value):
                known[dst] = value
            case control.Move(dst, src) | control.AddImmediate(dst, src) if src not in known:
                known.pop(dst, None)
            case control.Move(dst, src):
                known[dst] = known[src]
            case control.AddImmediate(dst, src, value):
                known[dst] = known[src] + value
            case control.MultiplyImmediate(dst) | control.Multiply(dst) | control.Add(dst):
                known.pop(dst, None)
            case control.LoadPointer(dst) | control.LoadWord(dst) | control.SetMask(_, _, dst):
                known.pop(dst, None)
