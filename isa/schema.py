"""Every key an ISA file may have: errors, the JSON Schema and the reference follow from these tables."""

from dataclasses import dataclass


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
CACHES = ("past",)
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
        "caches": Key(
            "text",
            "past: what it stores goes past the caches, at an address that is a multiple of its size",
            one_of=CACHES,
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
