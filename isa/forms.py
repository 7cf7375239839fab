"""What an x86 entry is in iced-x86's terms: its opcode, and what fills each operand, in the order of the assembler."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RegisterSlot:
    """A register operand: the field that holds its number, the file (`zmm`, `k`, `r64`, ...) and how many there are."""

    field: str
    file: str
    count: int


@dataclass(frozen=True, slots=True)
class MemorySlot:
    """A memory operand of `bits`; `broadcast`: its one element goes to every lane."""

    name: str
    bits: int
    broadcast: bool


@dataclass(frozen=True, slots=True)
class ImmediateSlot:
    """An 8-bit immediate: the value of a field, or a number that is part of the entry."""

    field: str
    value: int | None


Slot = RegisterSlot | MemorySlot | ImmediateSlot


@dataclass(frozen=True, slots=True)
class Form:
    """`code` is iced's number of the opcode; `mask` is the field of the mask register, empty without one."""

    code: int
    slots: tuple[Slot, ...]
    mask: str = ""
    zeroing: bool = False
