"""Byte strings in one file, with a checksum.

The file: 16 bytes `isa-embed kernel`; then as little-endian integers the format version (4 bytes), the number of byte
strings (4) and the length of each (8); the byte strings; the SHA-256 of all that (32).
"""

import struct
from collections.abc import Sequence
from hashlib import sha256

from dataflow.errors import UserError

MAGIC = b"isa-embed kernel"
VERSION = 2

_HEAD = struct.Struct("<II")
_DIGEST = 32


def join(parts: Sequence[bytes]) -> bytes:
    """The content of a file that holds these."""
    head = MAGIC + _HEAD.pack(VERSION, len(parts)) + struct.pack(f"<{len(parts)}Q", *map(len, parts))
    content = b"".join([head, *parts])
    return content + sha256(content).digest()


def split(data: bytes) -> list[bytes]:
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
