"""Registers and stack of a function for AArch64 under AAPCS64 (Arm IHI 0055): what it uses, and what it saves.

Pointer registers 0, 1, ... are x0 to x15, then x19 to x28.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from embed.cpu.assembler import control
from embed.cpu.assembler.control import STACK, Item
from isa import IsaError, MachineInstruction
from isa.model import Instruction, Operand

POINTERS: tuple[int, ...] = (*range(16), *range(19, 29))
"""The register of every pointer number."""

SAVED_POINTERS = range(19, 31)
SAVED_VECTORS = range(8, 16)
"""Registers that a function leaves as they were; of vector registers, the low 64 bits."""

SP = 31
"""The stack pointer, where an instruction takes one."""

_LINK = 30
_REGISTERS = ("dst", "src", "base", "left", "right", "register", "counter", "function")
_LARGEST_FRAME = 1 << 20


def pointer(number: int) -> int:
    """The register of a pointer number."""
    if number == STACK:
        return SP
    if not 0 <= number < len(POINTERS):
        raise IsaError(f"there is no pointer register {number}; there are {len(POINTERS)}")
    return POINTERS[number]


@dataclass(frozen=True, slots=True)
class Uses:
    """What an entry does with registers: fields that are general registers, operands in memory, what it writes."""

    general: tuple[str, ...]
    addressed: tuple[Operand, ...]
    written: str
    words: int

    @classmethod
    def of(cls, entry: Instruction) -> "Uses":
        operands, output = entry.operands.values(), entry.output
        general = tuple(operand.name for operand in operands if operand.memory == "x")
        addressed = tuple(operand for operand in operands if operand.pointers)
        if output is None or output.memory != "v":
            return cls(general, addressed, "", 0)
        return cls(general, addressed, output.name, -(-output.tensor.bytes // 16))


@dataclass(frozen=True, slots=True)
class Frame:
    """What lies on the stack: saved registers in pairs, below them `words` bytes for the function."""

    pointers: tuple[int, ...]
    vectors: tuple[int, ...]
    words: int

    @classmethod
    def of(cls, uses: Mapping[str, Uses], items: Collection[Item]) -> "Frame":
        used: set[int] = set()
        written: set[int] = set()
        reach = 0
        for item in items:
            if isinstance(item, MachineInstruction):
                use = uses[item.name]
                written.update(range(item[use.written], item[use.written] + use.words) if use.written else ())
                if use.general or use.addressed:
                    used.update(_pointers(use, item))
                    reach = max(reach, _reach(use, item))
            else:
                used.update(getattr(item, name) for name in _REGISTERS if hasattr(item, name))
                match item:
                    case control.LoadPointer() | control.LoadWord() | control.StorePointer() if item.base == STACK:
                        reach = max(reach, item.disp + 8)
        if reach >= _LARGEST_FRAME:
            raise IsaError(f"the function uses {reach} bytes of stack; there are {_LARGEST_FRAME}")
        registers = set(map(pointer, used))
        registers.update(_LINK for item in items if isinstance(item, control.Call))
        return cls(_pairs(registers, SAVED_POINTERS), _pairs(written, SAVED_VECTORS), -(-reach // 16) * 16)

    @property
    def saved(self) -> int:
        return 8 * (len(self.pointers) + len(self.vectors))

    def enter(self) -> Iterator[MachineInstruction]:
        if self.saved:
            yield MachineInstruction("sub_imm", {"dst": SP, "src": SP, "value": self.saved})
            yield from self._moves("stp")

    def leave(self) -> Iterator[MachineInstruction]:
        if self.saved:
            yield from self._moves("ldp")
            yield MachineInstruction("add_imm", {"dst": SP, "src": SP, "value": self.saved})

    def _moves(self, name: str) -> Iterator[MachineInstruction]:
        for kind, registers, start in ((name, self.pointers, 0), (f"{name}_d", self.vectors, 8 * len(self.pointers))):
            for place in range(0, len(registers), 2):
                a, b = registers[place : place + 2]
                yield MachineInstruction(kind, {"a": a, "b": b, "base": SP, "disp": start + 8 * place})


def _pairs(used: set[int], saved: range) -> tuple[int, ...]:
    """The registers to save, in whole pairs."""
    firsts = [first for first in saved[::2] if used & {first, first + 1}]
    return tuple(number for first in firsts for number in (first, first + 1))


def _pointers(use: Uses, item: MachineInstruction) -> Iterator[int]:
    """The pointer numbers of a vector instruction."""
    yield from (item[name] for name in use.general)
    for operand in use.addressed:
        yield item[f"{operand.name}.base"]
        if item[f"{operand.name}.scale"]:
            yield item[f"{operand.name}.index"]


def _reach(use: Uses, item: MachineInstruction) -> int:
    """How many bytes of the function's frame a vector instruction uses."""
    ends = (
        item[f"{operand.name}.disp"] + operand.tensor.bytes
        for operand in use.addressed
        if item[f"{operand.name}.base"] == STACK
    )
    return max(ends, default=0)
