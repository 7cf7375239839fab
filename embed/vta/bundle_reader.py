"""Reading a bundle: the program as its bytes say, and the kernel that takes arrays in the user's own layout."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import isa
from dataflow.errors import UserError
from embed import serial
from embed.epilogue import plan
from embed.nest import build
from embed.pinned import held_as
from embed.vta.executable import VtaKernel, lowered
from embed.vta.program import Program, Segment


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
    return lowered(nest, schedule, target, held)


def kernel(directory: Path) -> VtaKernel:
    """The kernel of a bundle with the bundle's own instructions; raises UserError like `load`."""
    found, program = load(directory)
    return replace(found, code=program)


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
