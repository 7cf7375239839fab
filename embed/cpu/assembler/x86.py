"""Encodes programs for x86-64 under the System V calling convention: the same items as for AArch64.

Pointer registers 0, 1, ... are rdi rsi rdx rcx r8 r9, rax r10 r11, then those a function must keep: rbx rbp r12..r15.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from iced_x86 import Code

from embed.cpu.assembler import control
from embed.cpu.assembler.control import STACK, Item, Level
from embed.cpu.assembler.jumps import Jump, Kind, bind
from embed.cpu.assembler.program import Fields, Filled, Part, Repeat, Run
from isa import Isa, IsaError, MachineInstruction
from isa.filler import Filler, filler
from isa.forms import Form, RegisterSlot
from isa.memo import remembered
from isa.rex import in_opcode, is_short, on_memory, on_register, signed
from isa.vex import Template
from isa.x86 import Codec, disassemble

POINTERS = (7, 6, 2, 1, 8, 9, 0, 10, 11, 3, 5, 12, 13, 14, 15)
"""The hardware's number of every pointer register."""

SAVED = (3, 5, 12, 13, 14, 15)
"""Registers that a function leaves as they were; vector and mask registers are all free."""

_RSP = 4
_NUMBERS = {**dict(enumerate(POINTERS)), STACK: _RSP}
_MASK_MOVES = {
    width: Template.of(name, Form(code, (RegisterSlot("k", "k", 8), RegisterSlot("src", file, 16))), _NUMBERS)
    for width, name, code, file in (
        (16, "kmovw", Code.VEX_KMOVW_KR_R32, "r32"),
        (32, "kmovd", Code.VEX_KMOVD_KR_R32, "r32"),
        (64, "kmovq", Code.VEX_KMOVQ_KR_R64, "r64"),
    )
}
"""Moves from a general register to a mask register, by how many bits they bring."""

_MOVE, _ADD, _COMPARE, _TEST, _XOR, _MULTIPLY = b"\x89", b"\x01", b"\x39", b"\x85", b"\x31", b"\x0f\xaf"
_LOAD, _LOAD_WORD, _STORE, _ADDRESS, _PREFETCH = b"\x8b", b"\x63", b"\x89", b"\x8d", b"\x0f\x18"
_SET, _STEP = b"\xc7", b"\xff"
_MULTIPLY_SHORT, _MULTIPLY_LONG, _CHANGE_SHORT, _CHANGE_LONG = b"\x6b", b"\x69", b"\x83", b"\x81"
_PUSH, _POP, _SET_LOW = 0x50, 0x58, 0xB8
_PLUS, _MINUS, _DOWN, _CALL = 0, 5, 1, 2
"""What ModRM.reg says in an opcode that changes a register by a number, or by one, or calls it."""

_CLEAR_UPPER, _LEAVE, _PAUSE = b"\xc5\xf8\x77", b"\xc3", b"\xf3\x90"
_STORES_FIRST = b"\x0f\xae\xf8"
"""SFENCE: only stores past the caches do not keep their order (Intel SDM, volume 3, "Memory Ordering")."""

_HINTS = {Level.L1: 1, Level.L2: 2, Level.L3: 3, Level.STREAM: 0}
_ALL_BITS = (1 << 64) - 1
_SEVERAL = {control.SetMask: 2, control.BranchIfLess: 2, control.BranchIfZero: 2, control.Loop: 2}
"""Items of more than one instruction."""


@dataclass(frozen=True, slots=True)
class Assembled:
    """A function: its machine code, which does not depend on its address."""

    code: bytes

    def assembly(self) -> str:
        """Text in Intel's syntax that GNU as turns into the same instructions, one a line, with labels."""
        return disassemble(self.code)


def assemble(program: Sequence[Part], target: Isa) -> Assembled:
    """Encode a function `void f(void **, int64_t, int64_t)`, with the saving and restoring of what it must keep.

    Raises IsaError for an unknown instruction, field or label, a pointer number that is not in `POINTERS`, or a value
    that does not fit.
    """
    emitter = _Emitter(target)
    emitter.add(program)
    return Assembled(emitter.linked())


def sizes(items: Sequence[Item], target: Isa) -> list[int]:
    """The instructions of each item: a Return is the whole way out, and the way in belongs to the first."""
    emitter = _Emitter(target)
    emitter.add(items)
    emitter.linked()
    several = {**_SEVERAL, control.Return: len(emitter.way_out())}
    found = [several.get(type(item), min(1, len(code))) for item, code in zip(items, emitter.chunks, strict=True)]
    found[0] += len(emitter.way_in())
    return found


@remembered
def _codec(target: Isa) -> Codec:
    return Codec({name: entry.form for name, entry in target.instructions.items() if entry.form}, _NUMBERS)


class _Fillers(dict[Fields, Filler]):
    """What instructions are made from that are filled in by position."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec

    def __missing__(self, fields: Fields) -> Filler:
        found = self[fields] = filler(self._codec.template(fields.name), fields.names)
        return found


@remembered
def _fillers(target: Isa) -> _Fillers:
    return _Fillers(_codec(target))


class _Registers(dict[int, int]):
    """The hardware's numbers of the pointer registers that were asked for."""

    def __missing__(self, number: int) -> int:
        found = self[number] = _NUMBERS[number]
        return found

    @property
    def saved(self) -> list[int]:
        """Those in use that the caller wants back."""
        return [self[number] for number in sorted(self) if self[number] in SAVED]


class _Emitter:
    """Turns items into code, a chunk each, in order; branches and a Return stay open until all is known.

    Where an instruction has several encodings it takes the one that GNU as does.
    """

    def __init__(self, target: Isa) -> None:
        self.target = target
        self.codec = _codec(target)
        self.registers = _Registers()
        self.chunks: list[bytes] = []
        self.known: dict[int, bytes] = {}
        self.fillers = _fillers(target)
        self.jumps: dict[int, Jump] = {}
        self.returns: list[int] = []
        self.labels: dict[str, int] = {}
        self.frame = 0
        self.calls = self.vectors = False

    def add(self, program: Sequence[Part]) -> None:
        """Put all parts behind what is there."""
        try:
            for part in program:
                self.chunks.append(_EMIT[type(part)](self, part))
        except ValueError as error:
            raise IsaError(str(error)) from None

    def vector(self, item: MachineInstruction) -> bytes:
        """An instruction of the ISA file."""
        template = self.codec.template(item.name)
        if template.address is not None and STACK in item.fields.values():
            self.reach(item)
        self.vectors = True
        return template.encode(item.fields)

    def filled(self, part: Filled) -> bytes:
        """An instruction filled in by position."""
        self.vectors = True
        return self.fillers[part[0]].encode(part)

    def run(self, run: Run) -> bytes:
        """Instructions in a row; a run that stood somewhere before has its code."""
        if id(run) not in self.known:
            codes = [self.filled(each) if isinstance(each, tuple) else self.vector(each) for each in run]
            self.known[id(run)] = b"".join(codes)
        return self.known[id(run)]

    def repeat(self, item: Repeat) -> bytes:
        """A run again and again, its addresses moved each time."""
        if id(item) not in self.known:
            self.vectors = True
            columns = [self.fillers[each[0]].moved(each, item.moves) for each in item.run]
            self.known[id(item)] = b"".join(chain.from_iterable(zip(*columns, strict=False)))
        return self.known[id(item)]

    def reach(self, item: MachineInstruction) -> None:
        """Make the frame hold what a vector instruction accesses."""
        for operand in self.target.instruction(item.name).operands.values():
            if operand.pointers and item[f"{operand.name}.base"] == STACK:
                self.frame = max(self.frame, item[f"{operand.name}.disp"] + operand.tensor.bytes)

    def register(self, number: int) -> int:
        """The hardware's number of a pointer register."""
        try:
            return self.registers[number]
        except KeyError:
            raise IsaError(f"{number} is no pointer register: they are 0..{len(POINTERS) - 1}") from None

    def two(self, opcode: bytes, reg: int, rm: int) -> bytes:
        """An instruction on two pointer registers."""
        return on_register(opcode, self.register(reg), self.register(rm))

    def memory(self, opcode: bytes, register: int, base: int, disp: int, size: int = 8) -> bytes:
        """An instruction on a pointer register and `size` bytes of memory."""
        _check_word("a displacement", disp)
        if base == STACK:
            self.frame = max(self.frame, disp + size)
        return on_memory(opcode, self.register(register), self.register(base), disp)

    def label(self, item: control.Label) -> bytes:
        if item.name in self.labels:
            raise IsaError(f"label '{item.name}' stands twice")
        self.labels[item.name] = len(self.chunks)
        return b""

    def jump(self, kind: Kind, label: str, before: bytes = b"") -> bytes:
        self.jumps[len(self.chunks)] = Jump(kind, label, before)
        return b""

    def set_immediate(self, item: control.SetImmediate) -> bytes:
        return _constant(self.register(item.dst), item.value)

    def add_immediate(self, item: control.AddImmediate) -> bytes:
        _check_word("an addend", item.value)
        dst, src = self.register(item.dst), self.register(item.src)
        if dst != src:
            return on_memory(_ADDRESS, dst, src, item.value)
        return _changed(_PLUS, dst, item.value) if item.value else b""

    def multiply_immediate(self, item: control.MultiplyImmediate) -> bytes:
        _check_word("a factor", item.value)
        opcode = _MULTIPLY_SHORT if is_short(item.value) else _MULTIPLY_LONG
        return self.two(opcode, item.dst, item.src) + signed(item.value)

    def prefetch(self, item: control.Prefetch) -> bytes:
        _check_word("a displacement", item.disp)
        return on_memory(_PREFETCH, _HINTS[item.level], self.register(item.base), item.disp, wide=False)

    def if_less(self, item: control.BranchIfLess) -> bytes:
        return self.jump(Kind.LESS, item.label, self.two(_COMPARE, item.right, item.left))

    def if_zero(self, item: control.BranchIfZero) -> bytes:
        return self.jump(Kind.ZERO, item.label, self.two(_TEST, item.register, item.register))

    def loop(self, item: control.Loop) -> bytes:
        return self.jump(Kind.OTHER, item.label, on_register(_STEP, _DOWN, self.register(item.counter)))

    def set_mask(self, item: control.SetMask) -> bytes:
        if not 1 <= item.mask <= 7:
            raise IsaError(f"{item.mask} is no mask register: they are 1..7")
        bits = item.bits & _ALL_BITS
        move = next(move for width, move in _MASK_MOVES.items() if not bits >> width)
        return _constant(self.register(item.scratch), bits) + move.encode({"k": item.mask, "src": item.scratch})

    def call(self, item: control.Call) -> bytes:
        self.calls = True
        return on_register(_STEP, _CALL, self.register(item.function), wide=False)

    def leave(self, _: control.Return) -> bytes:
        self.returns.append(len(self.chunks))
        return b""

    def linked(self) -> bytes:
        """The code, with the ways in and out put around it and the branches bound to their labels."""
        if not self.returns:
            raise IsaError("the program has no Return")
        for name, at in self.labels.items():
            if at == len(self.chunks) - 1:
                raise IsaError(f"nothing comes after label '{name}'")
        way_out = b"".join(self.way_out())
        for place in self.returns:
            self.chunks[place] = way_out
        bind(self.chunks, self.jumps, {at: self.target_of(jump.label) for at, jump in self.jumps.items()})
        return b"".join([*self.way_in(), *self.chunks])

    def target_of(self, label: str) -> int:
        """The chunk that a label stands before."""
        if label not in self.labels:
            raise IsaError(f"there is no label '{label}'")
        return self.labels[label]

    def way_in(self) -> list[bytes]:
        return [*(in_opcode(_PUSH, number) for number in self.registers.saved), *self.move_stack(_MINUS)]

    def way_out(self) -> list[bytes]:
        cleared = [_CLEAR_UPPER] if self.vectors else []
        pops = [in_opcode(_POP, number) for number in self.registers.saved[::-1]]
        return [*cleared, *self.move_stack(_PLUS), *pops, _LEAVE]

    def move_stack(self, change: int) -> list[bytes]:
        """Room for the frame; where the function calls, its stack and the return address are a multiple of 16."""
        size = -(-self.frame // 16) * 16 + (8 if self.calls and len(self.registers.saved) % 2 == 0 else 0)
        return [_changed(change, _RSP, size)] if size else []


def _constant(register: int, value: int) -> bytes:
    """The shortest of four ways to set a register."""
    if not -(1 << 63) <= value < 1 << 64:
        raise IsaError(f"{value} does not fit 64 bits")
    if value == 0:
        return on_register(_XOR, register, register, wide=False)
    if 0 < value < 1 << 32:
        return in_opcode(_SET_LOW, register, value.to_bytes(4, "little"))
    if -(1 << 31) <= value < 0:
        return on_register(_SET, 0, register) + value.to_bytes(4, "little", signed=True)
    return in_opcode(_SET_LOW, register, (value & _ALL_BITS).to_bytes(8, "little"), wide=True)


def _changed(change: int, register: int, value: int) -> bytes:
    """A register plus or minus a number."""
    return on_register(_CHANGE_SHORT if is_short(value) else _CHANGE_LONG, change, register) + signed(value)


def _check_word(what: str, value: int) -> None:
    if not -(1 << 31) <= value < 1 << 31:
        raise IsaError(f"{what} of {value} does not fit 32 bits")


_EMIT: dict[type, Callable[[_Emitter, Any], bytes]] = {
    MachineInstruction: _Emitter.vector,
    tuple: _Emitter.filled,
    list: _Emitter.run,
    Repeat: _Emitter.repeat,
    control.Label: _Emitter.label,
    control.Move: lambda emitter, item: emitter.two(_MOVE, item.src, item.dst),
    control.SetImmediate: _Emitter.set_immediate,
    control.Add: lambda emitter, item: emitter.two(_ADD, item.src, item.dst),
    control.AddImmediate: _Emitter.add_immediate,
    control.Multiply: lambda emitter, item: emitter.two(_MULTIPLY, item.dst, item.src),
    control.MultiplyImmediate: _Emitter.multiply_immediate,
    control.LoadPointer: lambda emitter, item: emitter.memory(_LOAD, item.dst, item.base, item.disp),
    control.LoadWord: lambda emitter, item: emitter.memory(_LOAD_WORD, item.dst, item.base, item.disp, 4),
    control.StorePointer: lambda emitter, item: emitter.memory(_STORE, item.src, item.base, item.disp),
    control.Branch: lambda emitter, item: emitter.jump(Kind.ALWAYS, item.label),
    control.BranchIfLess: _Emitter.if_less,
    control.BranchIfZero: _Emitter.if_zero,
    control.Loop: _Emitter.loop,
    control.Prefetch: _Emitter.prefetch,
    control.SetMask: _Emitter.set_mask,
    control.Call: _Emitter.call,
    control.Order: lambda *_: _STORES_FIRST,
    control.Pause: lambda *_: _PAUSE,
    control.Return: _Emitter.leave,
}
