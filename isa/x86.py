"""x86-64 machine code of the entries in the SDM's notation, both ways; iced-x86 reads it.

Pointer and vector registers are numbered as the hardware does (rax 0, rcx 1, ... r15 15).
"""

from collections.abc import Iterator, Mapping
from typing import Any

import iced_x86
from iced_x86 import Decoder, Formatter, FormatterSyntax, OpKind, Register

from isa.errors import IsaError, listing
from isa.forms import Form, ImmediateSlot, MemorySlot, RegisterSlot, Slot
from isa.machine import MachineInstruction
from isa.vex import Template

HARDWARE = {number: number for number in range(16)}
"""The identity: pointer registers by their own numbers."""

_FIRST = {
    "xmm": Register.XMM0,
    "ymm": Register.YMM0,
    "zmm": Register.ZMM0,
    "tmm": Register.TMM0,
    "k": Register.K0,
    "r32": Register.EAX,
    "r64": Register.RAX,
}


class Codec:
    """Encoder and decoder of the entries of one ISA, each a form by its name; `pointers` number pointer registers."""

    def __init__(self, forms: Mapping[str, Form], pointers: Mapping[int, int] = HARDWARE) -> None:
        self.templates = {name: Template.of(name, form, pointers) for name, form in forms.items()}
        self._by_code: dict[int, list[tuple[str, Form]]] = {}
        for name, form in forms.items():
            self._by_code.setdefault(form.code, []).append((name, form))

    def template(self, name: str) -> Template:
        """What the entry `name` is encoded from; raises IsaError where it has no x86 notation."""
        if name not in self.templates:
            raise IsaError(f"there is no x86 entry '{name}'; there are: {listing(self.templates)}")
        return self.templates[name]

    def encode(self, item: MachineInstruction) -> bytes:
        """The bytes of an item; raises IsaError for an unknown entry or field, or a value that does not fit."""
        return self.template(item.name).encode(item.fields)

    def decode(self, data: bytes) -> MachineInstruction:
        """The item these bytes are, all of them; raises IsaError if it is no entry."""
        decoded = Decoder(64, data).decode()
        if decoded.len != len(data):
            raise IsaError(f"{data.hex(' ')} is not one x86 instruction")
        return self._item(decoded, data)

    def decode_all(self, data: bytes) -> Iterator[MachineInstruction]:
        """The items of a stream, in order; raises IsaError with the offset of bytes that are no entry."""
        for decoded in Decoder(64, data):
            yield self._item(decoded, data[decoded.ip : decoded.ip + decoded.len])

    def disassemble(self, code: bytes) -> str:
        """Code as text; instructions that are no entries as well."""
        return disassemble(code)

    def _item(self, decoded: Any, data: bytes) -> MachineInstruction:
        for name, form in self._by_code.get(decoded.code, ()):
            fields = _fields(decoded, form)
            if fields is not None:
                return MachineInstruction(name, fields)
        shown = Formatter(FormatterSyntax.INTEL).format(decoded)
        raise IsaError(f"byte {decoded.ip}: {data.hex(' ')} ({shown}) is no instruction of this ISA")


def disassemble(code: bytes) -> str:
    """Any x86-64 code as text in Intel's syntax, one line per instruction; targets of branches are labels."""
    decoded = list(Decoder(64, code))
    branches = [each for each in decoded if each.is_jcc_short_or_near or each.is_jmp_short_or_near]
    targets = sorted({each.near_branch_target for each in branches})
    labels = {target: f"L{number}" for number, target in enumerate(targets)}
    formatter = _formatter()
    lines = []
    for each in decoded:
        if each.ip in labels:
            lines.append(f"{labels[each.ip]}:")
        text = formatter.format(each)
        if each.near_branch_target in labels and each.op_count == 1:
            text = f"{text.split()[0]} {labels[each.near_branch_target]}"
        lines.append(f"    {text}")
    return "\n".join(lines)


def _formatter() -> Any:
    """Intel's syntax as GNU as reads it."""
    formatter = Formatter(FormatterSyntax.INTEL)
    formatter.hex_prefix, formatter.hex_suffix = "0x", ""
    formatter.space_after_operand_separator = True
    formatter.branch_leading_zeros = False
    formatter.memory_size_options = iced_x86.MemorySizeOptions.ALWAYS
    formatter.uppercase_hex = False
    return formatter


def _fields(decoded: Any, form: Form) -> dict[str, int] | None:
    """The fields of a decoded instruction if it is of this form."""
    masked = decoded.op_mask != Register.NONE
    if masked != bool(form.mask) or decoded.zeroing_masking != form.zeroing:
        return None
    found: dict[str, int] = {}
    for operand, slot in enumerate(form.slots):
        part = _operand(decoded, operand, slot)
        if part is None or any(found.get(name, value) != value for name, value in part.items()):
            return None
        found.update(part)
    return {**found, form.mask: decoded.op_mask - Register.K0} if form.mask else found


def _operand(decoded: Any, operand: int, slot: Slot) -> dict[str, int] | None:
    kind = decoded.op_kind(operand)
    match slot:
        case RegisterSlot(field, file, _):
            return {field: decoded.op_register(operand) - _FIRST[file]} if kind == OpKind.REGISTER else None
        case MemorySlot(name, _, broadcast):
            matches = kind == OpKind.MEMORY and decoded.is_broadcast == broadcast
            return _pointed(decoded, name) if matches else None
        case ImmediateSlot(_, int(value)):
            return {} if decoded.immediate8 == value else None
        case ImmediateSlot(field, _):
            return {field: decoded.immediate8}
    return None


def _pointed(decoded: Any, name: str) -> dict[str, int] | None:
    if not Register.RAX <= decoded.memory_base <= Register.R15:
        return None
    offset = decoded.memory_displacement
    found = {f"{name}.base": decoded.memory_base - Register.RAX, f"{name}.disp": offset - (offset >> 63 << 64)}
    if decoded.memory_index == Register.NONE:
        return found
    return {**found, f"{name}.index": decoded.memory_index - Register.RAX, f"{name}.scale": decoded.memory_index_scale}
