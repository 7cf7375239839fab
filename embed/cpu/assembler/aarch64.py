"""Encodes programs for AArch64 under the procedure call standard AAPCS64 (Arm IHI 0055): the same items as for x86-64.

Pointer registers 0, 1, ... are x0 to x15, then x19 to x28; x16 and x17 belong to this module, x18 to the platform.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import pairwise
from pathlib import Path

import isa
from embed.cpu.assembler import control
from embed.cpu.assembler.aarch64_frame import SP, Frame, Uses, pointer
from embed.cpu.assembler.control import STACK, Item
from embed.cpu.assembler.program import Part, listing
from isa import Isa, IsaError, MachineInstruction
from isa.memo import remembered
from isa.model import Instruction, Operand
from isa.syntax import text_of

_ADDRESS, _NUMBER, _ZERO = 16, 17, 31
_HALVES = (0, 16, 32, 48)
_WORD = 4
_FORMS = {"ldr": ("ldr", "ldur"), "ldrsw": ("ldrsw", "ldursw"), "str": ("str", "stur"), "prfm": ("prfm", "prfum")}
_SHIFTS = {1: 0, 2: 1, 4: 2, 8: 3}


@cache
def control_instructions() -> Isa:
    """The general-register instructions, from the file beside this module."""
    return isa.load(Path(__file__).with_name("aarch64.toml"))


@dataclass(frozen=True)
class Code:
    """A function: its instructions, one 32-bit word each, and the ISA that each belongs to."""

    words: tuple[tuple[Isa, MachineInstruction], ...]

    @cached_property
    def code(self) -> bytes:
        """The machine code; it does not depend on its address."""
        words = {id(instruction): (target, instruction) for target, instruction in self.words}
        codes = {place: target.encode(instruction) for place, (target, instruction) in words.items()}
        return b"".join([codes[id(instruction)] for _, instruction in self.words])

    @property
    def names(self) -> tuple[str, ...]:
        """The name of every word's instruction, in the order of the code."""
        return tuple(instruction.name for _, instruction in self.words)

    def assembly(self) -> str:
        """Text that an assembler turns into the same code, one instruction a line."""
        return "\n".join(text_of(target, instruction) for target, instruction in self.words)


def assemble(program: Sequence[Part], target: Isa) -> Code:
    """Encode a function `void f(void **, int64_t, int64_t)`, with the saving and restoring of what it must keep.

    A displacement that an instruction cannot hold goes into x16 first, as does an index register. Raises IsaError for
    an unknown instruction, field or label, a pointer number without a register, or a value that does not fit.
    """
    items = listing(program)
    emitter = _Emitter(target, items)
    for item in items:
        emitter.item(item)
    return Code(tuple(emitter.linked()))


def sizes(items: Sequence[Item], target: Isa) -> list[int]:
    """The instructions of each item: a Return is the whole way out, and the way in belongs to the first."""
    emitter = _Emitter(target, items)
    ends = [0]
    for item in items:
        emitter.item(item)
        ends.append(len(emitter.out))
    return [end - start for start, end in pairwise(ends)]


def decode(code: bytes, target: Isa) -> Code:
    """The function whose code this is; raises IsaError for a word that `assemble` does not make."""
    return Code(tuple(_word(code[at : at + _WORD], target) for at in range(0, len(code), _WORD)))


def _word(word: bytes, target: Isa) -> tuple[Isa, MachineInstruction]:
    try:
        return target, target.decode(word)
    except IsaError:
        return control_instructions(), control_instructions().decode(word)


@dataclass(frozen=True, slots=True)
class _Jump:
    """A branch whose distance is not known yet."""

    name: str
    fields: Mapping[str, int]
    label: str


class _Emitter:
    """Turns items into instructions, in order."""

    def __init__(self, target: Isa, items: Sequence[Item]) -> None:
        self.target = target
        self.out: list[tuple[Isa, MachineInstruction] | _Jump] = []
        self.known: dict[int, tuple[Isa, MachineInstruction]] = {}
        self.labels: dict[str, int] = {}
        names = dict.fromkeys(item.name for item in items if isinstance(item, MachineInstruction))
        self.uses = {name: Uses.of(target.instruction(name)) for name in names}
        self.frame = Frame.of(self.uses, {id(item): item for item in items}.values())
        for each in self.frame.enter():
            self.emit(each.name, **each.fields)
        self.add(SP, SP, -self.frame.words)

    def emit(self, name: str, /, **fields: int) -> None:
        self.out.append((control_instructions(), MachineInstruction(name, fields)))

    def item(self, item: Item) -> None:
        """Emit one item."""
        match item:
            case MachineInstruction():
                self.vector(item)
            case control.Label(name):
                if name in self.labels:
                    raise IsaError(f"label '{name}' stands twice")
                self.labels[name] = len(self.out)
            case control.Branch() | control.BranchIfLess() | control.BranchIfZero() | control.Loop():
                self.branch(item)
            case control.Prefetch(base, disp, level):
                kind = 1 if level is control.Level.STREAM else 2 * (level.value - 1)
                self.memory("prfm", base, disp, kind=kind)
            case control.LoadPointer(dst, base, disp):
                self.memory("ldr", base, disp, dst=pointer(dst))
            case control.LoadWord(dst, base, disp):
                self.memory("ldrsw", base, disp, dst=pointer(dst))
            case control.StorePointer(src, base, disp):
                self.memory("str", base, disp, src=pointer(src))
            case control.Call(function):
                self.emit("blr", src=pointer(function))
            case control.Order():
                self.emit("dmb")
            case control.Pause():
                self.emit("yield")
            case control.Return():
                self.leave()
            case control.SetMask():
                raise IsaError("AArch64 Advanced SIMD has no mask registers")
            case _:
                self.arithmetic(item)

    def arithmetic(self, item: Item) -> None:
        match item:
            case control.Move(dst, src) if src != STACK:
                self.emit("mov", dst=pointer(dst), src=pointer(src))
            case control.Move(dst, src):
                self.add(pointer(dst), SP, 0)
            case control.SetImmediate(dst, value):
                self.number(pointer(dst), value)
            case control.Add(dst, src):
                self.emit("add", dst=pointer(dst), a=pointer(dst), b=pointer(src))
            case control.AddImmediate(dst, src, value):
                self.add(pointer(dst), pointer(src), value)
            case control.Multiply(dst, src):
                self.emit("mul", dst=pointer(dst), a=pointer(dst), b=pointer(src))
            case control.MultiplyImmediate(dst, src, value) if value > 0 and not value & (value - 1):
                self.emit("add", dst=pointer(dst), a=_ZERO, b=pointer(src), shift=value.bit_length() - 1)
            case control.MultiplyImmediate(dst, src, value):
                self.number(_NUMBER, value)
                self.emit("mul", dst=pointer(dst), a=pointer(src), b=_NUMBER)
            case _:
                raise IsaError(f"{item} is no item of a program")

    def branch(self, item: control.Branch | control.BranchIfLess | control.BranchIfZero | control.Loop) -> None:
        match item:
            case control.Branch(label):
                self.out.append(_Jump("b", {}, label))
            case control.BranchIfLess(left, right, label):
                self.emit("cmp", a=pointer(left), b=pointer(right))
                self.out.append(_Jump("b_lt", {}, label))
            case control.BranchIfZero(register, label):
                self.out.append(_Jump("cbz", {"src": pointer(register)}, label))
            case control.Loop(counter, label):
                self.emit("sub_imm", dst=pointer(counter), src=pointer(counter), value=1)
                self.out.append(_Jump("cbnz", {"src": pointer(counter)}, label))

    def leave(self) -> None:
        self.add(SP, SP, self.frame.words)
        for each in self.frame.leave():
            self.emit(each.name, **each.fields)
        self.emit("ret")

    def number(self, dst: int, value: int) -> None:
        """dst = value, in as few instructions as 16 bits at a time allow."""
        halves = [(value >> shift & 0xFFFF, shift) for shift in _HALVES]
        filler = max((0, 0xFFFF), key=[half for half, _ in halves].count)
        rest = [pair for pair in halves if pair[0] != filler] or halves[:1]
        first, *others = rest
        if filler:
            self.emit("movn", dst=dst, value=first[0] ^ 0xFFFF, shift=first[1])
        else:
            self.emit("movz", dst=dst, value=first[0], shift=first[1])
        for half, shift in others:
            self.emit("movk", dst=dst, value=half, shift=shift)

    def add(self, dst: int, src: int, value: int) -> None:
        """dst = src + value; either may be the stack pointer if |value| < 2**24."""
        if abs(value) >= 1 << 24:
            self.number(_NUMBER, value)
            if src == SP:
                self.emit("add_imm", dst=dst, src=src, value=0)
            self.emit("add", dst=dst, a=dst if src == SP else src, b=_NUMBER)
            return
        sign = "add" if value >= 0 else "sub"
        high, low = abs(value) & 0xFFF000, abs(value) & 0xFFF
        if high:
            self.emit(f"{sign}_imm_high", dst=dst, src=src, value=high)
        if low or (not high and dst != src):
            self.emit(f"{sign}_imm", dst=dst, src=dst if high else src, value=low)

    def memory(self, name: str, base: int, disp: int, **fields: int) -> None:
        """A load, store or prefetch of general registers."""
        place = pointer(base)
        for form in _FORMS[name]:
            if _holds(control_instructions().instructions[form], "disp", disp):
                self.emit(form, base=place, disp=disp, **fields)
                return
        self.add(_ADDRESS, place, disp)
        self.emit(name, base=_ADDRESS, disp=0, **fields)

    def vector(self, item: MachineInstruction) -> None:
        """A vector instruction, its pointers mapped and its address made one that it can hold."""
        if id(item) not in self.known:
            start = len(self.out)
            word = self.target, self.on_registers(item)
            if len(self.out) > start:
                self.out.append(word)
                return
            self.known[id(item)] = word
        self.out.append(self.known[id(item)])

    def on_registers(self, item: MachineInstruction) -> MachineInstruction:
        """The same with registers for its pointers, behind what makes its address."""
        uses = self.uses[item.name]
        if not uses.general and not uses.addressed:
            return item
        entry = self.target.instructions[item.name]
        fields = dict(item.fields)
        for name in uses.general:
            fields[name] = pointer(fields.get(name, 0))
        for operand in uses.addressed:
            entry = self.address(entry, operand, fields)
        return MachineInstruction(entry.name, fields)

    def address(self, entry: Instruction, operand: Operand, fields: dict[str, int]) -> Instruction:
        """Rewrite the fields of a memory operand; the entry that can hold them."""
        name = operand.name
        base, disp = pointer(fields.get(f"{name}.base", 0)), fields.pop(f"{name}.disp", 0)
        index, scale = fields.pop(f"{name}.index", 0), fields.pop(f"{name}.scale", 0)
        if scale:
            base = self.indexed(base, pointer(index), scale)
        forms = _forms(self.target, entry.name)
        form = next((form for form in forms if _holds(form, f"{name}.disp", disp)), None)
        if form is None:
            self.add(_ADDRESS, base, disp)
            base, disp, form = _ADDRESS, 0, entry
        fields[f"{name}.base"] = base
        if f"{name}.disp" in form.fields:
            fields[f"{name}.disp"] = disp
        return form

    def indexed(self, base: int, index: int, scale: int) -> int:
        if scale not in _SHIFTS:
            raise IsaError(f"an index is scaled by 1, 2, 4 or 8, not {scale}")
        if base == SP:
            self.emit("add_imm", dst=_ADDRESS, src=SP, value=0)
            base = _ADDRESS
        self.emit("add", dst=_ADDRESS, a=base, b=index, shift=_SHIFTS[scale])
        return _ADDRESS

    def linked(self) -> Iterator[tuple[Isa, MachineInstruction]]:
        """The instructions, with the distance of every branch."""
        for number, each in enumerate(self.out):
            if not isinstance(each, _Jump):
                yield each
                continue
            if each.label not in self.labels:
                raise IsaError(f"there is no label '{each.label}'")
            distance = 4 * (self.labels[each.label] - number)
            yield control_instructions(), MachineInstruction(each.name, {**each.fields, "to": distance})


def _holds(entry: Instruction, field: str, value: int) -> bool:
    """Whether the entry can hold the value in the field; a field it lacks is zero."""
    assert entry.encoding is not None
    return entry.encoding.fields[field].fits(value) if field in entry.encoding.fields else not value


@remembered
def _forms(target: Isa, name: str) -> tuple[Instruction, ...]:
    """The entry and those that do the same with another range of displacements."""
    entry = target.instructions[name]
    return entry, *(other for other in target.instructions.values() if other is not entry and _same(entry, other))


def _same(left: Instruction, right: Instruction) -> bool:
    places = [{name: (each.memory, each.tensor) for name, each in one.operands.items()} for one in (left, right)]
    return left.pattern == right.pattern and left.choice == right.choice and places[0] == places[1]
