"""Files the commands read and write: arrays, JSON lines, and texts that appear whole or not at all."""

import io
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dataflow import UserError
from embed import atomic

Array = npt.NDArray[Any]


def write_whole(path: Path, text: str) -> None:
    """Write to a temporary file beside `path` and rename it, so that a reader never sees half of it.

    Raises UserError where that is not possible.
    """
    atomic.write(path, text.encode())


def write_json_lines(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    """One JSON object per line."""
    write_whole(path, "".join(json.dumps(row) + "\n" for row in rows))


def check_writable(*paths: Path | None) -> None:
    """Fail before the work starts, not after it: raises UserError for a file that cannot be written."""
    for path in filter(None, paths):
        if path.is_dir():
            raise UserError(f"{path}: is a directory, not a file to write")
        if not path.parent.is_dir():
            raise UserError(f"{path}: there is no directory {path.parent}")
        if not os.access(path if path.exists() else path.parent, os.W_OK):
            raise UserError(f"{path}: no permission to write")


def make_directory(path: Path) -> None:
    """Create a directory for results; raises UserError where that is not possible or it cannot be written."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UserError(f"{path}: is a file, not a directory") from None
    except OSError as error:
        raise UserError(f"{path}: cannot create the directory: {error.strerror}") from None
    if not os.access(path, os.W_OK):
        raise UserError(f"{path}: no permission to write")


def read_array(path: Path) -> Array:
    """A .npy file; raises UserError where it is missing or not one."""
    try:
        array: Array = np.load(path, allow_pickle=False)
    except OSError as error:
        raise UserError(f"{path}: cannot read it: {error.strerror or error}") from None
    except (ValueError, EOFError):
        raise UserError(f"{path}: is not a .npy file of numbers") from None
    if not isinstance(array, np.ndarray):
        raise UserError(f"{path}: is an archive of several arrays; give a .npy file")
    return array


def read_bytes(path: Path) -> Array:
    """A binary file as uint8."""
    return np.frombuffer(path.read_bytes(), np.uint8)


def write_array(path: Path, array: Array) -> None:
    """Write a .npy file; raises UserError where that is not possible."""
    data = io.BytesIO()
    np.save(data, array)
    atomic.write(path, data.getvalue())
