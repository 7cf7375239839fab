"""A saved kernel, read again: code, streams, layouts, embedding, schedule and packed constants from one file.

The first byte string of the file is JSON, the second the machine code, the third the same with stores past the caches
if there is such code, the fourth the ISA file unless it is shipped; the others are arrays. Nothing in it is executed on
loading, but running a kernel runs its code: load only what you trust.
"""

import json
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, get_type_hints

import isa
from dataflow import serial as operators
from dataflow.errors import UserError
from dataflow.operator import Operator
from embed import serial
from embed.cpu import sealed
from embed.cpu.kernel import CONSTANTS, CpuKernel, stored_fields
from embed.cpu.runner.machine import Code, machine_of
from embed.embedding import Embedding
from embed.plain import Reader
from isa.errors import IsaError
from isa.model import Isa


@dataclass(frozen=True)
class StoredKernel(CpuKernel):
    """A kernel whose code was made before: it can run and be looked at, but not be lowered again."""

    stored: bytes = field(default=b"", repr=False)
    stored_past: bytes = field(default=b"", repr=False)

    @cached_property
    def assembled(self) -> Code:
        """The program in the machine's instructions."""
        return machine_of(self.target).decode(self.stored, self.target)

    @cached_property
    def assembled_past(self) -> Code:
        """The same with stores past the caches."""
        return machine_of(self.target).decode(self.stored_past, self.target)


def load(path: Path) -> CpuKernel:
    """The kernel of a file; raises UserError if it cannot be read, is damaged, or is not a kernel of this version."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        return parse(data)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def parse(data: bytes, target: Isa | None = None) -> CpuKernel:
    """The kernel of what `CpuKernel.dump` made; `target` saves loading the ISA. Raises UserError for anything else."""
    text, code, past, isa_text, *blobs = sealed.split(data)
    try:
        return _kernel(json.loads(text), (code, past), blobs, isa_text, target)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"was saved by another version of isa-embed ({error}); compile it again") from None


def _kernel(
    manifest: Any, code: tuple[bytes, bytes], blobs: list[bytes], isa_text: bytes, target: Isa | None
) -> CpuKernel:
    found = target or _target(manifest, isa_text)
    if found.digest != manifest["isa"]["digest"]:
        raise UserError(f"was compiled for another version of {manifest['isa']['name']}; compile it again")
    embedding = serial.embedding_from_json(manifest["embedding"], found)
    reader = Reader(blobs, {Embedding: lambda _: embedding, Operator: operators.from_json})
    hints = get_type_hints(CpuKernel)
    parts = {name: reader.read(manifest["kernel"][name], hints[name]) for name in stored_fields()}
    constants = reader.read(manifest["constants"], CONSTANTS)
    made = StoredKernel(embedding=embedding, target=found, program=(), **parts, _constants=constants)
    return replace(made, stored=code[0], stored_past=code[1])


def _target(manifest: dict[str, Any], text: bytes) -> Isa:
    name, parameters = manifest["isa"]["name"], manifest["parameters"]
    try:
        return isa.loads(text.decode(), parameters, f"{name}.toml") if text else isa.load(name, parameters)
    except IsaError as error:
        raise UserError(f"holds an ISA that this version of isa-embed cannot read: {error}") from None
