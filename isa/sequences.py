"""Entries that are several instructions in a row: which, on what registers, and what a core takes for them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from isa.context import Context
from isa.entries import Entry
from isa.errors import listing
from isa.model import Cost, Instruction, Operand, Part
from isa.node import Node

_BITS = ("encoding", "format", "syntax", "emit", "mask", "choice", "repeat")
"""What the instructions of a sequence have, and so the sequence has not."""


def read_sequence(
    entry: Entry, operands: Mapping[str, Operand], output: str, known: Mapping[str, Instruction], context: Context
) -> tuple[Part, ...]:
    """The instructions of an entry, each an entry above; empty for one that is an instruction itself."""
    if "sequence" not in entry.members:
        return ()
    for key in _BITS:
        if key in entry.members:
            raise entry.members[key].error(f"a sequence has no '{key}': its instructions do", key=True)
    node = entry.members["sequence"]
    reader = _Reader(operands, output, known, context)
    parts = tuple(reader.part(Node(node.source, (*node.path, i), value)) for i, value in enumerate(node.value))
    if output not in reader.written:
        raise node.error(f"no instruction of the sequence writes '{output}'")
    return parts


class _Reader:
    """Reads part after part; `written` are the registers that hold something of the sequence's own."""

    def __init__(
        self, operands: Mapping[str, Operand], output: str, known: Mapping[str, Instruction], context: Context
    ) -> None:
        self.operands, self.output, self.known, self.context = operands, output, known, context
        self.memories = {name: operand.memory for name, operand in operands.items()}
        self.written: set[str] = set()

    def part(self, node: Node) -> Part:
        members = node.table("part")
        name = members["entry"].text()
        part = self.known.get(name)
        if part is None:
            raise members["entry"].error(f"there is no entry '{name}' above; there are: {listing(self.known)}")
        if part.sequence or part.mask or part.choice or part.repeat or part.output is None:
            raise members["entry"].error(f"'{name}' is not one plain instruction with one result")
        for key, member in members.items():
            if key != "entry" and key not in part.operands:
                raise member.error(f"'{name}' has no operand '{key}'; it has {listing(part.operands)}", key=True)
        bound = {key: members[key].text() if key in members else key for key in part.operands}
        for operand in (*part.inputs, part.output):
            self.register(operand, bound[operand.name], members.get(operand.name, node), operand is part.output)
        return Part(name, tuple(bound.items()))

    def register(self, operand: Operand, name: str, node: Node, written: bool) -> None:
        """Check one register of a part: it is there, in the same memory, and holds something where it is read."""
        if self.context.memories[operand.memory].kind != "register":
            raise node.error(f"'{operand.name}' is in {operand.memory}: a sequence works on registers")
        memory = self.memories.setdefault(name, operand.memory)
        if memory != operand.memory:
            raise node.error(f"'{name}' is a register of {memory}, but '{operand.name}' is one of {operand.memory}")
        if written and name in self.operands and name != self.output:
            raise node.error(f"'{name}' is only read by the pattern, and must stay as it is")
        if not written and name not in self.operands and name not in self.written:
            raise node.error(f"nothing has written '{name}' yet; the operands are: {listing(self.operands)}")
        if written:
            self.written.add(name)


def with_sequence(instruction: Instruction, parts: tuple[Part, ...], known: Mapping[str, Instruction]) -> Instruction:
    """The entry with its instructions, and the features that these need."""
    if not parts:
        return instruction
    needed = dict.fromkeys(feature for part in parts for feature in known[part.entry].requires)
    return replace(instruction, sequence=parts, requires=tuple(dict.fromkeys((*instruction.requires, *needed))))


def cost_of(
    instruction: Instruction, instructions: Mapping[str, Instruction], costs: Mapping[str, Cost]
) -> Cost | None:
    """What a pipelined core takes for a sequence: all micro-operations, and the longest chain of latencies.

    None where it is none, or the file does not say of every instruction.
    """
    found = [costs.get(part.entry) for part in instruction.sequence]
    whole = [cost for cost in found if cost is not None]
    if not whole or len(whole) < len(found) or len({cost.cycles for cost in whole}) > 1 or any(c.unit for c in whole):
        return None
    assert instruction.output is not None
    uops = tuple(uop for cost in whole for uop in cost.uops)
    sources = [name for name in instruction.operands if name != instruction.output.name]
    latency = _chain(instruction, instructions, whole, [*sources, instruction.output.name])
    accumulate = _chain(instruction, instructions, whole, [instruction.output.name])
    return Cost("", 0, {}, uops, latency, whole[0].cycles, accumulate)


def _chain(
    instruction: Instruction, instructions: Mapping[str, Instruction], costs: Sequence[Cost], late: Sequence[str]
) -> int:
    """Cycles from the registers in `late` to the result; the others have long been there."""
    ready = dict.fromkeys(late, 0)
    for part, cost in zip(instruction.sequence, costs, strict=True):
        bound, entry = dict(part.operands), instructions[part.entry]
        waits = [ready[bound[operand.name]] for operand in entry.inputs if bound[operand.name] in ready]
        assert entry.output is not None
        if waits:
            ready[bound[entry.output.name]] = max(waits) + cost.latency
    assert instruction.output is not None
    return ready.get(instruction.output.name, 0)
