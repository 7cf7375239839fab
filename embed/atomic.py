"""Files that appear whole or not at all."""

import os
import tempfile
from pathlib import Path

from dataflow.errors import UserError


def write(path: Path, data: bytes) -> None:
    """Write a temporary file beside `path` and rename it, so that a reader never sees half of it.

    Raises UserError where that is not possible.
    """
    try:
        replace(path, data)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from None


def replace(path: Path, data: bytes) -> None:
    """The same, but what goes wrong stays an OSError.

    Through a symbolic link the file it names is replaced. Pipes and devices, which cannot be, are written to.
    """
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return
    path = path.resolve()
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
