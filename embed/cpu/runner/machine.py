"""The two kinds of register machine: how their programs are assembled, and where they run."""

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from threading import Lock
from typing import Protocol

from dataflow.errors import UserError
from embed.cpu.assembler import aarch64, aarch64_frame, x86
from embed.cpu.assembler.control import Item
from embed.cpu.assembler.program import Part
from embed.cpu.runner import emulator, qemu
from embed.cpu.runner.native import NativeFunction, pointers
from embed.cpu.runner.team import Assemble, team
from embed.physical import Array
from isa.features import require
from isa.model import Isa


class Code(Protocol):
    """An assembled function."""

    @property
    def code(self) -> bytes: ...

    def assembly(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Machine:
    """`architecture` as `platform.machine()` names it; `decode` reads the code that `assemble` made.

    `sizes` are the instructions that `assemble` makes of each item, the way in with the first. `pointers` is how many
    pointer registers programs have.
    """

    architecture: str
    assemble: Callable[[Sequence[Part], Isa], Code]
    sizes: Callable[[Sequence[Item], Isa], Sequence[int]]
    decode: Callable[[bytes, Isa], Code]
    pointers: int

    @property
    def native(self) -> bool:
        """Whether this computer runs the code itself."""
        return platform.machine() == self.architecture


_X86 = Machine("x86_64", x86.assemble, x86.sizes, lambda code, _: x86.Assembled(code), len(x86.POINTERS))
_ARM = Machine("aarch64", aarch64.assemble, aarch64.sizes, aarch64.decode, len(aarch64_frame.POINTERS))


def machine_of(target: Isa) -> Machine:
    """The machine of an ISA; raises UserError for a file that names no processor."""
    for machine in (_X86, _ARM):
        if machine.architecture == target.processor:
            return machine
    raise UserError(f"{target.name} names no processor, so there is no code around its instructions")


Call = Callable[[Sequence[int]], None]
"""Runs tiles of the outermost loop: those between each pair of the numbers given may have a thread of their own."""

Function = Callable[[Sequence[Array]], Call]
"""Takes the arrays that the code reads and writes, in the order of its pointers."""


def load(target: Isa, code: Code) -> Function:
    """The function that assembled code is: native, or in an emulator where this computer is another machine.

    Raises UserError where the CPU lacks a feature that the code needs, or an emulator is missing.
    """
    machine = machine_of(target)
    if machine.native:
        require(f"{target.name} kernels", target.missing_features())
        return _bound(NativeFunction(code.code), lambda items: machine.assemble(items, target).code)
    if not isinstance(code, aarch64.Code):
        raise UserError(f"{target.name} kernels run on {machine.architecture}, not on {platform.machine()}")
    used = {feature for owner, item in code.words for feature in owner.instructions[item.name].requires}
    run = qemu.run if used & emulator.MISSING else emulator.run
    turn = Lock()
    return lambda arrays: lambda edges: _emulate(turn, run, code, arrays, edges)


def check_runs(target: Isa) -> None:
    """Raise UserError where this computer is another machine and the emulator for the ISA's features is missing."""
    if machine_of(target).native:
        return
    features = {feature for entry in target.instructions.values() for feature in entry.requires}
    if features & emulator.MISSING and not qemu.available():
        raise UserError(f"running {target.name} here needs {qemu.PROGRAM} (Debian: apt-get install qemu-user)")
    if not features & emulator.MISSING and emulator.missing():
        raise UserError(f"running {target.name} here needs unicorn: pip install 'isa-embed[arm]'")


def _bound(function: NativeFunction, assemble: Assemble) -> Function:
    def bind(arrays: Sequence[Array]) -> Call:
        table, call = pointers([array.ctypes.data for array in arrays]), function.call

        def run(edges: Sequence[int]) -> None:
            if len(edges) > 2:
                team(len(edges) - 1, assemble).run(function, table, edges)
            else:
                call(table, *edges)

        return run

    return bind


def _emulate(
    turn: Lock, run: Callable[..., object], code: aarch64.Code, arrays: Sequence[Array], edges: Sequence[int]
) -> None:
    """Emulators want row-major arrays: the memory behind each array, in the order in which it lies.

    They write whole arrays back, so that threads would take turns: there is one.
    """
    with turn:
        for begin, end in pairwise(edges):
            run(code, [_lying(array) for array in arrays], begin, end)


def _lying(array: Array) -> Array:
    order = sorted(range(array.ndim), key=lambda axis: -array.strides[axis])
    return array.transpose(order)
