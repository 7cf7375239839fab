"""x86-64 machine code of the entries in the SDM's notation, both ways, through iced-x86.

Pointer and vector registers are numbered as the hardware does (rax 0, rcx 1, ... r15 15).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import iced_x86
from iced_x86 import Decoder, Encoder, Formatter, FormatterSyntax, OpKind, Register

from isa.errors import IsaError, listing
from isa.forms import Form, ImmediateSlot, MemorySlot, RegisterSlot, Slot
from isa.machine import MachineInstruction

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
_RSP = 4
_LARGEST_DISP = 1 << 31
_ADDRESS_BITS = (1 << 64) - 1
_SCALES = (1, 2, 4, 8)


@dataclass(frozen=True, slots=True)
class _Template:
    """An entry ready to be filled in: `registers` are (operand, field, number of register 0, how many)."""

    name: str
    instruction: Any
    fields: frozenset[str]
    registers: tuple[tuple[int, str, int, int], ...]
    general: tuple[tuple[int, str, int], ...]
    memory: tuple[str, str, str, str] | None
    immediate: tuple[int, str] | None
    mask: str
    unique: bool


class Codec:
    """Encoder and decoder of the entries of one ISA, each a form by its name."""

    def __init__(self, forms: Mapping[str, Form]) -> None:
        self._templates = {name: _template(name, form) for name, form in forms.items()}
        self._by_code: dict[int, list[tuple[str, Form]]] = {}
        for name, form in forms.items():
            self._by_code.setdefault(form.code, []).append((name, form))

    def instruction(self, item: MachineInstruction, pointers: Mapping[int, int] = HARDWARE) -> Any:
        """The iced Instruction of an item, whose pointer registers are numbered by `pointers`.

        Raises IsaError for an entry without x86 notation, an unknown field, or a value that does not fit.
        """
        template = self._templates.get(item.name)
        if template is None:
            raise IsaError(f"there is no x86 entry '{item.name}'; there are: {listing(self._templates)}")
        fields = item.fields
        if not template.fields.issuperset(fields):
            wrong = next(name for name in fields if name not in template.fields)
            raise IsaError(f"{item.name} has no field '{wrong}'; it has {listing(sorted(template.fields))}")
        made = template.instruction.copy()
        for operand, name, first, count in template.registers:
            number = fields.get(name, 0)
            if not 0 <= number < count:
                raise IsaError(f"{item.name}: {name} = {number} is no register: they are 0..{count - 1}")
            made.set_op_register(operand, first + number)
        if template.unique:
            _differ(item, template.registers)
        for operand, name, first in template.general:
            made.set_op_register(operand, first + _pointer(item, name, pointers))
        if template.memory:
            _address(made, item, template.memory, pointers)
        if template.immediate:
            _immediate(made, item, template.immediate)
        if template.mask:
            _mask(made, item, template.mask)
        return made

    def encode(self, item: MachineInstruction) -> bytes:
        """The bytes of an item; raises IsaError like `instruction`."""
        encoder = Encoder(64)
        encoder.encode(self.instruction(item), 0)
        return bytes(encoder.take_buffer())

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


def _template(name: str, form: Form) -> _Template:
    made = iced_x86.Instruction()
    made.code = form.code
    registers: list[tuple[int, str, int, int]] = []
    general: list[tuple[int, str, int]] = []
    memory: tuple[str, str, str, str] | None = None
    immediate: tuple[int, str] | None = None
    for operand, slot in enumerate(form.slots):
        match slot:
            case RegisterSlot(field, ("r32" | "r64") as file, _):
                made.set_op_kind(operand, OpKind.REGISTER)
                general.append((operand, field, _FIRST[file]))
            case RegisterSlot(field, file, count):
                made.set_op_kind(operand, OpKind.REGISTER)
                registers.append((operand, field, _FIRST[file], count))
            case MemorySlot(field, _, broadcast):
                made.set_op_kind(operand, OpKind.MEMORY)
                made.is_broadcast = broadcast
                memory = (f"{field}.base", f"{field}.index", f"{field}.scale", f"{field}.disp")
            case ImmediateSlot(field, value):
                made.set_op_kind(operand, OpKind.IMMEDIATE8)
                made.immediate8 = value or 0
                immediate = immediate if value is not None else (operand, field)
    made.zeroing_masking = form.zeroing
    unique = iced_x86.OpCodeInfo(form.code).requires_unique_reg_nums
    names = [field for _, field, _, _ in registers] + [field for _, field, _ in general]
    names += [*(memory or ()), *([immediate[1]] if immediate else []), *([form.mask] if form.mask else [])]
    slots = (tuple(registers), tuple(general), memory, immediate)
    return _Template(name, made, frozenset(names), *slots, form.mask, unique)


def _differ(item: MachineInstruction, registers: tuple[tuple[int, str, int, int], ...]) -> None:
    """Some instructions (of AMX) are undefined where two of their registers are one."""
    names = [name for _, name, _, _ in registers]
    if len({item.fields.get(name, 0) for name in names}) < len(names):
        raise IsaError(f"{item.name}: {listing(names)} are different registers")


def _pointer(item: MachineInstruction, name: str, pointers: Mapping[int, int]) -> int:
    number = item.fields.get(name, 0)
    try:
        return pointers[number]
    except KeyError:
        raise IsaError(f"{item.name}: {name} = {number} is no pointer register") from None


def _address(made: Any, item: MachineInstruction, names: tuple[str, ...], pointers: Mapping[int, int]) -> None:
    base, index, scale, disp = names
    fields = item.fields
    made.memory_base = Register.RAX + _pointer(item, base, pointers)
    if index in fields or scale in fields:
        _index(made, item, index, scale, pointers)
    offset = fields.get(disp, 0)
    if offset:
        if not -_LARGEST_DISP <= offset < _LARGEST_DISP:
            raise IsaError(f"{item.name}: {disp} = {offset} does not fit 32 bits; add it to the pointer")
        made.memory_displ_size = 1
        made.memory_displacement = offset & _ADDRESS_BITS


def _index(made: Any, item: MachineInstruction, index: str, scale: str, pointers: Mapping[int, int]) -> None:
    factor = item.fields.get(scale, 0)
    if factor == 0 and item.fields.get(index, 0) == 0:
        return
    if factor not in _SCALES:
        raise IsaError(f"{item.name}: {scale} = {factor}; with an index it is one of: {listing(map(str, _SCALES))}")
    number = _pointer(item, index, pointers)
    if number == _RSP:
        raise IsaError(f"{item.name}: rsp cannot be an index")
    made.memory_index = Register.RAX + number
    made.memory_index_scale = factor


def _immediate(made: Any, item: MachineInstruction, immediate: tuple[int, str]) -> None:
    operand, name = immediate
    value = item.fields.get(name, 0)
    if not 0 <= value < 256:
        raise IsaError(f"{item.name}: {name} = {value} does not fit 8 unsigned bits (0..255)")
    made.immediate8 = value
    made.set_op_kind(operand, OpKind.IMMEDIATE8)


def _mask(made: Any, item: MachineInstruction, name: str) -> None:
    number = item.fields.get(name, 0)
    if not 1 <= number < 8:
        raise IsaError(f"{item.name}: {name} = {number} is no mask register: they are 1..7")
    made.op_mask = Register.K0 + number


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
