"""The text of an ISA file, and error messages that point into it."""

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isa.errors import IsaError
from isa.positions import Path as KeyPath
from isa.positions import Place, line_and_column, locate

_TOML_PLACE = re.compile(r" \(at line (\d+), column (\d+)\)$")
_UNQUOTED = re.compile(r"=\s*(\w+\s*[-+*/%]|[A-Za-z_(])")


@dataclass(frozen=True, slots=True)
class Source:
    """A TOML file: how to name it, its text, its values, and where each of them stands."""

    label: str
    text: str
    values: dict[str, Any] = field(repr=False)
    places: dict[KeyPath, Place] = field(repr=False)

    @classmethod
    def read(cls, path: Path, label: str) -> "Source":
        """Read a file; raises IsaError if it cannot be read or is not TOML."""
        return cls.of(text_of(path, label), label)

    @classmethod
    def of(cls, text: str, label: str) -> "Source":
        """The same for a text that is already in hand."""
        text = text.replace("\r\n", "\n")
        try:
            values = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise _toml_error(str(error), text, label) from None
        except ValueError:
            raise IsaError(f"{label}: error: a number has too many digits") from None
        except RecursionError:
            raise IsaError(f"{label}: error: values are nested too deeply") from None
        return cls(label, text, values, locate(text))

    def error(self, message: str, path: KeyPath, offset: int | None = None, key: bool = False) -> IsaError:
        """An error at a value, at its key, or at an offset within a string value."""
        place = self._place(path)
        at = place.key if key else place.value
        if offset is not None and place.content is not None:
            at = place.content + offset
        return pointed(self.label, self.text, at, message)

    def _place(self, path: KeyPath) -> Place:
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, Place(0, 0))


def text_of(path: Path, label: str) -> str:
    """The text of a file; raises IsaError if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise IsaError(f"{label}: error: not UTF-8 text (byte {error.start}); an ISA file is TOML") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise IsaError(f"{label}: error: cannot read this file: {reason}") from None


def pointed(label: str, text: str, at: int, message: str) -> IsaError:
    """`label:line:column: error: message`, the source line and a caret under the offset `at`."""
    at = min(at, len(text))
    line, column = line_and_column(text, at)
    lines = text.split("\n")
    shown = lines[line - 1].replace("\t", " ")
    margin = " " * 7
    text = f"{label}:{line}:{column}: error: {message}\n{line:>7} | {shown}\n{margin} | {' ' * (column - 1)}^"
    return IsaError(text, (line, column))


def _toml_error(message: str, text: str, label: str) -> IsaError:
    """tomllib's own words, at its own place."""
    match = _TOML_PLACE.search(message)
    what = _TOML_PLACE.sub("", message).removesuffix(" (at end of document)")
    if match is None:
        return pointed(label, text, len(text.rstrip("\n")), f"not TOML: {what}")
    lines = text.split("\n")
    at = sum(len(line) + 1 for line in lines[: int(match[1]) - 1]) + int(match[2]) - 1
    unquoted = any(found.start() < at <= found.end() for found in _UNQUOTED.finditer(text))
    remedy = "; texts and formulas stand in quotes" if unquoted else ""
    return pointed(label, text, at, f"not TOML: {what}{remedy}")
