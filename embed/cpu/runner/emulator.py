"""Runs AArch64 functions on numpy arrays in the unicorn emulator, and counts what was executed."""

from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from dataflow.errors import UserError
from embed.cpu.assembler.aarch64 import Code

Array = npt.NDArray[Any]

MISSING = frozenset({"i8mm", "bf16"})
"""CPU features (of `requires`) that unicorn 2 does not execute, whatever the CPU model: use `embed.cpu.runner.qemu`."""

_PAGE = 1 << 12
_CODE, _STACK, _STACK_BYTES, _POINTERS = 0x1000_0000, 0x2000_0000, 1 << 20, 0x3000_0000
_ARRAYS = 0x1_0000_0000
_EXIT = 0x0FFF_F000
_GUARD = 1 << 16
_REGISTERS = 31


def run(function: Code, arrays: Sequence[Array], begin: int = 0, end: int = 1) -> Counter[str]:
    """Call `function(pointers of arrays, begin, end)`; returns how often each instruction ran, by name.

    The arrays are C-contiguous; the writable ones hold the result afterwards. Raises UserError if unicorn is missing,
    an array is not contiguous, the function faults or has an instruction that unicorn lacks, or it does not
    keep the registers that AAPCS64 says it must.
    """
    unicorn, arm = _unicorn()
    machine = unicorn.Uc(unicorn.UC_ARCH_ARM64, unicorn.UC_MODE_ARM)
    machine.ctl_set_cpu_model(arm.UC_CPU_ARM64_MAX)
    places = _place(machine, function, arrays)
    kept = _prepare(machine, arm, begin, end)
    blocks: Counter[tuple[int, int]] = Counter()
    machine.hook_add(unicorn.UC_HOOK_BLOCK, lambda _, address, size, __: blocks.update(((address, size),)))
    try:
        machine.emu_start(_CODE, _EXIT)
    except unicorn.UcError as error:
        raise UserError(_fault(function, machine.reg_read(arm.UC_ARM64_REG_PC), str(error))) from None
    _check_kept(machine, kept)
    for array, place in zip(arrays, places, strict=True):
        if array.flags.writeable and array.nbytes:
            array.reshape(-1).view(np.uint8)[...] = np.frombuffer(machine.mem_read(place, array.nbytes), np.uint8)
    return _counted(function.names, blocks)


def missing() -> bool:
    """Whether unicorn is not installed."""
    return find_spec("unicorn") is None


def _unicorn() -> tuple[ModuleType, ModuleType]:
    try:
        import unicorn
        import unicorn.arm64_const as arm
    except ImportError:
        raise UserError("emulating AArch64 needs unicorn: pip install 'isa-embed[arm]'") from None
    return unicorn, arm


def _place(machine: Any, function: Code, arrays: Sequence[Array]) -> list[int]:
    """Map code, stack and arrays, unmapped pages between; the address of each array, which ends where a page does."""
    machine.mem_map(_CODE, _pages(len(function.code)), 5)
    machine.mem_write(_CODE, function.code)
    machine.mem_map(_STACK, _STACK_BYTES)
    machine.mem_map(_POINTERS, _pages(8 * len(arrays)))
    places, at = [], _ARRAYS
    for number, array in enumerate(arrays):
        if not array.flags.c_contiguous:
            raise UserError(f"array {number} is not C-contiguous")
        machine.mem_map(at, _pages(array.nbytes))
        places.append(at + _pages(array.nbytes) - array.nbytes)
        machine.mem_write(places[-1], array.tobytes())
        at += _pages(array.nbytes) + _GUARD
    machine.mem_write(_POINTERS, np.array(places, np.uint64).tobytes())
    return places


def _pages(size: int) -> int:
    return max(1, -(-size // _PAGE)) * _PAGE


def _prepare(machine: Any, arm: ModuleType, begin: int, end: int) -> dict[int, int]:
    """Set arguments, stack and return address; every other register gets a value. Returns what must be kept."""
    values = {_x(arm, number): 0x1234_5678_9ABC_0000 + number for number in range(_REGISTERS)}
    vectors = {arm.UC_ARM64_REG_D0 + number: 0x4242_0000_0000_0000 + number for number in range(32)}
    arguments = {_x(arm, 0): _POINTERS, _x(arm, 1): begin, _x(arm, 2): end, _x(arm, 30): _EXIT}
    stack = {arm.UC_ARM64_REG_SP: _STACK + _STACK_BYTES}
    for register, value in {**vectors, **values, **arguments, **stack}.items():
        machine.reg_write(register, value & (1 << 64) - 1)
    saved = {_x(arm, number): values[_x(arm, number)] for number in range(18, 30)}
    return {**saved, **{arm.UC_ARM64_REG_D0 + n: vectors[arm.UC_ARM64_REG_D0 + n] for n in range(8, 16)}, **stack}


def _x(arm: ModuleType, number: int) -> int:
    return int(getattr(arm, f"UC_ARM64_REG_X{number}"))


def _check_kept(machine: Any, kept: Mapping[int, int]) -> None:
    changed = [register for register, value in kept.items() if machine.reg_read(register) != value]
    if changed:
        raise UserError(f"the function does not keep {len(changed)} registers that AAPCS64 says it must")


def _fault(function: Code, at: int, reason: str) -> str:
    number = (at - _CODE) // 4
    inside = 0 <= number < len(function.words)
    return f"emulating AArch64: {reason} at {function.words[number][1] if inside else hex(at)}"


def _counted(names: Sequence[str], blocks: Mapping[tuple[int, int], int]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for (address, size), times in blocks.items():
        first = (address - _CODE) // 4
        for name in names[first : first + size // 4]:
            counts[name] += times
    return counts
