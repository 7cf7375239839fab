"""VEX and EVEX instructions as bytes: the form of an entry, filled with registers, an address and an immediate.

Each bit of a register's number flips one bit of the instruction, whatever the other operands are: an instruction is its
bytes for registers 0, flipped (Intel SDM, volume 2A, sections 2.3.5 and 2.7.1 say where the bits are).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from struct import Struct
from typing import Any

from iced_x86 import EncodingKind, MandatoryPrefix, OpCodeInfo, OpCodeOperandKind, OpCodeTableKind, TupleType

from isa.errors import IsaError, listing
from isa.forms import Form, ImmediateSlot, MemorySlot, RegisterSlot

Flips = Mapping[int, int]
"""The bits that a register's number flips, by the number."""

_GENERAL = ("r32", "r64")
_PREFIXES = (MandatoryPrefix.P66, MandatoryPrefix.PF3, MandatoryPrefix.PF2)
_MAPS = {OpCodeTableKind.T0F: 1, OpCodeTableKind.T0F38: 2, OpCodeTableKind.T0F3A: 3}
_R_HIGH, _B, _X, _R, _V, _MASK, _V_HIGH = 12, 13, 14, 15, 19, 24, 27
"""Where the bits of registers are that are not in ModRM, counted from the lowest of the first byte."""

_SIB, _NO_INDEX, _WITH_DISP, _RSP = 4, 4, 5, 4
"""ModRM.rm before a SIB; SIB.index of none; the low bits of bases that need a displacement; the number of rsp."""

_SCALES = (1, 2, 4, 8)
_WORD = Struct("<i").pack
_BYTES = {count: count.to_bytes(1, signed=True) for count in range(-128, 128)}
_KINDS = {value: name for name, value in vars(OpCodeOperandKind).items() if isinstance(value, int)}
_TUPLES = {value: name for name, value in vars(TupleType).items() if isinstance(value, int)}


@dataclass(frozen=True, slots=True)
class Address:
    """A memory operand: its fields; for every base what it flips, the bytes with a SIB, and whether it can stand alone.

    ModRM begins at bit `modrm`. A displacement in one byte counts `unit` bytes. `strided`: there is a SIB always.
    """

    base: str
    index: str
    scale: str
    disp: str
    bases: Mapping[int, tuple[int, int, bool]]
    pointers: Mapping[int, int]
    modrm: int
    unit: int
    strided: bool

    @classmethod
    def of(cls, info: Any, slot: MemorySlot, size: int, pointers: Mapping[int, int]) -> "Address":
        """The address of an instruction of `size` bytes up to ModRM."""
        base, index, scale, disp = (f"{slot.name}.{part}" for part in ("base", "index", "scale", "disp"))
        modrm = 8 * size - 8
        match = re.fullmatch(r"N(\d+)(?:B(\d+))?", _TUPLES[info.tuple_type])
        assert match
        unit = int(match[2] if slot.broadcast else match[1])
        strided = any(_KINDS[kind] == "SIBMEM" for kind in info.op_kinds())
        bases = {number: _based(hardware, modrm, strided) for number, hardware in pointers.items()}
        return cls(base, index, scale, disp, bases, pointers, modrm, unit, strided)

    def added(self, code: int, fields: Mapping[str, int]) -> tuple[int, int, bytes]:
        """An instruction with its address, its size, what follows; raises KeyError (of a register) or ValueError."""
        if self.index in fields or self.scale in fields:
            flips, size, alone = self.indexed(fields)
        else:
            flips, size, alone = self.bases[fields.get(self.base, 0)]
        mode, tail = self.displaced(fields.get(self.disp, 0), alone)
        return code ^ flips | mode << self.modrm, size, tail

    def displaced(self, disp: int, alone: bool) -> tuple[int, bytes]:
        """What a displacement says in ModRM, and its bytes; raises ValueError for one that does not fit."""
        if alone and not disp:
            return 0, b""
        count, rest = divmod(disp, self.unit)
        if not rest and -128 <= count < 128:
            return 0x40, _BYTES[count]
        if not -(1 << 31) <= disp < 1 << 31:
            raise ValueError(f"{self.disp} = {disp} does not fit 32 bits; add it to the pointer")
        return 0x80, _WORD(disp)

    def indexed(self, fields: Mapping[str, int]) -> tuple[int, int, bool]:
        """What a base and an index flip, the bytes, and whether they can stand alone."""
        factor, number, base = fields.get(self.scale, 0), fields.get(self.index, 0), fields.get(self.base, 0)
        if factor == number == 0:
            return self.bases[base]
        if factor not in _SCALES:
            raise ValueError(f"{self.scale} = {factor}; with an index it is one of: {listing(map(str, _SCALES))}")
        index = self.pointers[number]
        if index == _RSP:
            raise ValueError("rsp cannot be an index")
        return _with_sib(self.pointers[base], index, factor, self.modrm)


def _based(number: int, modrm: int, strided: bool) -> tuple[int, int, bool]:
    """The same of a base alone: those that ModRM cannot say need a SIB."""
    if strided or number & 7 == _SIB:
        return _with_sib(number, _NO_INDEX, 1, modrm)
    return _flips("RM", number, modrm), modrm // 8 + 1, number & 7 != _WITH_DISP


def _with_sib(base: int, index: int, scale: int, modrm: int) -> tuple[int, int, bool]:
    sib = _SCALES.index(scale) << 6 | (index & 7) << 3 | base & 7
    high = (base >> 3) << _B | (index >> 3) << _X
    return high | _SIB << modrm | sib << modrm + 8, modrm // 8 + 2, base & 7 != _WITH_DISP


def _flips(place: str, number: int, modrm: int) -> int:
    """What a register flips: `REG` and `RM` are in ModRM, `VVVV` in the prefix, as are the high bits of all."""
    match place:
        case "VVVV":
            return (number & 15) << _V | (number >> 4) << _V_HIGH
        case "REG":
            return (number & 7) << modrm + 3 | (number >> 3 & 1) << _R | (number >> 4) << _R_HIGH
    return (number & 7) << modrm | (number >> 3 & 1) << _B | (number >> 4) << _X


@dataclass(frozen=True, slots=True)
class Template:
    """An entry ready to be filled in: `code` are its `size` bytes up to ModRM, every register 0.

    `registers` have the flips of each field, and `general` are those of pointer registers. The immediate is a field, or
    a number and no field. `short`: VEX takes two bytes where the registers allow it; `unique`: they must differ.
    """

    name: str
    code: int
    size: int
    fields: frozenset[str]
    registers: tuple[tuple[str, Flips], ...]
    general: tuple[str, ...]
    address: Address | None
    immediate: tuple[str, int] | None
    short: bool
    unique: bool

    @classmethod
    def of(cls, name: str, form: Form, pointers: Mapping[int, int]) -> "Template":
        """The template of an entry whose pointer registers are numbered by `pointers`."""
        info = OpCodeInfo(form.code)
        memory = next((slot for slot in form.slots if isinstance(slot, MemorySlot)), None)
        start = _start(info, form, memory)
        size, modrm = len(start), 8 * len(start) - 8
        registers = []
        for slot, kind in zip(form.slots, info.op_kinds(), strict=True):
            if isinstance(slot, RegisterSlot):
                numbers = pointers if slot.file in _GENERAL else {number: number for number in range(slot.count)}
                place = _KINDS[kind].rpartition("_")[2]
                registers.append((slot.field, {own: _flips(place, n, modrm) for own, n in numbers.items()}))
        if form.mask:
            registers.append((form.mask, {number: number << _MASK for number in range(1, 8)}))
        general = tuple(s.field for s in form.slots if isinstance(s, RegisterSlot) and s.file in _GENERAL)
        address = Address.of(info, memory, size, pointers) if memory else None
        immediate = next(((s.field, s.value or 0) for s in form.slots if isinstance(s, ImmediateSlot)), None)
        names = [*(field for field, _ in registers), *(immediate or ())[:1]]
        names += [address.base, address.index, address.scale, address.disp] if address else []
        short = info.encoding == EncodingKind.VEX and info.table == OpCodeTableKind.T0F and not info.w
        slots = (tuple(registers), general, address, immediate, short, info.requires_unique_reg_nums)
        return cls(name, int.from_bytes(start, "little"), size, frozenset(filter(None, names)), *slots)

    def encode(self, fields: Mapping[str, int]) -> bytes:
        """The bytes of an instruction; raises IsaError for a field that there is not, or a value that does not fit."""
        if not self.fields.issuperset(fields):
            wrong = next(name for name in fields if name not in self.fields)
            raise IsaError(f"{self.name} has no field '{wrong}'; it has {listing(sorted(self.fields))}")
        code, size, tail = self.code, self.size, b""
        try:
            for name, flips in self.registers:
                code ^= flips[fields.get(name, 0)]
            if self.address is not None:
                code, size, tail = self.address.added(code, fields)
        except KeyError:
            raise self._wrong(fields) from None
        except ValueError as error:
            raise IsaError(f"{self.name}: {error}") from None
        if self.immediate is not None:
            tail += bytes([self._number(*self.immediate, fields)])
        if self.unique:
            self._check_unique(fields)
        return self.head(code, size) + tail

    def head(self, code: int, size: int) -> bytes:
        """The bytes up to the displacement; VEX takes two instead of three where the registers allow it."""
        if self.short and code >> _B & 0b11 == 0b11:
            code, size = code >> 24 << 16 | (code >> _R & 1) << 15 | (code >> 16 & 0x7F) << 8 | 0xC5, size - 1
        return code.to_bytes(size, "little")

    def _number(self, name: str, value: int, fields: Mapping[str, int]) -> int:
        """The immediate."""
        number = fields.get(name, 0) if name else value
        if not 0 <= number < 256:
            raise IsaError(f"{self.name}: {name} = {number} does not fit 8 unsigned bits (0..255)")
        return number

    def _check_unique(self, fields: Mapping[str, int]) -> None:
        """Some instructions (of AMX) are undefined where two of their registers are one."""
        names = [name for name, _ in self.registers]
        if len({fields.get(name, 0) for name in names}) < len(names):
            raise IsaError(f"{self.name}: {listing(names)} are different registers")

    def _wrong(self, fields: Mapping[str, int]) -> IsaError:
        """What to say of the first register that there is not."""
        for name, flips in self.registers:
            number = fields.get(name, 0)
            if number not in flips and name not in self.general:
                kind = "register" if 0 in flips else "mask register"
                return IsaError(f"{self.name}: {name} = {number} is no {kind}: they are {min(flips)}..{max(flips)}")
        pointers = [(name, flips) for name, flips in self.registers if name in self.general]
        if self.address is not None:
            pointers += [(name, self.address.pointers) for name in (self.address.base, self.address.index)]
        name = next(name for name, known in pointers if fields.get(name, 0) not in known)
        return IsaError(f"{self.name}: {name} = {fields.get(name, 0)} is no pointer register")


def _start(info: Any, form: Form, memory: MemorySlot | None) -> bytes:
    """The bytes up to ModRM with registers 0, whose bits in the prefix are inverted."""
    prefix = _PREFIXES.index(info.mandatory_prefix) + 1 if info.mandatory_prefix in _PREFIXES else 0
    wide, table = info.w << 7, _MAPS[info.table]
    if info.encoding == EncodingKind.EVEX:
        broadcast = memory is not None and memory.broadcast
        last = form.zeroing << 7 | info.l << 5 | broadcast << 4 | 0x08
        start = [0x62, 0xF0 | table, wide | 0x7C | prefix, last]
    else:
        start = [0xC4, 0xE0 | table, wide | 0x78 | info.l << 2 | prefix]
    return bytes([*start, info.op_code, (0 if memory else 0xC0) | max(0, info.group_index) << 3])
