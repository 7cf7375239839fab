"""The opcode lines of Intel's SDM: an entry's `encoding` and `syntax` checked against iced-x86's tables.

iced-x86 is the second opinion: a line that it does not have for the mnemonic is an error that names the right one.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from isa.errors import listing
from isa.forms import Form, ImmediateSlot, MemorySlot, RegisterSlot, Slot

_OPERAND = re.compile(r"(?<!\{)\{(\w+)\}(?!\})")
_NUMBER = re.compile(r"\d{1,3}")
_DECORATION = re.compile(r"\s*\{\w+\}")
_VECTOR = re.compile(r"([txyz]mm)\d?")
_MASK = re.compile(r"k\d?")
_GENERAL = re.compile(r"r(32|64)[ab]?")
_MEMORY = re.compile(r"m(\d+)(bcst)?")
_EITHER = re.compile(r"r/m(\d+)")
_WIDTHS = {"xmm": 128, "ymm": 256, "zmm": 512, "tmm": 8192, "k": 64, "r32": 32, "r64": 64}
_HOLDERS = {
    "xmm": ("xmm", "ymm", "zmm"),
    "ymm": ("ymm", "zmm"),
    "zmm": ("zmm",),
    "tmm": ("tmm",),
    "k": ("k",),
    "r32": ("r64",),
    "r64": ("r64",),
}
"""The memories of an ISA file whose registers an operand of the manual can be, or be the low part of."""


class SdmError(Exception):
    """What is wrong with an entry, and the key of the entry that is to be changed."""

    def __init__(self, message: str, key: str) -> None:
        super().__init__(message)
        self.message = message
        self.key = key


@dataclass(frozen=True, slots=True)
class Place:
    """An operand of an entry: its memory, that memory's kind (or `field`) and words, its bits, its slot.

    `strided`: its rows in memory are apart by an index register (`sibmem`).
    """

    memory: str
    kind: str
    count: int
    bits: int
    at: str = ""
    strided: bool = False


def read_form(syntax: str, notation: str, operands: dict[str, Place], mask: str = "", zeroing: bool = False) -> Form:
    """The form of an entry with this assembler syntax and opcode line; raises SdmError.

    `operands` are the pattern's by name, those of the syntax without the mask register.
    """
    mnemonic, _, rest = syntax.strip().partition(" ")
    if not mnemonic:
        raise SdmError("the manual's notation needs an assembler text: syntax = 'vaddps {dst}, {a}, {b}'", "encoding")
    names = _names(rest, operands, mask)
    known = _codes(mnemonic.lower())
    if not known:
        raise SdmError(f"there is no VEX or EVEX instruction '{mnemonic}'", "syntax")
    fitting = {code: slots for code in known if (slots := _slots(_instruction(code), names, operands)) is not None}
    for code, slots in fitting.items():
        if _line(code) == " ".join(notation.split()):
            _check_mask(code, mask, zeroing)
            _check_slots(code, names, operands)
            return Form(code, slots, mask, zeroing)
    raise _wrong(mnemonic, known, list(fitting), notation)


def features(code: int) -> frozenset[str]:
    """The CPU features that an opcode needs, by the names of /proc/cpuinfo."""
    iced = iced_x86()
    instruction = iced.Instruction()
    instruction.code = code
    return frozenset(_feature_names()[number] for number in instruction.cpuid_features())


def iced_x86() -> Any:
    """The iced-x86 package; raises SdmError if it is not installed."""
    try:
        import iced_x86
    except ImportError:
        raise SdmError("the SDM's notation needs the package iced-x86: pip install iced-x86", "encoding") from None
    return iced_x86


def _names(text: str, operands: dict[str, Place], mask: str) -> list[str | int]:
    """The operands in the assembler's order: names, and the numbers that are immediates."""
    names: list[str | int] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        found = [name for name in _OPERAND.findall(part) if name != mask]
        if not found and _NUMBER.fullmatch(part) and int(part) < 256:
            names.append(int(part))
        elif len(found) == 1 and found[0] in operands:
            names.append(found[0])
        else:
            there = listing(f"{{{name}}}" for name in operands)
            raise SdmError(f"'{part}' is not an operand: write one of {there}", "syntax")
    missing = [name for name in operands if name not in names]
    if missing:
        raise SdmError(f"the syntax lacks operand {{{missing[0]}}}", "syntax")
    return names


def _wrong(mnemonic: str, known: Sequence[int], fitting: Sequence[int], notation: str) -> SdmError:
    if fitting:
        lines = " or ".join(dict.fromkeys(map(_line, fitting)))
        return SdmError(
            f"'{notation}' is not {mnemonic} with these operands; the manual's line is: {lines}", "encoding"
        )
    forms = listing(dict.fromkeys(_instruction(code).lower() for code in known))
    return SdmError(f"no form of {mnemonic} has these operands; its forms are: {forms}", "syntax")


def _check_mask(code: int, mask: str, zeroing: bool) -> None:
    info = iced_x86().OpCodeInfo(code)
    if mask and not info.can_use_op_mask_register:
        raise SdmError(f"{_instruction(code).lower()} takes no mask register", "mask")
    if zeroing and (not info.can_use_zeroing_masking or info.op_kind(0) in _memory_kinds()):
        raise SdmError(f"{_instruction(code).lower()} cannot zero its idle lanes", "mask")


def _check_slots(code: int, names: Sequence[str | int], operands: dict[str, Place]) -> None:
    """Slots that the file writes (`ModRM.rm`) are those of the opcode."""
    info = iced_x86().OpCodeInfo(code)
    for number, name in enumerate(names):
        if isinstance(name, str) and "." in operands[name].at:
            right = _slot_name(info.op_kind(number), _line(code))
            if operands[name].at != right:
                raise SdmError(f"operand '{name}' is at {right}, not {operands[name].at}", "operands")


@cache
def _kind_names() -> dict[int, str]:
    kinds = iced_x86().OpCodeOperandKind
    return {value: name for name, value in vars(kinds).items() if isinstance(value, int)}


@cache
def _memory_kinds() -> frozenset[int]:
    return frozenset(value for value, name in _kind_names().items() if name == "MEM")


def _slot_name(kind: int, line: str) -> str:
    name = _kind_names()[kind]
    if name.endswith("_VVVV"):
        return f"{line.partition('.')[0]}.vvvv"
    return "ModRM.rm" if name.endswith(("MEM", "_RM")) else "imm8" if name.startswith("IMM") else "ModRM.reg"


@cache
def _feature_names() -> dict[int, str]:
    kinds = iced_x86().CpuidFeature
    return {value: name.lower() for name, value in vars(kinds).items() if isinstance(value, int)}


@cache
def _mnemonics() -> dict[str, list[int]]:
    """Opcodes of VEX and EVEX instructions by mnemonic."""
    codes = iced_x86().Code
    found: dict[str, list[int]] = {}
    for name, value in vars(codes).items():
        parts = name.split("_")
        if parts[0] in ("VEX", "EVEX") and isinstance(value, int):
            found.setdefault(parts[1].lower(), []).append(value)
    return found


def _codes(mnemonic: str) -> list[int]:
    return _mnemonics().get(mnemonic, [])


@cache
def _line(code: int) -> str:
    return str(iced_x86().OpCodeInfo(code).op_code_string)


@cache
def _instruction(code: int) -> str:
    return str(iced_x86().OpCodeInfo(code).instruction_string)


def _slots(instruction: str, names: Sequence[str | int], operands: dict[str, Place]) -> tuple[Slot, ...] | None:
    """What fills the operands of `VADDPS zmm1 {k1}{z}, zmm2, zmm3/m512/m32bcst{er}`; None if the entry's do not fit."""
    text = _EITHER.sub(r"r\1/m\1", _DECORATION.sub("", instruction.partition(" ")[2]))
    parts = [part.strip() for part in text.split(",")] if text else []
    if len(parts) != len(names):
        return None
    slots = tuple(_slot(part, name, operands) for part, name in zip(parts, names, strict=True))
    return tuple(slot for slot in slots if slot) if all(slots) else None


def _slot(text: str, name: str | int, operands: dict[str, Place]) -> Slot | None:
    """What fills one operand of the manual's form, such as `zmm3/m512/m32bcst`."""
    if isinstance(name, int):
        return ImmediateSlot("", name) if text == "imm8" else None
    place = operands[name]
    if place.kind == "field":
        return ImmediateSlot(name, None) if text == "imm8" else None
    if place.strided or text == "sibmem":
        return MemorySlot(name, place.bits, False) if place.strided and text == "sibmem" else None
    if place.kind == "external":
        return next((MemorySlot(name, bits, bcst) for bits, bcst in _memories(text) if bits == place.bits), None)
    for file in _registers(text):
        if place.memory in _HOLDERS[file] and place.bits <= _WIDTHS[file]:
            return RegisterSlot(name, file, place.count)
    return None


def _memories(text: str) -> Iterator[tuple[int, bool]]:
    for part in text.split("/"):
        match = _MEMORY.fullmatch(part)
        if match:
            yield int(match[1]), bool(match[2])


def _registers(text: str) -> Iterator[str]:
    for part in text.split("/"):
        vector, general = _VECTOR.fullmatch(part), _GENERAL.fullmatch(part)
        if vector:
            yield vector[1]
        elif general:
            yield f"r{general[1]}"
        elif _MASK.fullmatch(part):
            yield "k"
