"""What callers give to public functions: one clear message for a value that cannot be what is asked for."""

from collections.abc import Iterable, Mapping
from os import PathLike, fspath
from pathlib import Path
from reprlib import repr as shown
from typing import Any, TypeVar

import numpy as np

from dataflow.errors import UserError

Kind = TypeVar("Kind")

_LARGEST = (1 << 31) - 1


PATH = (str, PathLike)
"""What names a file."""


def of_kind(name: str, value: object, kind: type[Kind] | tuple[type[Kind], ...], what: str) -> Kind:
    """The value of the argument `name`, a `kind`; else raises UserError that it is not `what`."""
    if not isinstance(value, kind):
        raise UserError(f"{name}: {shown(value)} is not {what}")
    return value


def whole(name: str, value: object, least: int) -> int:
    """An integer, Python's or numpy's, of at least `least`, that fits into 32 bits; else raises UserError."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        what = "a positive integer" if least == 1 else f"an integer of at least {least}"
        raise UserError(f"{name}: {shown(value)} is not {what}")
    if value > _LARGEST:
        raise UserError(f"{name}: {value} is more than {_LARGEST}")
    return int(value)


def seconds(name: str, value: object) -> float:
    """A time that is more than none; else raises UserError."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise UserError(f"{name}: {shown(value)} is not a positive number of seconds")
    return float(value)


def named(name: str, value: object, kind: type[Kind] | tuple[type[Kind], ...], example: str) -> dict[str, Kind]:
    """Values of one kind by name, none where there is no mapping at all; else raises UserError with the example."""
    found: dict[Any, Any] = dict(value) if isinstance(value, Mapping) else {}
    fits = all(isinstance(key, str) and isinstance(each, kind) for key, each in found.items())
    if not fits or not (value is None or isinstance(value, Mapping)):
        raise UserError(f"{name}: {shown(value)} does not give values by name, as {example} does")
    return found


def texts(name: str, value: object, example: str) -> list[str]:
    """Several texts, not a single one; else raises UserError with the example."""
    if isinstance(value, Iterable) and not isinstance(value, str):
        given = list(value)
        found = [each for each in given if isinstance(each, str)]
        if len(found) == len(given):
            return found
    raise UserError(f"{name}: {shown(value)} is not a list of texts such as {example}")


def file_path(name: str, value: object) -> Path:
    """The path of a file; else raises UserError."""
    given = fspath(value) if isinstance(value, PATH) else None
    if not isinstance(given, str) or not given or "\0" in given:
        raise UserError(f"{name}: {shown(value)} is not the path of a file")
    return Path(given)
