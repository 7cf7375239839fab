"""The bundle: a directory with a VTA program that any implementation can run, and what is needed to run it here.

`program.json` describes the memory, `insns.bin` holds the instructions and one file each segment; `expected/` holds
the packed result of the loop-nest interpreter. `kernel.json` keeps the operator, embedding and schedule, so that arrays
in the user's own layout can go in and out.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from math import log2
from pathlib import Path
from typing import Any

import numpy as np

import isa
from dataflow.errors import UserError
from embed import serial
from embed.embedding import Array
from embed.epilogue import plan
from embed.nest import build
from embed.pinned import held_as
from embed.vta.executable import VtaKernel, lowered, tensor_homes
from embed.vta.machine import Machine
from embed.vta.program import Program, Segment
from isa.model import Isa


def save(kernel: VtaKernel, directory: Path, arrays: Mapping[str, Array]) -> None:
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


def load(directory: Path) -> tuple[VtaKernel, Program]:
    """The kernel of a bundle with the program as its bytes say; raises UserError for a damaged or foreign directory."""
    described = _json(directory / "program.json")
    saved = _json(directory / "kernel.json")
    with _reading(directory / "kernel.json"):
        kernel = _compiled(saved)
    with _reading(directory / "insns.bin"):
        data = _bytes(directory / "insns.bin")
        instructions = list(kernel.target.decode_all(data))
    with _reading(directory / "program.json"):
        if len(instructions) != described["insn_count"]:
            raise UserError(f"it counts {described['insn_count']} instructions; insns.bin has {len(instructions)}")
        segments = tuple(_segment(directory, entry, kernel.code) for entry in described["memory"])
    missing = sorted({known.name for known in kernel.code.segments} - {segment.name for segment in segments})
    if missing:
        raise UserError(f"{directory / 'program.json'}: its memory lacks {', '.join(missing)}")
    return kernel, Program(kernel.target.name, dict(kernel.target.parameters), instructions, segments)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Say which file is damaged, in one line, whatever that does to the code that reads it."""
    try:
        yield
    except UserError as error:
        text = str(error).splitlines()[0]
        raise UserError(text if text.startswith(str(path.parent)) else f"{path}: {text}") from None
    except KeyError as error:
        raise UserError(f"{path}: lacks {error}") from None
    except (IndexError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise UserError(f"{path}: is damaged: {type(error).__name__} {error}") from None


def _compiled(saved: Mapping[str, Any]) -> VtaKernel:
    """The kernel that was saved, lowered again."""
    target = isa.load(str(saved["isa"]), dict(saved["parameters"]))
    embedding = serial.embedding_from_json(saved["embedding"], target)
    schedule = serial.schedule_from_json(saved["schedule"])
    if sorted(schedule.tiles) != sorted(loop.name for loop in embedding.loops):
        raise UserError(f"its schedule is not one of the loops of {embedding}")
    nest = build(embedding, schedule, plan(embedding.operator, target))
    held = held_as(embedding.asked, dict(saved.get("layouts", {})))
    return lowered(nest, schedule, target, tensor_homes(embedding, target), held)


def kernel(directory: Path) -> VtaKernel:
    """The kernel of a bundle with the bundle's own instructions; raises UserError like `load`."""
    found, program = load(directory)
    return replace(found, code=program)


def config(target: Isa) -> str:
    """The configuration in upstream's notation, such as 1x16_i8w8a32_15_15_18_17."""
    sizes = "_".join(str(int(log2(target.parameters[f"{name}_bytes"]))) for name in ("uop", "inp", "wgt", "acc"))
    blocks = dict.fromkeys(target.parameters[name] for name in ("block_in", "block_out"))
    block = "x".join(map(str, blocks))
    return f"{target.parameters['batch']}x{block}_i8w8a32_{sizes}"


def _write(kernel: VtaKernel, bound: Program, expected: Array, draft: Path) -> None:
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


def _description(bound: Program, kernel: VtaKernel) -> dict[str, Any]:
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
        "uop_count": bound.segment("uops").size // Machine.of(kernel.target).element_bytes["uop"],
        "memory": memory,
        "outputs": [segment.name for segment in bound.outputs],
        "config": config(kernel.target),
    }


def _kernel(kernel: VtaKernel) -> dict[str, Any]:
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


def _segment(directory: Path, entry: Mapping[str, Any], code: Program) -> Segment:
    known = {segment.name: segment for segment in code.segments}
    name = entry["name"]
    if name not in known:
        raise UserError(f"segment '{name}' is none of {', '.join(known)}")
    file, size, address = entry["file"], int(entry["bytes"]), int(entry["address"])
    data = None if file is None else np.frombuffer(_bytes(directory / str(file)), np.uint8)
    if data is not None and len(data) != size:
        raise UserError(f"{directory / str(file)}: has {len(data)} bytes where program.json says {size}")
    return Segment(name, known[name].memory, address, size, data)


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


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(_bytes(path))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise UserError(f"{path}: is not a JSON object")
    return value


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read: {error.strerror}; a bundle is what `isa-embed compile` wrote"
        ) from None
