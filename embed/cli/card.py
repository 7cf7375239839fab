"""An ISA as a readable card: what its file says, with parameters and widths worked out."""

from collections.abc import Iterator

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from embed.cli.console import new_table
from isa.encoding import Encoding
from isa.model import Instruction, Isa, Timing


def card(target: Isa) -> Iterator[RenderableType]:
    """The card, piece by piece."""
    yield Text(f"{title(target)}\n", style="bold")
    if target.parameter_list:
        yield parameter_table(target)
    yield memory_table(target)
    yield instruction_table(target)
    if target.formats:
        yield format_table(target)
    for timing in target.timings.values():
        yield timing_table(timing)


def title(target: Isa) -> str:
    """Name and doc; one that begins with the name says it already."""
    named = target.doc.casefold().startswith(f"{target.name.casefold()}:")
    return target.doc if named else ": ".join(filter(None, (target.name, target.doc)))


def parameter_table(target: Isa) -> Table:
    """Every parameter with its value and default."""
    table = new_table("parameters", "name", "value", "default", "doc")
    for parameter in target.parameter_list:
        table.add_row(parameter.name, str(parameter.value), str(parameter.default), parameter.doc)
    return table


def memory_table(target: Isa) -> Table:
    """Every memory with the size of a word and of the whole."""
    table = new_table("memories", "name", "kind", "bits of a word", "words", "bytes", "doc")
    for memory in target.memories.values():
        size = [_count(memory.count), _count(memory.bytes)]
        table.add_row(memory.name, memory.kind, f"{memory.bits:,}", *size, memory.doc)
    return table


def instruction_table(target: Isa) -> Table:
    """Every instruction: its box, its pattern, and where its operands lie."""
    table = new_table("instructions", "name", "box", "pattern", "operands", "doc")
    for entry in target.instructions.values():
        table.add_row(entry.name, _box(entry), Text(entry.text or "-"), _operands(entry), entry.doc)
    return table


def format_table(target: Isa) -> Table:
    """Every bit layout, fields from the first bit to the last."""
    table = new_table("formats", "name", "bits", "fields", "doc")
    for form in target.formats.values():
        table.add_row(form.name, str(form.encoding.size), Text(_fields(form.encoding)), form.doc)
    return table


def timing_table(timing: Timing) -> Table:
    """The cost of each instruction on one core, and where the numbers come from."""
    table = new_table(f"timing.{timing.name}", "instruction", "unit", "start", "cycles per")
    for name, cost in timing.costs.items():
        table.add_row(
            name, cost.unit, str(cost.start), ", ".join(f"{what}: {cycles}" for what, cycles in cost.per.items())
        )
    for name, value in timing.constants.items():
        table.add_row(name, "constant", str(value), "")
    table.caption = "; ".join(timing.source)
    return table


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _box(entry: Instruction) -> str:
    return " ".join(f"{name}={extent}" for name, extent in entry.index.items()) or "-"


def _operands(entry: Instruction) -> Text:
    return Text("\n".join(f"{operand.tensor} in {operand.memory}" for operand in entry.operands.values()))


def _fields(encoding: Encoding) -> str:
    return " ".join(f"{name}:{field.width}" for name, field in encoding.fields.items())
