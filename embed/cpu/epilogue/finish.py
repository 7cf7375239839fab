"""An epilogue as code: each accumulator through the plan's steps in registers, then to memory.

Accumulators go in order. What several of them need (numbers, words of other tensors) stays in the registers that are
free, and is loaded again where they are too few.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from embed.cpu.arrays.streams import Stream
from embed.cpu.assembler.program import Filled, Run, Slots
from embed.cpu.epilogue.select import SUMS, Plan, Step
from embed.errors import NoEmbedding
from isa.machine import MachineInstruction

_MOST_SPARE = 16

Point = tuple[int, ...]
Key = tuple[object, ...]


class Word(NamedTuple):
    """A word in memory: the pointer register, the bytes from there, and whether its last lanes are idle."""

    base: int
    disp: int
    masked: bool


@dataclass(frozen=True)
class Finish:
    """A plan, the streams of its accesses, and the fields of its entries."""

    plan: Plan
    extras: Mapping[str, Stream]
    slots: Mapping[str, Slots]


def spare_registers(plan: Plan) -> int:
    """The fewest registers besides the accumulators with which a plan can be carried out."""
    if not plan.steps:
        return 0
    slots = dict.fromkeys((*plan.moves, ""), Slots("", "register", "base", "disp", "mask"))
    places: dict[Point, Word] = {(at,): Word(2, at, False) for at in range(2)}
    words = {"": places, **{step.access: places for step in plan.steps}}
    for spare in range(_MOST_SPARE):
        drain = Drain(Finish(plan, {}, slots), {(0,): 0, (1,): 1}, 2 + spare, 0, words, Word(1, 0, False))
        try:
            drain.run()
        except NoEmbedding:
            continue
        return spare
    raise NoEmbedding(f"the epilogue needs more than {_MOST_SPARE} registers at once")


@dataclass
class Drain:
    """Emits what becomes of a tile's accumulators; `words` holds the words of each access, "" for the output."""

    finish: Finish
    accumulators: Mapping[Point, int]
    registers: int
    mask: int
    words: Mapping[str, Mapping[Point, Word]]
    literals: Word
    items: list[MachineInstruction | Filled] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.plan = self.finish.plan
        used = set(self.accumulators.values())
        self.free = [register for register in reversed(range(self.registers)) if register not in used]
        self.shared: dict[Key, int] = {}
        self.pinned: set[int] = set()
        self.uses = [0] * (len(self.plan.steps) + 1)
        for step in self.plan.steps:
            for _, source in step.sources:
                self.uses[source] += 1
        self.uses[self.plan.result] += 1
        self.depends = self._depends()

    def _depends(self) -> list[bool]:
        """Whether each value comes from the accumulator."""
        found = [True]
        for step in self.plan.steps:
            found.append(any(found[source] for _, source in step.sources))
        return found

    def run(self) -> Run:
        if not self.plan.steps:
            for point, place in self.words[""].items():
                self.store(self.accumulators[point], place)
            return self.items
        for point, register in self.accumulators.items():
            self.word(point, register)
        return self.items

    def word(self, point: Point, register: int) -> None:
        """One accumulator to memory."""
        left = list(self.uses)
        own = {SUMS: register}
        for number, depends in enumerate(self.depends):
            if number != SUMS and depends:
                self.step(number, point, own, left)
        self.store(self.fetch(self.plan.result, point, own), self.words[""][point])
        self.pinned.clear()
        self.release(self.plan.result, own, left)

    def store(self, register: int, place: Word) -> None:
        self.emit(self.plan.store_masked if place.masked else self.plan.store, register, place)

    def step(self, number: int, point: Point, own: dict[int, int], left: list[int]) -> None:
        step = self.plan.steps[number - 1]
        fields: dict[str, int] = dict(step.numbers)
        for operand, source in step.sources:
            fields[operand] = self.fetch(source, point, own)
            self.pinned.add(fields[operand])
        self.pinned.clear()
        for _, source in step.sources:
            self.release(source, own, left)
        own[number] = self.register()
        self.items.append(MachineInstruction(step.instruction, {step.output: own[number], **fields}))

    def release(self, number: int, own: dict[int, int], left: list[int]) -> None:
        """One use less of a value; the last one frees the register of what came from the accumulator."""
        left[number] -= 1
        if self.depends[number] and not left[number]:
            self.free.append(own[number])

    def fetch(self, number: int, point: Point, own: Mapping[int, int]) -> int:
        """The register of a value; made now where it does not come from the accumulator and is not at hand."""
        if self.depends[number]:
            return own[number]
        key = self.key(number, point)
        if key in self.shared:
            self.shared[key] = self.shared.pop(key)
            return self.shared[key]
        step = self.plan.steps[number - 1]
        fields: dict[str, int] = dict(step.numbers)
        for operand, source in step.sources:
            fields[operand] = self.fetch(source, point, own)
            self.pinned.add(fields[operand])
        register = self.register()
        if step.memory:
            place = self.place(step, point)
            self.emit(step.masked if place.masked else step.instruction, register, place)
        else:
            self.items.append(MachineInstruction(step.instruction, {step.output: register, **fields}))
        self.pinned.add(register)
        self.shared[key] = register
        return register

    def key(self, number: int, point: Point) -> Key:
        """What tells a value apart from those of the same step at other points."""
        step = self.plan.steps[number - 1]
        place = (self.place(step, point),) if step.memory else ()
        return (number, *place, *(self.key(source, point) for _, source in step.sources))

    def place(self, step: Step, point: Point) -> Word:
        if step.access:
            return self.words[step.access][point]
        before = sum(array.nbytes for array in self.plan.literals[: step.literal])
        return Word(self.literals.base, self.literals.disp + before, False)

    def register(self) -> int:
        """A free register, or one of a value that can be made again, the one used longest ago."""
        if self.free:
            return self.free.pop()
        for key, register in self.shared.items():
            if register not in self.pinned:
                del self.shared[key]
                return register
        raise NoEmbedding("the epilogue needs more registers than the accumulators leave: make the tile smaller")

    def emit(self, name: str, register: int, place: Word) -> None:
        """A move between a register and memory."""
        slots = self.finish.slots[name]
        if place.masked:
            self.items.append((slots.masked, register, place.base, place.disp, self.mask))
        else:
            self.items.append((slots.fields, register, place.base, place.disp))
