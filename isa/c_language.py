"""How an instruction is written in C: what a file says of the language, and the template of each entry."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from isa.errors import listing
from isa.node import Node

_PLACE = re.compile(r"\{(\w*)\}")


@dataclass(frozen=True, slots=True)
class CLanguage:
    """Headers to include and flags for the compiler.

    `types` are the vector types by element and lanes (`f32x16`), or by bits where elements do not matter (`512`); a
    register is a variable of the type of its bits. `low` turns one into its low part of so many bits, `fill` back.
    """

    headers: tuple[str, ...]
    flags: tuple[str, ...]
    types: Mapping[str, str]
    low: Mapping[str, str]
    fill: Mapping[str, str]

    def type_of(self, dtype: str, lanes: int, bits: int) -> str:
        """The C type of so many lanes, empty if the file does not say."""
        return self.types.get(f"{dtype}x{lanes}") or self.types.get(str(bits), "")


def read_language(nodes: Iterable[Node]) -> CLanguage | None:
    """What the files say, those that are extended first; None if nothing."""
    tables = [node.table("emit_file")["c"] for node in nodes]
    if not tables:
        return None
    members = [table.table("c") for table in tables]
    headers = (header for each in members if "headers" in each for header in each["headers"].texts())
    flags = (flag for each in members if "flags" in each for flag in each["flags"].texts())
    types, low, fill = (dict(_texts(members, key)) for key in ("types", "low", "fill"))
    return CLanguage(tuple(dict.fromkeys(headers)), tuple(dict.fromkeys(flags)), types, low, fill)


def _texts(members: Iterable[Mapping[str, Node]], key: str) -> Iterator[tuple[str, str]]:
    for each in members:
        if key in each:
            yield from ((name, node.text()) for name, node in each[key].items())


def read_template(node: Node, fields: Iterable[str]) -> str:
    """The template of an entry; raises IsaError at a name in braces that is none of its `fields`."""
    template = node.table("emit")["c"]
    names = list(fields)
    for match in _PLACE.finditer(template.text()):
        if match[1] not in names:
            raise template.error(f"there is no operand '{match[1]}'; there are: {listing(names)}", match.start(1))
    return template.text()
