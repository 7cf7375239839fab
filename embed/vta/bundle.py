"""Writing a bundle: a directory with a VTA program that any implementation can run, and what is needed to run it here.

`program.json` describes the memory, `insns.bin` holds the instructions and one file each segment; `expected/` holds
the packed result of the loop-nest interpreter. `kernel.json` keeps the operator, embedding and schedule, so that arrays
in the user's own layout can go in and out.
"""

import json
import shutil
import tempfile
from collections.abc import Mapping
from math import log2
from pathlib import Path
from typing import Any, Protocol

import isa
from dataflow.errors import UserError
from embed import serial
from embed.embedding import Array, Embedding
from embed.nest import Nest, Schedule
from embed.pinned import Held
from embed.vta.machine import Machine
from embed.vta.program import Program
from embed.vta.roles import Scratchpad
from isa.model import Isa


class Saved(Protocol):
    """What a bundle holds of a kernel."""

    @property
    def embedding(self) -> Embedding: ...

    @property
    def target(self) -> Isa: ...

    @property
    def schedule(self) -> Schedule: ...

    @property
    def nest(self) -> Nest: ...

    @property
    def held(self) -> Held: ...

    def bind(self, arrays: Mapping[str, Array]) -> Program: ...

    def expected(self, arrays: Mapping[str, Array]) -> Array: ...


def save(kernel: Saved, directory: Path, arrays: Mapping[str, Array]) -> None:
    """Write the bundle of a kernel on given inputs; it appears whole or not at all. Raises UserError if it cannot."""
    bound = kernel.bind(arrays)
    expected = kernel.expected(arrays)
    reserved = [name for name in kernel.nest.layouts if name in ("insns", "uops")]
    if reserved:
        raise UserError(f"a bundle has a file {reserved[0]}.bin already; give tensor '{reserved[0]}' another name")
    try:
        if directory.exists() and (not directory.is_dir() or not _replaceable(directory)):
            raise UserError(f"{directory}: exists and is not a bundle; choose another directory")
        directory.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
        try:
            _write(kernel, bound, expected, draft)
            _replace(draft, directory)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except OSError as error:
        raise UserError(f"{directory}: cannot be written: {error.strerror}") from None


def config(target: Isa) -> str:
    """The configuration in upstream's notation, such as 1x16_i8w8a32_15_15_18_17."""
    machine = Machine.of(target)
    pads = (Scratchpad.UOP, Scratchpad.INP, Scratchpad.WGT, Scratchpad.ACC)
    sizes = "_".join(str(int(log2(machine.depths[pad] * machine.element_bytes[pad]))) for pad in pads)
    block = "x".join(map(str, dict.fromkeys((machine.block_in, machine.block_out))))
    return f"{machine.batch}x{block}_i8w8a32_{sizes}"


def _write(kernel: Saved, bound: Program, expected: Array, draft: Path) -> None:
    output = kernel.embedding.operator.output.name
    (draft / "insns.bin").write_bytes(b"".join(map(kernel.target.encode, bound.instructions)))
    for segment in bound.segments:
        if segment.data is not None:
            segment.data.tofile(draft / f"{segment.name}.bin")
    (draft / "expected").mkdir()
    expected.tofile(draft / "expected" / f"{output}.bin")
    _dump(draft / "program.json", _description(bound, kernel))
    _dump(draft / "kernel.json", _kernel(kernel))
    draft.chmod(0o755)


def _description(bound: Program, kernel: Saved) -> dict[str, Any]:
    memory = [
        {
            "name": segment.name,
            "file": None if segment.data is None else f"{segment.name}.bin",
            "bytes": segment.size,
            "address": segment.address,
            "memory": segment.memory,
        }
        for segment in bound.segments
    ]
    return {
        "insn_count": len(bound.instructions),
        "uop_count": bound.segment("uops").size // Machine.of(kernel.target).element_bytes[Scratchpad.UOP],
        "memory": memory,
        "outputs": [segment.name for segment in bound.outputs],
        "config": config(kernel.target),
    }


def _kernel(kernel: Saved) -> dict[str, Any]:
    return {
        "isa": _isa_name(kernel.target),
        "parameters": {p.name: p.value for p in kernel.target.parameter_list if p.value != p.default},
        "embedding": serial.embedding_to_json(kernel.embedding),
        "schedule": serial.schedule_to_json(kernel.schedule),
        "layouts": kernel.held.names,
    }


def _isa_name(target: Isa) -> str:
    """What `isa.load` finds the file by: its name if it is one of ours, else its path."""
    shipped = target.name in isa.names() and isa.load(target.name).path == target.path
    return target.name if shipped else str(target.path.resolve())


def _replaceable(directory: Path) -> bool:
    return (directory / "program.json").exists() or not any(directory.iterdir())


def _replace(draft: Path, directory: Path) -> None:
    """Put the draft in the directory's place, or leave what was there."""
    if not directory.exists():
        draft.replace(directory)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{directory.name}-old-", dir=directory.parent))
    old = aside / directory.name
    try:
        directory.replace(old)
        draft.replace(directory)
    except BaseException:
        if old.exists():
            old.replace(directory)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _dump(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")
