"""What an ISA file must stand without a line of test code: gates generated from the file alone."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from dataflow.operator import Operator
from dataflow.sums import Sums
from embed.embedding import as_accumulation
from embed.errors import NoEmbedding
from embed.solver import search
from embed.solver.nodes.plans import plan
from embed.solver.settings import Settings
from isa import IsaError, interpreter, loads
from isa.bench import Bench
from isa.drawing import draw_fields
from isa.machine import MachineInstruction
from isa.model import Instruction, Isa
from isa.printer import canonical
from isa.source import Source

_DRAWS = 20
_ROUNDS = 4
_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Result:
    """One gate: what it is, how many things it tried, and what is wrong with each that failed, by entry."""

    gate: str
    tried: int
    failures: tuple[str, ...]


def run_gates(source: Source, target: Isa, seed: int = 0) -> Iterator[Result]:
    """The gates of a loaded file, one after another."""
    random = np.random.default_rng(seed)
    coded = [entry for entry in target.instructions.values() if entry.encoding or entry.form]
    yield _gate("encode, decode: random fields come back", coded, lambda entry: _round_trip(target, entry, random))
    computing = [entry for entry in target.instructions.values() if entry.statements]
    yield _gate("interpreter: extremes, nothing else written", computing, lambda entry: _runs(target, entry, random))
    sequences = [entry for entry in computing if entry.sequence]
    if sequences:
        yield _gate("sequences: their instructions do it", sequences, lambda entry: _in_a_row(target, entry, random))
    sums = [entry for entry in computing if _is_sum(entry)]
    yield _gate("selection: its own pattern finds the entry", sums, lambda entry: _selected(target, entry))
    failure = _printed_back(source, target)
    yield Result("print-back: the canonical text says the same", 1, (failure,) if failure else ())


def _gate(name: str, entries: list[Instruction], check: Callable[[Instruction], str]) -> Result:
    found = [(entry.name, check(entry)) for entry in entries]
    return Result(name, len(entries), tuple(f"{entry}: {wrong}" for entry, wrong in found if wrong))


def _round_trip(target: Isa, entry: Instruction, random: np.random.Generator) -> str:
    """Bytes of random fields decode to what encodes to them again, and to the same fields if it is the same entry."""
    for _ in range(_DRAWS):
        item = draw_fields(target, entry, random)
        try:
            data = target.encode(item)
            found = target.decode(data)
            again = target.encode(found)
        except IsaError as error:
            return str(error)
        if again != data:
            return f"{item} is {data.hex(' ')}, which decodes to {found}, which is {again.hex(' ')}"
        if found.name == item.name and _nonzero(found) != _nonzero(item):
            return f"{item} is {data.hex(' ')}, which decodes to {found}"
    return ""


def _nonzero(item: MachineInstruction) -> dict[str, int]:
    return {name: value for name, value in item.fields.items() if value}


def _runs(target: Isa, entry: Instruction, random: np.random.Generator) -> str:
    """The entry runs on random and extreme values and writes what its pattern says, where it says."""
    for _ in range(_ROUNDS):
        bench = Bench(target, entry, random)
        before = {name: array.copy() for name, array in bench.memories.items()}
        try:
            interpreter.run(target, bench.item, bench.memories)
        except IsaError as error:
            return str(error)
        written = {operand.memory for operand in entry.outputs}
        others = [name for name in before if name not in written]
        changed = [name for name in others if (before[name] != bench.memories[name]).any()]
        if changed:
            return f"{bench.item} changes {', '.join(changed)}"
        if not bench.agrees():
            return f"{bench.item} does not compute `{entry.text}`"
    return ""


def _in_a_row(target: Isa, entry: Instruction, random: np.random.Generator) -> str:
    """The instructions of a sequence, one after another on random and extreme values, leave what its pattern says."""
    for _ in range(_ROUNDS):
        bench = Bench(target, entry, random)
        scratch = range(max(bench.fields.values(), default=0) + 1, 1 << 10)[: len(entry.scratch)]
        try:
            for item in entry.expanded(bench.fields, scratch):
                interpreter.run(target, item, bench.memories)
        except (IsaError, IndexError) as error:
            return str(error)
        if not bench.agrees():
            return f"{bench.item} does not compute `{entry.text}`"
    return ""


def _is_sum(entry: Instruction) -> bool:
    """Whether it accumulates, or adds up several addends, or writes several results."""
    accumulates = entry.pattern is not None and as_accumulation(entry.pattern).accumulate
    return accumulates or (_is_planned(entry) and not entry.mask and not entry.choice)


def _is_planned(entry: Instruction) -> bool:
    """Whether an operator like it is embedded node by node."""
    return len(Sums(entry.statements).addends) > 1


def _selected(target: Isa, entry: Instruction) -> str:
    """The entry's pattern as an operator embeds, fully, into this entry or one that does the same work."""
    if _is_planned(entry):
        return _planned(target, entry)
    assert entry.pattern is not None
    pattern = as_accumulation(entry.pattern)
    operator = Operator("expr", (pattern,), tuple(pattern.extents.items()))
    alone = replace(target, instructions={entry.name: entry})
    try:
        found = search.best(operator, alone, Settings("invocations", _SECONDS))
    except NoEmbedding as error:
        return str(error)
    if found.costs.invocations != 1:
        return f"its own pattern takes {found.costs.invocations} invocations, not 1"
    return ""


def _planned(target: Isa, entry: Instruction) -> str:
    """The same for an entry that is placed node by node."""
    operator = Operator("expr", entry.statements)
    try:
        found = plan(operator, replace(target, instructions={entry.name: entry}), Settings("invocations", _SECONDS))
    except NoEmbedding as error:
        return str(error)
    invocations = sum(step.invocations for step in found.steps)
    return f"its own statements take {invocations} invocations, not 1" if invocations != 1 else ""


def _printed_back(source: Source, target: Isa) -> str:
    text = canonical(source.values)
    again = loads(text, target.parameters, label="the canonical text")
    return "" if replace(again, path=target.path) == target else "it loads to another ISA"
