"""x86-64 instructions on general registers as bytes, 64 bits wide unless told otherwise (Intel SDM, volume 2A, 2.2.1).

Registers are numbered as the hardware does (rax 0, rcx 1, ... r15 15).
"""

from functools import cache

_SIB_BASE, _WITH_DISP = 4, 5
"""The low bits of bases that need a SIB, and of those that need a displacement."""

_RSP_SIB = b"\x24"
"""The SIB of such a base without an index."""


def is_short(value: int) -> bool:
    """Whether a signed number fits one byte."""
    return -128 <= value < 128


def signed(value: int) -> bytes:
    """A signed number in one byte, or else in four."""
    return value.to_bytes(1 if is_short(value) else 4, "little", signed=True)


@cache
def on_register(opcode: bytes, reg: int, rm: int, *, wide: bool = True) -> bytes:
    """An instruction on two registers but for its immediate; `reg` is also what a one-register opcode has there."""
    return _prefix(reg, rm, wide) + opcode + bytes([0xC0 | (reg & 7) << 3 | rm & 7])


def on_memory(opcode: bytes, reg: int, base: int, disp: int, *, wide: bool = True) -> bytes:
    """An instruction on a register and the memory at a displacement of 32 bits from a base."""
    mode = 0 if not disp and base & 7 != _WITH_DISP else 1 if is_short(disp) else 2
    sib = _RSP_SIB if base & 7 == _SIB_BASE else b""
    modrm = bytes([mode << 6 | (reg & 7) << 3 | base & 7])
    return _prefix(reg, base, wide) + opcode + modrm + sib + (signed(disp) if mode else b"")


def in_opcode(opcode: int, register: int, rest: bytes = b"", *, wide: bool = False) -> bytes:
    """An instruction whose opcode holds the register."""
    return _prefix(0, register, wide) + bytes([opcode | register & 7]) + rest


def _prefix(reg: int, rm: int, wide: bool) -> bytes:
    """REX, where there is something to say with it."""
    bits = wide << 3 | (reg >> 3) << 2 | rm >> 3
    return bytes([0x40 | bits]) if bits else b""
