"""The canonical text of an ISA file: the same values, keys in the order of the reference, one entry a block."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from isa.schema import TABLES

Values = Mapping[str, Any]
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_BLOCKS = ("parameters", "memory", "format", "instruction", "timing")


def canonical(values: Values) -> str:
    """TOML text of the values of an ISA file, as `tomllib` read them; comments are no values."""
    return "\n".join(_lines(values)).strip("\n") + "\n"


def _lines(values: Values) -> Iterator[str]:
    yield from _pairs({key: value for key, value in values.items() if key not in _BLOCKS}, "file")
    for key in ("parameters", "memory"):
        if key in values:
            yield from ("", f"[{key}]")
            yield from _pairs(values[key], "")
    for name, members in values.get("format", {}).items():
        yield from ("", f"[format.{_key(name)}]")
        yield from _pairs(members, "format")
    for entry in values.get("instruction", ()):
        yield from ("", "[[instruction]]")
        yield from _pairs(entry, "instruction")
    for name, members in values.get("timing", {}).items():
        yield from ("", f"[timing.{_key(name)}]")
        yield from _pairs(members, "timing")


def _pairs(members: Values, table: str) -> Iterator[str]:
    """`key = value` lines: the keys of TABLES in its order, then the others in the file's, which formulas may need."""
    known = [key for key in TABLES.get(table, {}) if key in members]
    for key in (*known, *(key for key in members if key not in known)):
        value = members[key]
        if key == "operands" and isinstance(value, dict) and value:
            yield from (f"operands.{_key(name)} = {_value(operand)}" for name, operand in value.items())
        else:
            yield f"{_key(key)} = {_value(value)}"


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _text(name)


def _value(value: object) -> str:
    if isinstance(value, dict):
        inner = ", ".join(f"{_key(key)} = {_value(member)}" for key, member in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return _text(value) if isinstance(value, str) else json.dumps(value)


def _text(value: str) -> str:
    """A basic string; TOML escapes as JSON does, and one character more."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
