"""A compiled kernel as one file: code, streams, layouts, embedding, schedule and packed constants.

The file: 16 bytes `isa-embed kernel`; then as little-endian integers the format version (4 bytes), the number of byte
strings (4) and the length of each (8); the byte strings; the SHA-256 of all that (32). The first byte string is JSON,
the second the machine code, the third the ISA file; the others are arrays. Nothing in it is executed on loading, but
running a kernel runs its code: load only what you trust.
"""

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any, get_type_hints

import isa
from dataflow import serial as operators
from dataflow.errors import UserError
from dataflow.operator import Operator
from embed import atomic, serial
from embed.cpu.kernel import CpuKernel
from embed.cpu.machine import Code, machine_of
from embed.embedding import Embedding
from embed.physical import Array
from embed.plain import Reader, Writer
from isa.errors import IsaError
from isa.model import Isa

MAGIC = b"isa-embed kernel"
VERSION = 1

_HEAD = struct.Struct("<II")
_DIGEST = 32
_CONSTANTS = dict[str, Array]


@dataclass(frozen=True)
class StoredKernel(CpuKernel):
    """A kernel whose code was made before: it can run and be looked at, but not be lowered again."""

    stored: bytes = field(default=b"", repr=False)

    @cached_property
    def assembled(self) -> Code:
        """The program in the machine's instructions."""
        return machine_of(self.target).decode(self.stored, self.target)


def save(kernel: CpuKernel, path: Path) -> None:
    """Write a kernel with its constants; the file appears whole or not at all. Raises UserError if it cannot."""
    atomic.write(path, dump(kernel))


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


def dump(kernel: CpuKernel) -> bytes:
    """The content of a kernel's file."""
    writer = Writer({Embedding: lambda _: None, Operator: operators.to_json})
    hints = get_type_hints(CpuKernel)
    target = kernel.target
    manifest = {
        "isa": {"name": target.name, "digest": target.digest},
        "parameters": {p.name: p.value for p in target.parameter_list if p.value != p.default},
        "embedding": serial.embedding_to_json(kernel.embedding),
        "kernel": {name: writer.write(getattr(kernel, name), hints[name]) for name in _stored_fields()},
        "constants": writer.write(kernel.constants, _CONSTANTS),
    }
    text = json.dumps(manifest, separators=(",", ":")).encode()
    return _joined([text, kernel.code, _isa_text(target), *writer.blobs])


def parse(data: bytes, target: Isa | None = None) -> CpuKernel:
    """The kernel of a file's content; `target` saves loading the ISA. Raises UserError for what `dump` did not make."""
    text, code, isa_text, *blobs = _split(data)
    try:
        return _kernel(json.loads(text), code, blobs, isa_text, target)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"was saved by another version of isa-embed ({error}); compile it again") from None


def _kernel(manifest: Any, code: bytes, blobs: list[bytes], isa_text: bytes, target: Isa | None) -> CpuKernel:
    found = target or _target(manifest, isa_text)
    if found.digest != manifest["isa"]["digest"]:
        raise UserError(f"was compiled for another version of {manifest['isa']['name']}; compile it again")
    embedding = serial.embedding_from_json(manifest["embedding"], found)
    reader = Reader(blobs, {Embedding: lambda _: embedding, Operator: operators.from_json})
    hints = get_type_hints(CpuKernel)
    parts = {name: reader.read(manifest["kernel"][name], hints[name]) for name in _stored_fields()}
    constants = reader.read(manifest["constants"], _CONSTANTS)
    return StoredKernel(embedding=embedding, target=found, items=(), **parts, _constants=constants, stored=code)


def _stored_fields() -> list[str]:
    """What is saved of a kernel as it is; code takes the place of the items."""
    own = ("embedding", "target", "items")
    return [each.name for each in fields(CpuKernel) if each.init and each.name not in own and each.name[0] != "_"]


def _isa_text(target: Isa) -> bytes:
    """The ISA file, unless every isa-embed has it."""
    if target.path == Path(str(files("isa") / f"{target.name}.toml")):
        return b""
    try:
        return target.path.read_bytes()
    except OSError as error:
        raise UserError(f"{target.path}: cannot be read, and a saved kernel holds it: {error.strerror}") from None


def _target(manifest: dict[str, Any], text: bytes) -> Isa:
    name, parameters = manifest["isa"]["name"], manifest["parameters"]
    try:
        return isa.loads(text.decode(), parameters, f"{name}.toml") if text else isa.load(name, parameters)
    except IsaError as error:
        raise UserError(f"holds an ISA that this version of isa-embed cannot read: {error}") from None


def _joined(parts: Sequence[bytes]) -> bytes:
    head = MAGIC + _HEAD.pack(VERSION, len(parts)) + struct.pack(f"<{len(parts)}Q", *map(len, parts))
    content = b"".join([head, *parts])
    return content + sha256(content).digest()


def _split(data: bytes) -> list[bytes]:
    """The byte strings of a file's content; raises UserError unless every bit is as it was written."""
    if data[: len(MAGIC)] != MAGIC:
        raise UserError("is not a saved kernel")
    if sha256(memoryview(data)[:-_DIGEST]).digest() != data[-_DIGEST:]:
        raise UserError("is damaged: its checksum is wrong")
    version, count = _HEAD.unpack_from(data, len(MAGIC))
    if version != VERSION:
        raise UserError(f"has format version {version}; this isa-embed reads {VERSION}: compile it again")
    at = len(MAGIC) + _HEAD.size
    sizes = struct.unpack_from(f"<{count}Q", data, at)
    at += 8 * count
    parts = []
    for size in sizes:
        parts.append(data[at : at + size])
        at += size
    return parts
