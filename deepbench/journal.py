"""The journal of a running suite: a line per finished problem, so that an interrupted run goes on where it stopped."""

import fcntl
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import IO, Any, Generic, TypeVar, overload

from dataflow import UserError
from embed.cli.record import JsonRecord, Record

NAME = "unfinished.jsonl"

Kind = TypeVar("Kind", bound=JsonRecord)


class Journal(Generic[Kind]):
    """Finished records by fingerprint, in a JSON-lines file that only one run writes at a time."""

    def __init__(self, file: IO[bytes], path: Path, kind: type[Kind]) -> None:
        self._file = file
        self.path = path
        self.finished = dict(_whole_lines(file, kind))

    def add(self, fingerprint: str, record: Kind) -> None:
        """Append one line in one write, so that a line is there whole or not at all."""
        line = json.dumps({"fingerprint": fingerprint, "record": record.to_json()}) + "\n"
        self._file.write(line.encode())
        self._file.flush()

    def discard(self) -> None:
        """The run is complete: the next one starts afresh."""
        self.path.unlink()


@overload
def open_journal(directory: Path) -> AbstractContextManager[Journal[Record]]: ...


@overload
def open_journal(directory: Path, kind: type[Kind]) -> AbstractContextManager[Journal[Kind]]: ...


def open_journal(directory: Path, kind: type[Any] = Record) -> AbstractContextManager[Journal[Any]]:
    """Open the journal of a directory, of records of one kind; raises UserError while another run writes to it."""
    return _open(directory, kind)


@contextmanager
def _open(directory: Path, kind: type[Kind]) -> Iterator[Journal[Kind]]:
    path = directory / NAME
    with path.open("a+b", buffering=0) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{directory}: another run writes its results there; give --out another directory"
            ) from None
        yield Journal(file, path, kind)


def fingerprint(parts: Mapping[str, object]) -> str:
    """A digest of all that decides a result; results with another digest are not used again."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def code_digest() -> str:
    """Digest of this program's own sources and data files."""
    digest = hashlib.sha256()
    for package in ("dataflow", "isa", "embed", "deepbench"):
        for name, data in sorted(_sources(files(package), package)):
            digest.update(f"{name} {len(data)}\n".encode() + data)
    return digest.hexdigest()


def _sources(folder: Traversable, place: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        name = f"{place}/{entry.name}"
        if entry.is_dir():
            yield from _sources(entry, name)
        elif name.endswith((".py", ".toml", ".csv")):
            yield name, entry.read_bytes()


def _whole_lines(file: IO[bytes], kind: type[Kind]) -> Iterator[tuple[str, Kind]]:
    """The lines that can be read; what a crash left of the last one is cut off."""
    file.seek(0)
    data = file.read()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        file.truncate(whole)
    for line in data[:whole].splitlines():
        try:
            entry = json.loads(line)
            yield entry["fingerprint"], kind.from_json(entry["record"])
        except (ValueError, TypeError, KeyError):
            continue
