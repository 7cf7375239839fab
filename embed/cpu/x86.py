"""Encodes programs for x86-64 under the System V calling convention: the same items as for AArch64.

Pointer registers 0, 1, ... are rdi rsi rdx rcx r8 r9, rax r10 r11, then those a function must keep: rbx rbp r12..r15.
"""

from bisect import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import sub
from typing import Any

from iced_x86 import BlockEncoder, Code, Instruction, MemoryOperand, Register

from embed.cpu import control
from embed.cpu.control import STACK, Item, Level
from isa import Isa, IsaError, MachineInstruction
from isa.x86 import disassemble

POINTERS = (7, 6, 2, 1, 8, 9, 0, 10, 11, 3, 5, 12, 13, 14, 15)
"""The hardware's number of every pointer register."""

SAVED = (3, 5, 12, 13, 14, 15)
"""Registers that a function leaves as they were; vector and mask registers are all free."""

_RSP = 4
_PREFETCHES = {
    Level.L1: Code.PREFETCHT0_M8,
    Level.L2: Code.PREFETCHT1_M8,
    Level.L3: Code.PREFETCHT2_M8,
    Level.STREAM: Code.PREFETCHNTA_M8,
}
_MASK_MOVES = ((16, Code.VEX_KMOVW_KR_R32), (32, Code.VEX_KMOVD_KR_R32), (64, Code.VEX_KMOVQ_KR_R64))


@dataclass(frozen=True, slots=True)
class Assembled:
    """A function: its machine code, which does not depend on its address.

    `sizes` are the instructions of each item that it was assembled from, the way in with the first; empty if unknown.
    """

    code: bytes
    sizes: tuple[int, ...] = ()

    def assembly(self) -> str:
        """Text in Intel's syntax that GNU as turns into the same instructions, one a line, with labels."""
        return disassemble(self.code)


def assemble(items: Sequence[Item], target: Isa) -> Assembled:
    """Encode a function `void f(void **, int64_t, int64_t)`, with the saving and restoring of what it must keep.

    Raises IsaError for an unknown instruction, field or label, a pointer number that is not in `POINTERS`, or a value
    that does not fit.
    """
    emitter = _Emitter(target)
    ends = [0]
    for item in items:
        _EMIT[type(item)](emitter, item)
        ends.append(len(emitter.out))
    return Assembled(emitter.linked(), emitter.sizes(ends))


class _Registers(dict[int, int]):
    """The hardware's numbers of the pointer registers that were asked for."""

    def __missing__(self, number: int) -> int:
        if number != STACK and not 0 <= number < len(POINTERS):
            raise KeyError(number)
        found = self[number] = _RSP if number == STACK else POINTERS[number]
        return found

    @property
    def saved(self) -> list[int]:
        """Those in use that the caller wants back."""
        return [self[number] for number in sorted(self) if self[number] in SAVED]


class _Emitter:
    """Turns items into instructions of iced-x86, in order; a Return stays open until all is known.

    Where an instruction has several encodings it takes the one that GNU as does.
    """

    def __init__(self, target: Isa) -> None:
        self.target = target
        self.codec = target.x86
        self.registers = _Registers()
        self.out: list[Any] = []
        self.known: dict[int, Any] = {}
        self.returns: list[int] = []
        self.branches: list[tuple[Any, str]] = []
        self.labels: dict[str, int] = {}
        self.frame = 0
        self.has_vectors = False
        self.calls = False

    def add(self, instruction: Any) -> None:
        self.out.append(instruction)

    def vector(self, item: MachineInstruction) -> None:
        """An item that stands in several places is encoded once."""
        known = self.known.get(id(item))
        if known is None:
            known = self.known[id(item)] = self.codec.instruction(item, self.registers)
            self.has_vectors = True
            if STACK in item.fields.values():
                self.reach(item)
        self.out.append(known)

    def reach(self, item: MachineInstruction) -> None:
        """Make the frame hold what a vector instruction accesses."""
        for operand in self.target.instruction(item.name).operands.values():
            if operand.pointers and item[f"{operand.name}.base"] == STACK:
                self.frame = max(self.frame, item[f"{operand.name}.disp"] + operand.tensor.bytes)

    def register(self, number: int) -> int:
        """The 64-bit register of a pointer number, as iced names it."""
        try:
            return int(Register.RAX) + self.registers[number]
        except KeyError:
            raise IsaError(f"{number} is no pointer register: they are 0..{len(POINTERS) - 1}") from None

    def place(self, base: int, disp: int, size: int = 8) -> Any:
        """The memory operand at a displacement."""
        _check_word("a displacement", disp)
        if base == STACK:
            self.frame = max(self.frame, disp + size)
        return MemoryOperand(self.register(base), displ=disp, displ_size=1 if disp else 0)

    def label(self, item: control.Label) -> None:
        if item.name in self.labels:
            raise IsaError(f"label '{item.name}' stands twice")
        self.labels[item.name] = len(self.out)

    def branch(self, code: int, label: str) -> None:
        made = Instruction.create_branch(code, 0)
        self.branches.append((made, label))
        self.add(made)

    def set_immediate(self, item: control.SetImmediate) -> None:
        self.constant(self.register(item.dst), item.value)

    def constant(self, register: int, value: int) -> None:
        """The shortest of four ways to set a register."""
        if not -(1 << 63) <= value < 1 << 64:
            raise IsaError(f"{value} does not fit 64 bits")
        low = register - Register.RAX + Register.EAX
        if value == 0:
            self.add(Instruction.create_reg_reg(Code.XOR_RM32_R32, low, low))
        elif 0 < value < 1 << 32:
            self.add(Instruction.create_reg_u32(Code.MOV_R32_IMM32, low, value))
        elif -(1 << 31) <= value < 0:
            self.add(Instruction.create_reg_i32(Code.MOV_RM64_IMM32, register, value))
        else:
            self.add(Instruction.create_reg_u64(Code.MOV_R64_IMM64, register, value & ((1 << 64) - 1)))

    def add_immediate(self, item: control.AddImmediate) -> None:
        _check_word("an addend", item.value)
        dst, src = self.register(item.dst), self.register(item.src)
        if dst != src:
            place = MemoryOperand(src, displ=item.value, displ_size=1)
            self.add(Instruction.create_reg_mem(Code.LEA_R64_M, dst, place))
        elif item.value:
            code = Code.ADD_RM64_IMM8 if _is_short(item.value) else Code.ADD_RM64_IMM32
            self.add(Instruction.create_reg_i32(code, dst, item.value))

    def multiply_immediate(self, item: control.MultiplyImmediate) -> None:
        _check_word("a factor", item.value)
        dst, src = self.register(item.dst), self.register(item.src)
        code = Code.IMUL_R64_RM64_IMM8 if _is_short(item.value) else Code.IMUL_R64_RM64_IMM32
        self.add(Instruction.create_reg_reg_i32(code, dst, src, item.value))

    def two(self, code: int, dst: int, src: int) -> None:
        self.add(Instruction.create_reg_reg(code, self.register(dst), self.register(src)))

    def load(self, code: int, item: control.LoadPointer | control.LoadWord, size: int) -> None:
        self.add(Instruction.create_reg_mem(code, self.register(item.dst), self.place(item.base, item.disp, size)))

    def store(self, item: control.StorePointer) -> None:
        place = self.place(item.base, item.disp)
        self.add(Instruction.create_mem_reg(Code.MOV_RM64_R64, place, self.register(item.src)))

    def prefetch(self, item: control.Prefetch) -> None:
        self.add(Instruction.create_mem(_PREFETCHES[item.level], self.place(item.base, item.disp, 0)))

    def if_less(self, item: control.BranchIfLess) -> None:
        self.two(Code.CMP_RM64_R64, item.left, item.right)
        self.branch(Code.JL_REL32_64, item.label)

    def if_zero(self, item: control.BranchIfZero) -> None:
        self.two(Code.TEST_RM64_R64, item.register, item.register)
        self.branch(Code.JE_REL32_64, item.label)

    def loop(self, item: control.Loop) -> None:
        self.add(Instruction.create_reg(Code.DEC_RM64, self.register(item.counter)))
        self.branch(Code.JNE_REL32_64, item.label)

    def set_mask(self, item: control.SetMask) -> None:
        if not 1 <= item.mask <= 7:
            raise IsaError(f"{item.mask} is no mask register: they are 1..7")
        scratch = self.register(item.scratch)
        bits = item.bits & ((1 << 64) - 1)
        self.constant(scratch, bits)
        width, code = next(move for move in _MASK_MOVES if not bits >> move[0])
        source = scratch if width == 64 else scratch - Register.RAX + Register.EAX
        self.add(Instruction.create_reg_reg(code, Register.K0 + item.mask, source))

    def call(self, item: control.Call) -> None:
        self.calls = True
        self.add(Instruction.create_reg(Code.CALL_RM64, self.register(item.function)))

    def leave(self, _: control.Return) -> None:
        self.returns.append(len(self.out))
        self.add(None)

    def linked(self) -> bytes:
        """The code, with the ways in and out put around it and the branches bound to their labels."""
        if not self.returns:
            raise IsaError("the program has no Return")
        self.bind()
        way_out = self.way_out()
        encoder = BlockEncoder(64)
        encoder.add_many(self.way_in())
        for start, stop in zip([0, *(at + 1 for at in self.returns)], [*self.returns, len(self.out)], strict=True):
            encoder.add_many(self.out[start:stop])
            if stop < len(self.out):
                first, *rest = [each.copy() for each in way_out]
                first.ip = stop + 1 if stop in self.labels.values() else 0
                encoder.add_many([first, *rest])
        return bytes(encoder.encode(0))

    def sizes(self, ends: Sequence[int]) -> tuple[int, ...]:
        """Instructions of each item, given where each ends; a Return is the whole way out."""
        found = list(map(sub, ends[1:], ends))
        found[0] += len(self.way_in())
        for place in self.returns:
            found[bisect(ends, place) - 1] = len(self.way_out())
        return tuple(found)

    def bind(self) -> None:
        """Instructions that labels stand before are told apart by an address, one more than their place."""
        for made, label in self.branches:
            if label not in self.labels:
                raise IsaError(f"there is no label '{label}'")
            made.near_branch64 = self.labels[label] + 1
        for name, at in self.labels.items():
            if at == len(self.out):
                raise IsaError(f"nothing comes after label '{name}'")
            if self.out[at] is not None:
                self.out[at] = self.out[at].copy()
                self.out[at].ip = at + 1

    def way_in(self) -> list[Any]:
        pushes = [Instruction.create_reg(Code.PUSH_R64, Register.RAX + number) for number in self.registers.saved]
        return [*pushes, *self.move_stack(Code.SUB_RM64_IMM8, Code.SUB_RM64_IMM32)]

    def way_out(self) -> list[Any]:
        pops = [Instruction.create_reg(Code.POP_R64, Register.RAX + number) for number in self.registers.saved[::-1]]
        cleared = [Instruction.create(Code.VEX_VZEROUPPER)] if self.has_vectors else []
        freed = self.move_stack(Code.ADD_RM64_IMM8, Code.ADD_RM64_IMM32)
        return [*cleared, *freed, *pops, Instruction.create(Code.RETNQ)]

    def move_stack(self, short: int, long: int) -> list[Any]:
        """Room for the frame; where the function calls, its stack and the return address are a multiple of 16."""
        size = -(-self.frame // 16) * 16 + (8 if self.calls and len(self.registers.saved) % 2 == 0 else 0)
        return [Instruction.create_reg_i32(short if _is_short(size) else long, Register.RSP, size)] if size else []


def _is_short(value: int) -> bool:
    return -128 <= value < 128


def _check_word(what: str, value: int) -> None:
    if not -(1 << 31) <= value < 1 << 31:
        raise IsaError(f"{what} of {value} does not fit 32 bits")


_EMIT: dict[type, Callable[[_Emitter, Any], None]] = {
    MachineInstruction: _Emitter.vector,
    control.Label: _Emitter.label,
    control.Move: lambda emitter, item: emitter.two(Code.MOV_RM64_R64, item.dst, item.src),
    control.SetImmediate: _Emitter.set_immediate,
    control.Add: lambda emitter, item: emitter.two(Code.ADD_RM64_R64, item.dst, item.src),
    control.AddImmediate: _Emitter.add_immediate,
    control.Multiply: lambda emitter, item: emitter.two(Code.IMUL_R64_RM64, item.dst, item.src),
    control.MultiplyImmediate: _Emitter.multiply_immediate,
    control.LoadPointer: lambda emitter, item: emitter.load(Code.MOV_R64_RM64, item, 8),
    control.LoadWord: lambda emitter, item: emitter.load(Code.MOVSXD_R64_RM32, item, 4),
    control.StorePointer: _Emitter.store,
    control.Branch: lambda emitter, item: emitter.branch(Code.JMP_REL32_64, item.label),
    control.BranchIfLess: _Emitter.if_less,
    control.BranchIfZero: _Emitter.if_zero,
    control.Loop: _Emitter.loop,
    control.Prefetch: _Emitter.prefetch,
    control.SetMask: _Emitter.set_mask,
    control.Call: _Emitter.call,
    control.Order: lambda *_: None,
    control.Pause: lambda emitter, _: emitter.add(Instruction.create(Code.PAUSE)),
    control.Return: _Emitter.leave,
}
