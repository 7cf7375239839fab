"""The bundle: a directory with a VTA program that any implementation can run, and what is needed to run it here.

`program.json` describes the memory, `insns.bin` holds the instructions and one file each segment; `expected/` holds
the packed result of the loop-nest interpreter. `kernel.json` keeps the operator, embedding and schedule, so that arrays in the
user's own layout can go in and out.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
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
from embed.vta.executable import VtaKernel, lowered, tensor_homes
from embed.vta.machine import Machine
from embed.vta.program import Program, Segment
from isa.model import Isa


def save(kernel: VtaKernel, directory: Path, arrays: Mapping[str, Array]) -> None:
    """Write the bundle of a kernel on given inputs; it appears whole or not at all. Raises UserError if it cannot."""
    bound = kernel.bind(arrays)
    expected = kernel.expected(arrays)
    if directory.exists() and (not directory.is_dir() or not _replaceable(directory)):
        raise UserError(f"{directory}: exists and is not a bundle; choose another directory")
    try:
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
    target = isa.load(_field(saved, "isa", directory), _field(saved, "parameters", directory))
    embedding = serial.embedding_from_json(_field(saved, "embedding", directory), target)
    schedule = serial.schedule_from_json(_field(saved, "schedule", directory))
    nest = build(embedding, schedule, plan(embedding.operator, target))
    kernel = lowered(nest, schedule, target, tensor_homes(embedding, target))
    data = _bytes(directory / "insns.bin")
    if len(data) != 16 * _field(described, "insn_count", directory):
        raise UserError(f"{directory / 'insns.bin'}: {len(data)} bytes are not the instructions that program.json counts")
    segments = tuple(_segment(directory, entry, kernel.code) for entry in _field(described, "memory", directory))
    return kernel, Program(target.name, dict(target.parameters), list(target.decode_all(data)), segments)


def config(target: Isa) -> str:
    """The configuration in upstream's notation, such as 1x16_i8w8a32_15_15_18_17."""
    sizes = "_".join(str(int(log2(target.parameters[f"{name}_bytes"]))) for name in ("uop", "inp", "wgt", "acc"))
    blocks = {target.parameters["block_in"], target.parameters["block_out"]}
    block = "x".join(map(str, sorted(blocks)))
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
    os.chmod(draft, 0o755)


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
        "isa": kernel.target.name,
        "parameters": {p.name: p.value for p in kernel.target.parameter_list if p.value != p.default},
        "embedding": serial.embedding_to_json(kernel.embedding),
        "schedule": serial.schedule_to_json(kernel.schedule),
    }


def _segment(directory: Path, entry: Mapping[str, Any], code: Program) -> Segment:
    known = {segment.name: segment for segment in code.segments}
    name = _field(entry, "name", directory)
    if name not in known:
        raise UserError(f"{directory / 'program.json'}: segment '{name}' is none of {', '.join(known)}")
    file = _field(entry, "file", directory)
    data = None if file is None else np.frombuffer(_bytes(directory / str(file)), np.uint8)
    size = int(_field(entry, "bytes", directory))
    if data is not None and len(data) != size:
        raise UserError(f"{directory / str(file)}: has {len(data)} bytes where program.json says {size}")
    return Segment(name, known[name].memory, int(_field(entry, "address", directory)), size, data)


def _replaceable(directory: Path) -> bool:
    return (directory / "program.json").exists() or not any(directory.iterdir())


def _replace(draft: Path, directory: Path) -> None:
    if directory.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{directory.name}-old-", dir=directory.parent))
        os.replace(directory, old / directory.name)
        os.replace(draft, directory)
        shutil.rmtree(old)
    else:
        os.replace(draft, directory)


def _dump(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(_bytes(path))
    except ValueError as error:
        raise UserError(f"{path}: is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise UserError(f"{path}: is not a JSON object")
    return value


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; a bundle is what `isa-embed compile` wrote") from None


def _field(value: Mapping[str, Any], name: str, directory: Path) -> Any:
    if name not in value:
        raise UserError(f"{directory}: the bundle lacks '{name}'")
    return value[name]
