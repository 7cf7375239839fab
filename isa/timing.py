"""The [timing.CORE] sections of an ISA file."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from isa.context import Context, identifier
from isa.errors import listing
from isa.model import Cost, Instruction, MicroOperations, Timing
from isa.node import Node
from isa.schema import TABLES
from isa.sequences import cost_of

_Members = dict[str, Node]
_UOPS = re.compile(r"(\d)\*([A-Za-z]+?)([0-9]\w*)?")


def read_timings(nodes: Iterable[Node], instructions: Mapping[str, Instruction], context: Context) -> dict[str, Timing]:
    """Every core by name; an instruction without a cost has that of the entry it is like.

    A core of the file that this one extends keeps its numbers; a section of the same name adds to them.
    """
    before: dict[str, _Members] = {}
    timings: dict[str, Timing] = {}
    for name, entry in (item for node in nodes for item in node.items()):
        with context.faults.item(name, entry.value):
            own = entry.members("timing", free=True)
            entry.require(own, "timing")
            sources = (*(timings[name].source if name in timings else ()), *own["source"].texts())
            own = {**before.get(name, {}), **own}
            merged = {**_base(own["like"], before), **own} if "like" in own else own
            before[name] = own
            timings[name] = replace(_timing(name, merged, own, instructions, context), source=sources)
    return timings


def _base(like: Node, before: Mapping[str, _Members]) -> _Members:
    """The numbers of the core that one is like."""
    name = like.text()
    if name not in before:
        raise like.error(f"there is no core '{name}' above; there are: {listing(before)}")
    if "like" in before[name]:
        raise like.error(f"'{name}' is itself like '{before[name]['like'].value}': name that core")
    return {key: node for key, node in before[name].items() if key not in ("source", "doc", "like")}


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
    units = tuple(members["units"].text().split()) if "units" in members else ()
    load = _uops(members["load"], units) if "load" in members else ()
    costs = {}
    for key, node in numbers.items():
        with context.faults.item(value={key: node.value}):
            if key not in constants:
                costs[key] = _cost(key, node, instructions, names, units)
    doc = own["doc"].text() if "doc" in own else ""
    return Timing(name, own["source"].texts(), constants, _spread(costs, instructions, load), doc, units)


def _cost(
    name: str, node: Node, instructions: Mapping[str, Instruction], names: Mapping[str, int], units: Sequence[str]
) -> Cost:
    if name not in instructions:
        raise node.error(f"there is no instruction '{name}'; this file has: {listing(instructions)}", key=True)
    if isinstance(node.value, dict) and "units" in node.value:
        issue = node.table("issue")
        latency = issue["latency"].integer(names, 0)
        cycles = issue["cycles"].integer(names, 1) if "cycles" in issue else 1
        accumulate = issue["accumulate"].integer(names, 0) if "accumulate" in issue else latency
        return Cost("", 0, {}, _uops(issue["units"], units), latency, cycles, accumulate)
    members = node.table("cost")
    numbers = {key: value.integer(names, 0) for key, value in members.items() if key != "unit"}
    start = numbers.pop("start")
    return Cost(members["unit"].text(), start, numbers)


def _uops(node: Node, units: Sequence[str]) -> tuple[MicroOperations, ...]:
    """`1*p05+2*p23A` as uops.info writes it: one on p0 or p5, two on any of p2, p3 and pA; empty for none."""
    found = []
    for part in filter(None, node.text().split("+")):
        match = _UOPS.fullmatch(part)
        names = tuple(match[2] + one for one in match[3] or ("",)) if match else ()
        if match is None or any(name not in units for name in names):
            raise node.error(f"'{part}' is not a count of units, such as 1*p05; the units are: {listing(units)}")
        found.append(MicroOperations(int(match[1]), names))
    return tuple(found)


def _spread(
    costs: Mapping[str, Cost], instructions: Mapping[str, Instruction], load: tuple[MicroOperations, ...]
) -> dict[str, Cost]:
    """The costs in the order of the entries, those taken from the entry an entry is like, and those of sequences."""
    found: dict[str, Cost] = {}
    for name, instruction in instructions.items():
        cost = costs.get(name)
        base = instructions.get(instruction.like or "")
        if cost is None and base and base.name in costs:
            cost = costs[base.name]
            if cost.uops and _loads(instruction) and not _loads(base):
                cost = replace(cost, uops=(*cost.uops, *load))
        cost = cost or cost_of(instruction, instructions, found)
        if cost:
            found[name] = cost
    return found


def _loads(instruction: Instruction) -> bool:
    return any(operand.pointers for operand in instruction.inputs)
