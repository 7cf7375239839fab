"""A value of an ISA file with its place: a reader of tables that checks their keys, and of formulas."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from isa.arithmetic import Formula, FormulaError
from isa.errors import IsaError, listing
from isa.positions import Path
from isa.schema import KINDS, OPEN, TABLES
from isa.source import Source


@dataclass(frozen=True, slots=True)
class Node:
    """A value of the file, and where it is."""

    source: Source
    path: Path
    value: Any

    def error(self, message: str, offset: int | None = None, key: bool = False) -> IsaError:
        """An error that points at this value, at its key, or into its text."""
        return self.source.error(message, self.path, offset, key)

    def items(self) -> Iterator[tuple[str, "Node"]]:
        """The members of a table, in the order of the file."""
        if not isinstance(self.value, dict):
            raise self.error(f"'{self.name}' is a table")
        for key, value in self.value.items():
            yield key, Node(self.source, (*self.path, key), value)

    @property
    def name(self) -> str:
        return str(self.path[-1]) if self.path else "the file"

    def members(self, table: str, free: bool = False) -> dict[str, "Node"]:
        """The members by key, after checking keys and kinds against `TABLES[table]`; `free` allows others."""
        keys = TABLES[table]
        found = dict(self.items())
        unknown = () if free else [node for key, node in found.items() if key not in keys]
        wrong = [n.error(f"unknown key '{n.name}'; a key here is one of: {listing(keys)}", key=True) for n in unknown]
        wrong += [
            node.unfit(keys[key].kind)
            for key, node in found.items()
            if key in keys and not _is_kind(node.value, keys[key].kind)
        ]
        if wrong:
            raise IsaError.of(wrong)
        return found

    def usable(self, table: str) -> dict[str, "Node"]:
        """The members that `members` has nothing to say about."""
        keys = TABLES[table]
        return {key: node for key, node in self.items() if key in keys and _is_kind(node.value, keys[key].kind)}

    def require(self, found: Mapping[str, "Node"], table: str) -> None:
        """Raise an error if required keys are not among `found`."""
        missing = [(key, spec.doc) for key, spec in TABLES[table].items() if spec.required and key not in found]
        if missing:
            raise IsaError.of(self.error(f"'{key}' is missing: {doc}", key=True) for key, doc in missing)

    def table(self, table: str) -> dict[str, "Node"]:
        """The members by key, with the required ones there."""
        found = self.members(table, table in OPEN)
        self.require(found, table)
        return found

    def check(self, kind: str) -> None:
        """Raise an error if the value is not of this kind of `KINDS`."""
        if not _is_kind(self.value, kind):
            raise self.unfit(kind)

    def unfit(self, kind: str) -> IsaError:
        """What to say of a value that is not of this kind."""
        return self.error(f"'{self.name}' is {KINDS[kind]}, not {_shown(self.value)}")

    def text(self) -> str:
        self.check("text")
        return str(self.value)

    def texts(self) -> tuple[str, ...]:
        self.check("texts")
        return (self.value,) if isinstance(self.value, str) else tuple(self.value)

    def formula(self) -> Formula:
        """The formula in a string or integer value."""
        self.check("formula")
        return self.part(str(self.value), 0)

    def part(self, text: str, offset: int) -> Formula:
        """The formula that stands at `offset` in this text."""
        try:
            return Formula.parse(text)
        except FormulaError as error:
            raise self.error(error.message, offset + error.offset) from None

    def integer(self, names: Mapping[str, int], least: int | None = None) -> int:
        """The value now, from the names that have one; raises an error if it is below `least`."""
        self.check("integer")
        formula = self.formula()
        self.known(formula, names)
        try:
            value = formula.value(names)
        except FormulaError as error:
            raise self.error(error.message) from None
        if least is not None and value < least:
            shown = f"{formula} = {value}" if isinstance(self.value, str) else str(value)
            raise self.error(f"'{self.name}' is at least {least}, not {shown}")
        return value

    def known(
        self,
        formula: Formula,
        names: Collection[str],
        words: Collection[str] = (),
        offset: int = 0,
    ) -> Formula:
        """The formula, which stands at `offset` in this text; raises an error at the first name that is not there."""
        for name in formula.names():
            if name.text not in (words if name.word else names):
                what = "word field" if name.word else "name"
                there = listing(words if name.word else names)
                raise self.error(
                    f"there is no {what} '{name.text}'; the {what}s here are: {there}", offset + name.offset
                )
        return formula


def _is_kind(value: object, kind: str) -> bool:
    if kind in ("integer", "formula"):
        return isinstance(value, str | int) and not isinstance(value, bool)
    if kind == "texts" and isinstance(value, list):
        return bool(value) and all(isinstance(item, str) for item in value)
    if kind == "tables":
        return isinstance(value, list) and all(isinstance(item, dict) for item in value)
    if kind == "encoding":
        return isinstance(value, str | dict)
    return isinstance(value, dict if kind == "table" else str)


def _shown(value: object) -> str:
    names = {dict: "a table", list: "a list", bool: "a boolean", float: "a float", int: "an integer", str: "a string"}
    return names.get(type(value), f"a {type(value).__name__}")
