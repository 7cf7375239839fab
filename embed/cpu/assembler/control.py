"""Control items: what a program for a register machine consists of besides the vector instructions of its ISA file.

Pointer registers hold 64 bits and are numbered 0, 1, ...; a calling convention maps the numbers to registers, the
first ones to the arguments in their order. `STACK` points to the frame of the function and is never written. No item
leaves a value in the flags, so items can be put in any order that their registers allow.

Items are never changed once made. They are not frozen, because kernels make them by the dozen and frozen ones take
three times as long.
"""

from dataclasses import dataclass
from enum import Enum

from isa.machine import MachineInstruction

STACK = -1
"""The pointer register of the frame: `LoadPointer(3, STACK, 8)` reads the second word of it."""


@dataclass(slots=True)
class Label:
    """The place that branches to `name` go to."""

    name: str


@dataclass(slots=True)
class Move:
    """dst = src."""

    dst: int
    src: int


@dataclass(slots=True)
class SetImmediate:
    """dst = value, any 64-bit integer, signed or not."""

    dst: int
    value: int


@dataclass(slots=True)
class Add:
    """dst = dst + src."""

    dst: int
    src: int


@dataclass(slots=True)
class AddImmediate:
    """dst = src + value; the value is a signed 32-bit integer."""

    dst: int
    src: int
    value: int


@dataclass(slots=True)
class Multiply:
    """dst = dst * src, the low 64 bits."""

    dst: int
    src: int


@dataclass(slots=True)
class MultiplyImmediate:
    """dst = src * value, the low 64 bits; the value is a signed 32-bit integer."""

    dst: int
    src: int
    value: int


@dataclass(slots=True)
class LoadPointer:
    """dst = the 64-bit word at base + disp."""

    dst: int
    base: int
    disp: int = 0


@dataclass(slots=True)
class LoadWord:
    """dst = the 32-bit word at base + disp, sign-extended."""

    dst: int
    base: int
    disp: int = 0


@dataclass(slots=True)
class StorePointer:
    """The 64-bit word at base + disp = src."""

    src: int
    base: int
    disp: int = 0


@dataclass(slots=True)
class Branch:
    """Continue at the label."""

    label: str


@dataclass(slots=True)
class BranchIfLess:
    """Continue at the label if left < right, as signed integers."""

    left: int
    right: int
    label: str


@dataclass(slots=True)
class BranchIfZero:
    """Continue at the label if the register is zero: the guard before a loop that may have no trips."""

    register: int
    label: str


@dataclass(slots=True)
class Loop:
    """The end of a counted loop: subtract 1 from the counter and continue at the label while it is not zero."""

    counter: int
    label: str


class Level(Enum):
    """The cache that a prefetch is for; STREAM is data that is used once."""

    L1 = 1
    L2 = 2
    L3 = 3
    STREAM = 4


@dataclass(slots=True)
class Prefetch:
    """Ask for the cache line of base + disp; never faults."""

    base: int
    disp: int = 0
    level: Level = Level.L1


@dataclass(slots=True)
class SetMask:
    """Mask register `mask` (x86: k1..k7) = the low 64 bits; overwrites the pointer register `scratch`."""

    mask: int
    bits: int
    scratch: int


@dataclass(slots=True)
class Call:
    """Call the `void f(void **, int64_t, int64_t)` whose address is in the register, with pointers 0, 1, 2.

    Afterwards only those registers hold what they held that a function must keep.
    """

    function: int


@dataclass(slots=True)
class Order:
    """Other threads see the reads and writes before this place before those after it, but a later read may go first."""


@dataclass(slots=True)
class Pause:
    """Tell the core that this loop waits for another thread."""


@dataclass(slots=True)
class Return:
    """Leave the function; a program ends with one."""


Control = (
    Label
    | Move
    | SetImmediate
    | Add
    | AddImmediate
    | Multiply
    | MultiplyImmediate
    | LoadPointer
    | LoadWord
    | StorePointer
    | Branch
    | BranchIfLess
    | BranchIfZero
    | Loop
    | Prefetch
    | SetMask
    | Call
    | Order
    | Pause
    | Return
)

Item = MachineInstruction | Control
"""One item of a program: a vector entry of the ISA file by name, or control."""
