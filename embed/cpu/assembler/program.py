"""What programs are lowered to: items, and vector instructions in short, alone, in a row or repeated."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from embed.cpu.assembler.bases import Ranges
from embed.cpu.assembler.control import Item
from isa.machine import MachineInstruction
from isa.memo import remembered
from isa.model import FIELD, Instruction, Isa


@dataclass(frozen=True, slots=True, eq=False)
class Fields:
    """An entry, and the fields that numbers are for; `addressed`: the second is a pointer, the third a displacement."""

    name: str
    names: tuple[str, ...]
    addressed: bool = False


@remembered
def fields_of(target: Isa, name: str, names: tuple[str, ...]) -> Fields:
    """The fields of an entry on registers."""
    assert name in target.instructions
    return Fields(name, names)


@dataclass(frozen=True)
class Slots:
    """A move and its fields: its register, its place in memory and its mask; empty where it has none.

    `disps` are the displacements that its encoding, or another of the same move, holds.
    """

    name: str
    register: str
    base: str
    disp: str
    mask: str
    disps: Ranges = ()

    @cached_property
    def fields(self) -> Fields:
        """What the numbers of a move are for: register, pointer and displacement, or a register alone."""
        return Fields(self.name, (self.register, *((self.base, self.disp) if self.base else ())), bool(self.base))

    def alone(self, register: int) -> "Filled":
        """A move that takes nothing but its register."""
        return self.fields, register

    @cached_property
    def masked(self) -> Fields:
        """The same of a masked move: then comes the mask."""
        return Fields(self.name, (*self.fields.names, self.mask), addressed=True)


Filled = tuple[Fields, *tuple[int, ...]]
"""An instruction in short: what its numbers are for, and the numbers. None reaches into the frame of the function."""

Run = list[Filled] | list[MachineInstruction | Filled]
"""Vector instructions in a row; a run that stands in several places is assembled once."""


@dataclass(slots=True)
class Repeat:
    """A run again and again; each time it is as if pointers had moved by the bytes that `moves` has for them."""

    run: Sequence[Filled]
    moves: Mapping[int, Sequence[int]]

    def unrolled(self) -> Iterator[Filled]:
        """All of its instructions."""
        for places in zip(*self.moves.values(), strict=True):
            move = dict(zip(self.moves, places, strict=True))
            for each in self.run:
                fields, *numbers = each
                if fields.addressed:
                    numbers[2] += move[numbers[1]]
                yield fields, *numbers


Part = Item | Filled | Run | Repeat
"""What programs are lowered to and assembled from."""


def flat(program: Iterable[Part]) -> Iterator[Item | Filled]:
    """A program without runs and repetitions."""
    for part in program:
        if isinstance(part, list):
            yield from part
        elif isinstance(part, Repeat):
            yield from part.unrolled()
        else:
            yield part


def listing(program: Iterable[Part]) -> list[Item]:
    """A program as items, every instruction by the names of its fields; equal ones are one object."""
    parts = list(flat(program))
    made = {part: instruction(part) for part in dict.fromkeys(part for part in parts if isinstance(part, tuple))}
    return [made[part] if isinstance(part, tuple) else part for part in parts]


def short(target: Isa, item: MachineInstruction) -> Filled:
    """An instruction on registers in short."""
    return fields_of(target, item.name, tuple(item.fields)), *item.fields.values()


def instruction(filled: Filled) -> MachineInstruction:
    """An instruction by the names of its fields."""
    fields, *numbers = filled
    return MachineInstruction(fields.name, dict(zip(fields.names, numbers, strict=True)))


@remembered
def slots_of(target: Isa, name: str) -> Slots:
    """The fields of the move `name`."""
    entry = target.instructions[name]
    kinds = {operand: _kind(each.memory, target) for operand, each in entry.operands.items()}
    register = next(operand for operand, kind in kinds.items() if kind == "register")
    memory = next((operand for operand, kind in kinds.items() if kind == "external"), "")
    mask = entry.mask.operand.name if entry.mask else ""
    base, disp = (f"{memory}.base", f"{memory}.disp") if memory else ("", "")
    return Slots(name, register, base, disp, mask, _displacements(entry, disp, target))


def _kind(memory: str, target: Isa) -> str:
    return FIELD if memory == FIELD else target.memories[memory].kind


def _displacements(entry: Instruction, field: str, target: Isa) -> Ranges:
    """The values of a field in all entries that do the same; a field that an encoding lacks is zero."""
    found = []
    for other in target.instructions.values():
        if other.encoding and other.index == entry.index and other.pattern == entry.pattern:
            held = other.encoding.fields.get(field)
            found.append(range(held.limits[0], held.limits[1] + 1, held.step) if held else range(1))
    return tuple(found)
