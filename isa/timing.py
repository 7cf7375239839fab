"""The [timing.CORE] sections of an ISA file."""

from collections.abc import Mapping

from isa.context import Context, identifier
from isa.errors import listing
from isa.model import Cost, Instruction, Timing
from isa.schema import TABLES, Node


def read_timings(node: Node | None, instructions: Mapping[str, Instruction], context: Context) -> dict[str, Timing]:
    """Every core by name; an instruction without a cost has that of the entry it is like."""
    timings: dict[str, Timing] = {}
    for name, entry in node.items() if node else ():
        timings[name] = _timing(name, entry, timings, instructions, context)
    return timings


def _timing(
    name: str, node: Node, before: Mapping[str, Timing], instructions: Mapping[str, Instruction], context: Context
) -> Timing:
    members = node.members("timing", free=True)
    node.require(members, "timing")
    base = _base(members["like"], before) if "like" in members else None
    constants = dict(base.constants) if base else {}
    costs = dict(base.costs) if base else {}
    for key, value in members.items():
        if key in TABLES["timing"]:
            continue
        if isinstance(value.value, dict):
            costs[_known(key, value, instructions)] = _cost(value, context)
        else:
            constants[identifier(value, key)] = value.integer(context.names, 0)
    doc = members["doc"].text() if "doc" in members else ""
    return Timing(name, members["source"].texts(), constants, _spread(costs, instructions), doc)


def _base(like: Node, before: Mapping[str, Timing]) -> Timing:
    if like.text() not in before:
        raise like.error(f"there is no core '{like.value}' above; there are: {listing(before)}")
    return before[like.text()]


def _known(name: str, node: Node, instructions: Mapping[str, Instruction]) -> str:
    if name not in instructions:
        raise node.error(f"there is no instruction '{name}'; this file has: {listing(instructions)}", key=True)
    return name


def _cost(node: Node, context: Context) -> Cost:
    members = node.table("cost")
    numbers = {key: value.integer(context.names, 0) for key, value in members.items() if key != "unit"}
    start = numbers.pop("start")
    return Cost(members["unit"].text(), start, numbers)


def _spread(costs: dict[str, Cost], instructions: Mapping[str, Instruction]) -> dict[str, Cost]:
    """The costs in the order of the entries, with those taken from the entry an entry is like."""
    found = {}
    for name, instruction in instructions.items():
        cost = costs.get(name) or costs.get(instruction.like or "")
        if cost:
            found[name] = cost
    return found
