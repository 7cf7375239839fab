"""One instruction as a card: what it computes, where its operands lie, its bits, what it costs on each core."""

from collections.abc import Iterator

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from embed.cli.console import new_table
from isa.encoding import Encoding, diagram
from isa.model import FIELD, Cost, Instruction, Isa, Operand

_LONGEST = 16
"""More bits than these, all zero, are not written out."""


def entry_card(target: Isa, entry: Instruction) -> Iterator[RenderableType]:
    """The card, piece by piece."""
    yield Text(f"{entry.name} of {target.name}{entry.doc and f': {entry.doc}'}\n", style="bold")
    yield facts(entry)
    if entry.operands:
        yield operands(target, entry)
    if entry.encoding:
        for number in range(entry.encoding.size // entry.encoding.word):
            yield bits(entry, entry.encoding, number)
    if any(entry.name in timing.costs for timing in target.timings.values()):
        yield costs(target, entry)


def facts(entry: Instruction) -> Table:
    """What one line each can say."""
    loops = "; ".join(f"{loop.name} from {loop.start} to {loop.stop}" for loop in entry.repeat)
    rows = {
        "pattern": entry.text or "none: it moves no data",
        "lanes": " x ".join(f"{name}:{extent}" for name, extent in entry.index.items()),
        "choices": " ".join(f"{name}:{extent}" for name, extent in entry.choice.items()),
        "sequence": "; ".join(map(str, entry.sequence)),
        "loops": loops,
        "when": str(entry.when or ""),
        "mask": _mask(entry),
        "floats": " ".join(filter(None, (entry.denormals and "denormals are zero", entry.summation))),
        "caches": "past them, at addresses that are multiples of its size" if entry.caches else "",
        "syntax": entry.syntax,
        "encoding": entry.notation,
        "requires": " ".join(entry.requires),
        "like": entry.like or "",
    }
    table = new_table("")
    for name, text in rows.items():
        if text:
            table.add_row(name, Text(text))
    return table


def operands(target: Isa, entry: Instruction) -> Table:
    """Every operand with its memory and how much of it one invocation takes."""
    table = new_table("operands", "name", "type", "memory", "words", "address")
    for operand in entry.operands.values():
        memory = target.memories.get(operand.memory)
        words = "" if memory is None else f"{-(-operand.tensor.bytes * 8 // memory.bits):,}"
        table.add_row(operand.name, str(operand.tensor), operand.memory, words, Text(_address(operand)))
    return table


def bits(entry: Instruction, encoding: Encoding, number: int) -> Table:
    """One word of the encoding, its highest bit first: the bits of each piece above its name or its value."""
    low = number * encoding.word
    title = "encoding" if encoding.size == encoding.word else f"encoding, word {number}"
    pieces = sorted(_pieces(entry, encoding, low), reverse=True)
    table = new_table(title, *(_range(at - low, width) for at, width, _ in pieces))
    table.add_row(*(Text(text) for _, _, text in pieces))
    return table


def costs(target: Isa, entry: Instruction) -> Table:
    """What the instruction costs on each core."""
    table = new_table("timing", "core", "units", "cycles", "latency", "source")
    for timing in target.timings.values():
        cost = timing.costs.get(entry.name)
        if cost:
            latency = str(cost.latency or cost.per.get("latency") or "-")
            table.add_row(timing.name, _units(cost), _cycles(cost), latency, "; ".join(timing.source))
    return table


def _address(operand: Operand) -> str:
    if operand.memory == FIELD:
        return f"the field {operand.at}"
    if operand.pointers:
        step = f", a row every {operand.name}.index * scale bytes" if operand.stride else ""
        return f"behind a register of {operand.pointers}{step}"
    return f"{operand.address}{f' when {operand.when}' if operand.when else ''}"


def _pieces(entry: Instruction, encoding: Encoding, low: int) -> Iterator[tuple[int, int, str]]:
    """(lowest bit, width, text) of the fields and of the runs of literal bits of the word that starts at bit `low`."""
    high = low + encoding.word
    for at, width, name in diagram(encoding):
        if low <= at < high:
            yield at, width, f"{name} = {entry.fixed[name]}" if name in entry.fixed else name
    at = low
    while at < high:
        width = 0
        while at + width < high and encoding.mask >> (at + width) & 1:
            width += 1
        if width:
            yield at, width, _literal(encoding.value >> at & (1 << width) - 1, width)
        at += width or 1


def _range(low: int, width: int) -> str:
    return str(low) if width == 1 else f"{low + width - 1}..{low}"


def _literal(value: int, width: int) -> str:
    return "zeros" if value == 0 and width > _LONGEST else f"{value:0{width}b}"


def _mask(entry: Instruction) -> str:
    if entry.mask is None:
        return ""
    return f"{entry.mask.operand.tensor} in {entry.mask.operand.memory}, idle: {entry.mask.idle}"


def _units(cost: Cost) -> str:
    return " + ".join(f"{part.count} on {'/'.join(part.units)}" for part in cost.uops) or cost.unit


def _cycles(cost: Cost) -> str:
    if cost.uops:
        return str(cost.cycles)
    further = (f"{cycles} a {what}" for what, cycles in cost.per.items() if what != "latency")
    return ", ".join([str(cost.start), *further])
