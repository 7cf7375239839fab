"""Every key an ISA file may have, and a reader of tables that checks them."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from isa.arithmetic import Formula, FormulaError
from isa.errors import IsaError, listing
from isa.positions import Path
from isa.source import Source


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a table: the kind of its value, what it means, whether it must be there.

    `table` names the table of TABLES that the value is, `members` what each of its members is: tables, or PLAIN.
    `one_of` are the only texts, where only some mean something.
    """

    kind: str
    doc: str
    required: bool = False
    table: str = ""
    members: tuple[str, ...] = ()
    one_of: tuple[str, ...] = ()


KINDS = {
    "text": "a string",
    "texts": "a string or a list of strings",
    "integer": "an integer, or a formula in a string",
    "formula": "a formula in a string, or an integer",
    "table": "a table",
    "tables": "a list of tables",
    "encoding": "a string in the manual's notation, or a table with order, word and fields",
}

MEMORY_KINDS = ("external", "scratchpad", "register")
ORDERS = ("lsb", "msb")
IDLE = ("zero", "keep")
PROCESSORS = ("x86_64", "aarch64")
DENORMALS = ("zero",)
PLAIN = "plain"
"""In `members`: an integer, or a formula in a string."""

_LAYOUT = {
    "order": Key(
        "text", "lsb: the first field is the lowest; msb: the first field is the highest", True, one_of=ORDERS
    ),
    "word": Key("integer", "bits of one little-endian word; no field crosses a word", True),
    "fields": Key("text", "bits | number:width | name:width | name:width=value | name[high:low] | operand | 0:*", True),
}

TABLES: dict[str, dict[str, Key]] = {
    "file": {
        "name": Key("text", "name of the ISA", True),
        "doc": Key("text", "what machine this is, and the source of the facts"),
        "processor": Key(
            "text",
            "whose code surrounds the instructions, as uname -m names it; without it programs are abstract",
            one_of=PROCESSORS,
        ),
        "extends": Key("text", "a shipped ISA whose memories, formats, entries and timing this file adds to"),
        "parameters": Key("table", "named integers: a default, or {default, doc}", members=(PLAIN, "parameter")),
        "memory": Key("table", "the memories by name", True, members=("memory",)),
        "format": Key("table", "bit layouts by name", members=("format",)),
        "instruction": Key("tables", "the entries", True, table="instruction"),
        "timing": Key("table", "cores by name", members=("timing",)),
        "emit": Key("table", "how kernels are written in other languages", table="emit_file"),
    },
    "emit_file": {"c": Key("table", "in C", True, table="c")},
    "c": {
        "headers": Key("texts", "headers that declare the intrinsics"),
        "flags": Key("texts", "flags that the compiler needs"),
        "types": Key("table", "vector types by element and lanes, f32x16, or by bits alone, 512", members=(PLAIN,)),
        "low": Key("table", "by bits: an expression for the low part of a register, {}", members=(PLAIN,)),
        "fill": Key("table", "by bits: an expression for a register whose low part is {}", members=(PLAIN,)),
    },
    "emit": {"c": Key("text", "a C expression for the output, or a call where it is in memory; {operand} in it", True)},
    "parameter": {
        "default": Key("integer", "its value unless overridden", True),
        "doc": Key("text", "what it means, with its unit"),
    },
    "memory": {
        "kind": Key("text", "external, scratchpad or register", True, one_of=MEMORY_KINDS),
        "bits": Key("integer", "bits of one addressable word, a multiple of 8", True),
        "count": Key("integer", "number of words; or say bytes"),
        "bytes": Key("integer", "size of the whole, from which count follows"),
        "format": Key("text", "the [format.NAME] of its words, whose fields addresses may read"),
        "doc": Key("text", "what it holds"),
        "pads": Key("integer", "zero words that a load can put on either side of a row"),
        "pointers": Key("text", "the memory of registers that point into it: operands have NAME.base and NAME.disp"),
    },
    "format": {**_LAYOUT, "doc": Key("text", "what it holds")},
    "encoding": _LAYOUT,
    "instruction": {
        "name": Key("text", "name of the entry", True),
        "doc": Key("text", "what it does"),
        "like": Key("text", "an entry above, whose keys this one has where it does not say otherwise"),
        "index": Key("table", "the dims of the pattern and their extents", members=(PLAIN,)),
        "choice": Key("table", "constants that the encoding picks, and how many values each has", members=(PLAIN,)),
        "pattern": Key(
            "texts", "what one trip does: one assignment in index notation, or several that are done at once"
        ),
        "operands": Key("table", "the tensors of the pattern", members=("operand",)),
        "sequence": Key("tables", "entries above that do it in a row, where no single instruction does", table="part"),
        "repeat": Key("table", "loops around the pattern, outermost first: a count, or start..stop", members=(PLAIN,)),
        "when": Key("formula", "the trips at which the entry acts"),
        "set": Key("table", "fields whose value makes this entry", members=(PLAIN,)),
        "format": Key("text", "the [format.NAME] of its bits"),
        "encoding": Key("encoding", "its bits, where it shares no format", table="encoding"),
        "syntax": Key("text", "assembler text, with {operand} in it"),
        "requires": Key("texts", "CPU features, by the names of the operating system (/proc/cpuinfo)"),
        "mask": Key("table", "the predicate of its lanes, a register whose number is the field `k`", table="mask"),
        "denormals": Key(
            "text",
            "zero: denormal floats are read and written as zero, whatever the control register",
            one_of=DENORMALS,
        ),
        "emit": Key("table", "the entry in other languages", table="emit"),
        "summation": Key("text", "how a float `+=` is rounded, where it matters; a name of isa/rounding.py"),
    },
    "part": {
        "entry": Key("text", "the name of the instruction", True),
    },
    "mask": {
        "in": Key("text", "the register memory of the predicate", True),
        "type": Key("text", "its elements, one a lane, whose highest bits say which lanes act: u1[l]", True),
        "idle": Key("text", "zero or keep: what becomes of the output's other elements", True, one_of=IDLE),
    },
    "operand": {
        "in": Key("text", "a memory, or field", True),
        "type": Key("text", "scalar type and shape in dims of the index: i8[b,i]", True),
        "address": Key("formula", "its first word; by default the field of the operand's name"),
        "when": Key("formula", "where it is false the operand is zero and is not read"),
        "stride": Key("text", "behind a pointer: the outermost dim, whose step in bytes is index times scale"),
        "at": Key("text", "the field that holds it, or its slot in the manual's notation"),
    },
    "timing": {
        "source": Key("texts", "where the numbers come from", True),
        "like": Key("text", "a core above, whose numbers this one has where it does not say otherwise"),
        "doc": Key("text", "what core this is"),
        "units": Key("text", "its execution units: ports and pipes, by name"),
        "load": Key("text", "micro-operations that a memory operand adds to the cost of the same entry on registers"),
    },
    "issue": {
        "units": Key("text", "its micro-operations and the units each can go to: 1*p05+1*p23", True),
        "latency": Key("integer", "cycles until the output can be used", True),
        "cycles": Key("integer", "cycles for which a micro-operation holds its unit; 1 by default"),
        "accumulate": Key("integer", "cycles until the next sum can add to the output; by default the latency"),
    },
    "cost": {
        "unit": Key("text", "what it occupies; instructions of one unit do not overlap", True),
        "start": Key("integer", "cycles of one instruction that does nothing", True),
        "trip": Key("integer", "further cycles for each trip of the repeat loops"),
        "pad": Key("integer", "further cycles for each operand that `when` makes zero"),
        "burst": Key("integer", "further cycles for each bus burst"),
        "latency": Key("integer", "cycles until the output can be used"),
    },
}


OPEN = {"timing": (PLAIN, "issue", "cost"), "part": (PLAIN,)}
"""Tables that may have further members and what these are: constants and costs; the registers of operands."""


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
