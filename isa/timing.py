"""The [timing.CORE] sections of an ISA file."""

from collections.abc import Mapping

from isa.context import Context, identifier
from isa.errors import listing
from isa.model import Cost, Instruction, Timing
from isa.schema import TABLES, Node

_Members = dict[str, Node]


def read_timings(node: Node | None, instructions: Mapping[str, Instruction], context: Context) -> dict[str, Timing]:
    """Every core by name; an instruction without a cost has that of the entry it is like."""
    before: dict[str, _Members] = {}
    timings: dict[str, Timing] = {}
    for name, entry in node.items() if node else ():
        own = entry.members("timing", free=True)
        entry.require(own, "timing")
        merged = {**_base(own["like"], before), **own} if "like" in own else own
        before[name] = own
        timings[name] = _timing(name, merged, own, instructions, context)
    return timings


def _base(like: Node, before: Mapping[str, _Members]) -> _Members:
    """The numbers of the core that one is like."""
    name = like.text()
    if name not in before:
        raise like.error(f"there is no core '{name}' above; there are: {listing(before)}")
    if "like" in before[name]:
        raise like.error(f"'{name}' is itself like '{before[name]['like'].value}': name that core")
    return {key: node for key, node in before[name].items() if key not in TABLES["timing"]}


def _timing(
    name: str, members: _Members, own: _Members, instructions: Mapping[str, Instruction], context: Context
) -> Timing:
    """One core; costs may be formulas of its constants."""
    numbers = {key: node for key, node in members.items() if key not in TABLES["timing"]}
    constants: dict[str, int] = {}
    for key, node in numbers.items():
        if not isinstance(node.value, dict):
            constants[identifier(node, key)] = node.integer({**context.names, **constants}, 0)
    names = {**context.names, **constants}
    costs = {key: _cost(key, node, instructions, names) for key, node in numbers.items() if key not in constants}
    doc = own["doc"].text() if "doc" in own else ""
    return Timing(name, own["source"].texts(), constants, _spread(costs, instructions), doc)


def _cost(name: str, node: Node, instructions: Mapping[str, Instruction], names: Mapping[str, int]) -> Cost:
    if name not in instructions:
        raise node.error(f"there is no instruction '{name}'; this file has: {listing(instructions)}", key=True)
    members = node.table("cost")
    numbers = {key: value.integer(names, 0) for key, value in members.items() if key != "unit"}
    start = numbers.pop("start")
    return Cost(members["unit"].text(), start, numbers)


def _spread(costs: Mapping[str, Cost], instructions: Mapping[str, Instruction]) -> dict[str, Cost]:
    """The costs in the order of the entries, with those taken from the entry an entry is like."""
    found = {}
    for name, instruction in instructions.items():
        cost = costs.get(name) or costs.get(instruction.like or "")
        if cost:
            found[name] = cost
    return found
