"""The smallest ELF64 relocatable objects: one function, read-only data that goes with it, no relocations.

Layout after the System V ABI, chapter 4, and its supplements for x86-64 and AArch64.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MACHINES = {"x86_64": 62, "aarch64": 183}
"""e_machine by the architecture's name."""

LINE = 64
"""Code and every datum start on a cache line."""

_HEADER, _SECTION = struct.Struct("<16sHHIQQQIHHHHHH"), struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_IDENT = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
_RELOCATABLE = 1
_PROGBITS, _SYMTAB, _STRTAB = 1, 2, 3
_ALLOC, _EXECUTE = 2, 4
_GLOBAL_OBJECT, _GLOBAL_FUNCTION = 0x11, 0x12


@dataclass(frozen=True, slots=True)
class _Section:
    """`link` and `info` mean what the type says; `size` is of one entry of a table."""

    name: str
    kind: int
    flags: int
    data: bytes
    align: int = 1
    link: int = 0
    info: int = 0
    size: int = 0


def relocatable(architecture: str, name: str, code: bytes, data: Mapping[str, bytes]) -> bytes:
    """An object that defines the function `name` and the read-only arrays `data`, by symbol."""
    rodata, places = b"", {}
    for symbol, content in data.items():
        rodata += bytes(-len(rodata) % LINE)
        places[symbol] = len(rodata)
        rodata += content
    strings = _Strings()
    symbols = [bytes(_SYMBOL.size), _SYMBOL.pack(strings.add(name), _GLOBAL_FUNCTION, 0, 1, 0, len(code))]
    for symbol, content in data.items():
        symbols.append(_SYMBOL.pack(strings.add(symbol), _GLOBAL_OBJECT, 0, 2, places[symbol], len(content)))
    return _file(
        MACHINES[architecture],
        [
            _Section("", 0, 0, b"", 0),
            _Section(".text", _PROGBITS, _ALLOC | _EXECUTE, code, LINE),
            _Section(".rodata", _PROGBITS, _ALLOC, rodata, LINE),
            _Section(".note.GNU-stack", _PROGBITS, 0, b""),
            _Section(".symtab", _SYMTAB, 0, b"".join(symbols), 8, link=5, info=1, size=_SYMBOL.size),
            _Section(".strtab", _STRTAB, 0, strings.data),
        ],
    )


class _Strings:
    """A string table: names one after another, each ended by a zero byte."""

    def __init__(self) -> None:
        self.data = b"\0"

    def add(self, name: str) -> int:
        """Where the name is."""
        at = len(self.data)
        self.data += name.encode() + b"\0"
        return at


def _file(machine: int, sections: Sequence[_Section]) -> bytes:
    """Header, contents, section headers."""
    names = _Strings()
    places = [names.add(section.name) if section.name else 0 for section in sections]
    places.append(names.add(".shstrtab"))
    every = [*sections, _Section(".shstrtab", _STRTAB, 0, names.data)]
    body, rows = b"", []
    for place, section in zip(places, every, strict=True):
        body += bytes(-(_HEADER.size + len(body)) % max(1, section.align))
        at = _HEADER.size + len(body) if section.kind else 0
        row = (place, section.kind, section.flags, 0, at, len(section.data))
        rows.append(_SECTION.pack(*row, section.link, section.info, section.align, section.size))
        body += section.data
    body += bytes(-len(body) % 8)
    counts = (_HEADER.size, 0, 0, _SECTION.size, len(every), len(every) - 1)
    header = _HEADER.pack(_IDENT, _RELOCATABLE, machine, 1, 0, 0, _HEADER.size + len(body), 0, *counts)
    return header + body + b"".join(rows)
