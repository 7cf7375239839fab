"""Compiled kernels on disk, found again by all that they were made from. Nothing fails because a cache does."""

import json
import os
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

from dataflow import serial
from dataflow.arguments import file_path, whole
from dataflow.errors import UserError
from dataflow.operator import Operator
from embed import atomic
from embed.cpu import archive
from embed.cpu.kernel import CpuKernel
from embed.embedding import Embedding
from embed.serial import embedding_to_json
from isa.features import cpu_features
from isa.model import Isa

LIMIT = 256 << 20
"""Bytes that a cache may hold unless it says otherwise."""

_SUFFIX = ".kernel"
_PACKAGES = ("dataflow", "isa", "embed")
_ABANDONED_SECONDS = 3600


def default_directory() -> Path:
    """`$XDG_CACHE_HOME/isa-embed`, or `~/.cache/isa-embed` (XDG base directories)."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(home) if home.startswith("/") else Path.home() / ".cache") / "isa-embed"


@dataclass(frozen=True)
class Cache:
    """A directory of kernels of at most `limit` bytes; those not used for longest go first.

    Several processes may share it. What is in it is run as code: keep it where only you can write.
    """

    directory: Path = field(default_factory=default_directory)
    limit: int = LIMIT

    def __post_init__(self) -> None:
        object.__setattr__(self, "directory", file_path("directory", self.directory))
        whole("limit", self.limit, 0)

    def get(self, key: str, target: Isa) -> CpuKernel | None:
        """The kernel of a key, or None; a damaged entry is none."""
        path = self._path(key)
        try:
            kernel = archive.parse(path.read_bytes(), target)
            os.utime(path)
        except (OSError, UserError):
            return None
        return kernel

    def put(self, key: str, kernel: CpuKernel) -> None:
        """Keep a kernel, if the directory can be written."""
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            atomic.replace(self._path(key), kernel.dump())
            self._shrink()
        except OSError:
            return

    def _path(self, key: str) -> Path:
        return self.directory / f"{key}{_SUFFIX}"

    def _shrink(self) -> None:
        """Remove the oldest entries above the limit, and what interrupted writes left."""
        entries = []
        for path in self.directory.iterdir():
            found = path.stat()
            if path.suffix == _SUFFIX:
                entries.append((found.st_mtime_ns, found.st_size, path))
            elif path.name[0] == "." and _SUFFIX in path.name and time.time() - found.st_mtime > _ABANDONED_SECONDS:
                path.unlink(missing_ok=True)
        total = sum(size for _, size, _ in entries)
        for _, size, path in sorted(entries):
            if total <= self.limit:
                return
            path.unlink(missing_ok=True)
            total -= size


def key_of(
    operator: Operator,
    target: Isa,
    *,
    layouts: Mapping[str, str],
    threads: int,
    constants: Collection[str],
    embedding: Embedding | None,
    tune: int = 0,
) -> str:
    """The name of what `compile_cpu` makes of these on this CPU with this version of the packages."""
    made_from = {
        "operator": serial.to_json(operator),
        "isa": target.digest,
        "layouts": {name: layout.upper() for name, layout in layouts.items()},
        "threads": threads,
        "constants": sorted(constants),
        "embedding": embedding and embedding_to_json(embedding),
        "tune": tune,
        "cpu": sorted(cpu_features()),
        "version": source_digest(),
    }
    return sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()


@cache
def source_digest() -> str:
    """SHA-256 of the packages that kernels come from: a changed one never meets the kernels of another."""
    total = sha256()
    for package in _PACKAGES:
        root = Path(str(files(package)))
        for path in sorted(path for ending in ("py", "toml") for path in root.rglob(f"*.{ending}")):
            total.update(f"{package}/{path.relative_to(root)}\n".encode() + path.read_bytes())
    return total.hexdigest()
