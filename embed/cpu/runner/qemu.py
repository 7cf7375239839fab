"""Runs AArch64 functions under qemu-aarch64 (user mode, every CPU feature it has): for what unicorn lacks."""

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dataflow.errors import UserError
from embed.cpu.assembler.aarch64 import Code, control_instructions
from embed.cpu.runner.elf import EXECUTE, PAGE, READ, WRITE, Segment, executable
from isa import MachineInstruction

Array = npt.NDArray[Any]

PROGRAM = "qemu-aarch64"
_START, _CODE, _POINTERS, _ARRAYS = 0x40_0000, 0x100_0000, 0x800_0000, 0x1000_0000
_WRITE, _EXIT = 64, 93
_HALVES = (0, 16, 32, 48)


def available() -> bool:
    """Whether qemu-aarch64 is installed (Debian: qemu-user)."""
    return shutil.which(PROGRAM) is not None


def run(function: Code, arrays: Sequence[Array], begin: int = 0, end: int = 1, timeout: float = 600) -> None:
    """Call `function(pointers of arrays, begin, end)`; the writable arrays hold the result afterwards.

    Raises UserError if qemu is missing, an array is not C-contiguous, or the program fails or takes longer than
    `timeout` seconds.
    """
    if not available():
        raise UserError(f"{PROGRAM} is not installed (Debian: apt-get install qemu-user)")
    segments, places = _segments(arrays)
    wanted = [number for number, array in enumerate(arrays) if array.flags.writeable and array.nbytes]
    spans = [(places[number], arrays[number].nbytes) for number in wanted]
    start = _start(begin, end, spans)
    code = [Segment(_START, start, READ | EXECUTE), Segment(_CODE, function.code, READ | EXECUTE)]
    output = _execute(executable([*code, *segments], _START), timeout)
    if len(output) != sum(size for _, size in spans):
        raise UserError(f"{PROGRAM}: the program wrote {len(output)} bytes, not {sum(size for _, size in spans)}")
    at = 0
    for number in wanted:
        flat = arrays[number].reshape(-1).view(np.uint8)
        flat[...] = np.frombuffer(output, np.uint8, flat.size, at)
        at += flat.size


def _segments(arrays: Sequence[Array]) -> tuple[list[Segment], list[int]]:
    """The arrays and the table of their addresses; each array has its own pages, with a gap before the next."""
    segments, places, at = [], [], _ARRAYS
    for number, array in enumerate(arrays):
        if not array.flags.c_contiguous:
            raise UserError(f"array {number} is not C-contiguous")
        places.append(at)
        segments.append(Segment(at, array.tobytes() or b"\0", READ | WRITE))
        at += -(-array.nbytes // PAGE) * PAGE + PAGE
    table = np.array(places, np.uint64).tobytes() or b"\0"
    return [Segment(_POINTERS, table, READ), *segments], places


def _start(begin: int, end: int, spans: Sequence[tuple[int, int]]) -> bytes:
    """Call the function, write the arrays to standard output, exit."""
    program = [*_set(0, _POINTERS), *_set(1, begin), *_set(2, end), *_set(9, _CODE)]
    program.append(MachineInstruction("blr", {"src": 9}))
    for place, size in spans:
        program += [*_set(0, 1), *_set(1, place), *_set(2, size), *_set(8, _WRITE)]
        program.append(MachineInstruction("svc", {}))
    program += [*_set(0, 0), *_set(8, _EXIT), MachineInstruction("svc", {})]
    return b"".join(map(control_instructions().encode, program))


def _set(register: int, value: int) -> list[MachineInstruction]:
    """register = value, 16 bits at a time."""
    halves = [{"dst": register, "value": value >> shift & 0xFFFF, "shift": shift} for shift in _HALVES]
    return [MachineInstruction("movz" if not half["shift"] else "movk", half) for half in halves]


def _execute(program: bytes, timeout: float) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "program"
        path.write_bytes(program)
        path.chmod(0o700)
        try:
            done = subprocess.run(
                [PROGRAM, "-cpu", "max", str(path)], capture_output=True, check=False, timeout=timeout
            )
        except subprocess.TimeoutExpired:
            raise UserError(f"{PROGRAM} took longer than {timeout:g} s") from None
    if done.returncode:
        message = done.stderr.decode(errors="replace").strip().splitlines()
        raise UserError(f"{PROGRAM} failed ({done.returncode}): {message[-1] if message else 'no message'}")
    return done.stdout
