"""What has been read of an ISA file so far: the names formulas may use, memories and formats."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from isa.arithmetic import Formula, FormulaError
from isa.encoding import Encoding
from isa.errors import Faults, listing
from isa.field_list import FieldListError, Widths, parse_field_list
from isa.model import Format, Memory
from isa.node import Node
from isa.schema import ORDERS

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LARGEST_WORD = 1 << 16


@dataclass(slots=True)
class Context:
    """Grows while a file is read: what is right of it. `origins` are the parameters a name's value follows from."""

    names: dict[str, int] = field(default_factory=dict)
    origins: dict[str, tuple[str, ...]] = field(default_factory=dict)
    memories: dict[str, Memory] = field(default_factory=dict)
    formats: dict[str, Format] = field(default_factory=dict)
    words: dict[str, None] = field(default_factory=dict)
    faults: Faults = field(default_factory=Faults)

    def define(self, name: str, value: int, origins: Iterable[str]) -> None:
        self.names[name] = value
        self.origins[name] = tuple(dict.fromkeys(origins))

    def origins_of(self, *formulas: Formula) -> list[str]:
        """The parameters that the values of these formulas follow from."""
        used = (name.text for formula in formulas for name in formula.names())
        return list(dict.fromkeys(origin for name in used for origin in self.origins.get(name, ())))

    def format(self, node: Node) -> Format:
        """The format a value names."""
        if node.text() not in self.formats:
            raise node.error(f"there is no format '{node.value}'; this file has: {listing(self.formats)}")
        return self.formats[node.text()]


def identifier(node: Node, name: str) -> str:
    """The name, after checking that formulas and patterns can use it."""
    if not _IDENTIFIER.fullmatch(name):
        raise node.error(f"'{name}' is not a name: letters, digits and _ only, no digit first", key=True)
    return name


def layout(members: Mapping[str, Node], context: Context, operands: Mapping[str, int] | None = None) -> Encoding:
    """The bit layout of a table with order, word and fields."""
    order = members["order"].text()
    if order not in ORDERS:
        raise members["order"].error(f"unknown order '{order}'; it is one of: {listing(ORDERS)}")
    word = members["word"].integer(context.names, 8)
    if word % 8 or word > _LARGEST_WORD:
        raise members["word"].error(f"a word is a multiple of 8 bits and at most {_LARGEST_WORD}, not {word}")
    used: list[Formula] = []
    try:
        return parse_field_list(members["fields"].text(), order, word, _widths(context, used), operands or {})
    except FieldListError as error:
        origins = context.origins_of(*used)
        remedy = f"; its widths follow from {listing(origins)}: change these" if origins and error.sizes else ""
        raise members["fields"].error(error.message + remedy, error.offset) from None


def _widths(context: Context, used: list[Formula]) -> Widths:
    def width(formula: Formula) -> int:
        for name in formula.names():
            if name.word or name.text not in context.names:
                there = listing(context.names)
                raise FormulaError(f"there is no name '{name.text}'; the names here are: {there}", name.offset)
        used.append(formula)
        return formula.value(context.names)

    return width
