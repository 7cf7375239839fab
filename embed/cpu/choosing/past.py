"""Stores past the caches, for outputs that no cache of the core holds: such a store reads no line before it writes it.

What they write is in memory when it is read next, as would be most of such an output anyway.
"""

from collections.abc import Mapping, Sequence

from embed.cpu.arrays.streams import Stream
from embed.cpu.assembler.control import Order, Return
from embed.cpu.assembler.program import Fields, Filled, Part
from embed.cpu.choosing.core import machine
from embed.cpu.choosing.site import Site
from isa.machine import MachineInstruction
from isa.memo import remembered
from isa.model import Isa

_LINE = 64
"""Bytes of a cache line of cores that do not say."""


def past_caches(site: Site, store: str, output: Stream) -> dict[str, str]:
    """The store of a kernel with the one past the caches that can stand for it, if there is one and it is worth it.

    It then can wherever the output starts at a multiple of what one writes: all words lie at such multiples.
    """
    other = _twin(site.target, store)
    if not other or not output.feed.in_place:
        return {}
    size = stored_bytes(site.target, other)
    steps = (output.start, *output.point.values(), *output.tile.values())
    if output.bytes != size or size % _line(site.target) or any(step % size for step in steps):
        return {}
    total = output.feed.physical.tensor.bytes
    return {store: other} if all(room < total for room, _ in machine(site.target, site.roles).caches) else {}


def stored_bytes(target: Isa, store: str) -> int:
    """What a store writes, at a multiple of that if it goes past the caches."""
    pattern = target.instructions[store].pattern
    assert pattern is not None
    return pattern.tensors[0].bytes


def swapped(program: Sequence[Part], stores: Mapping[str, str]) -> list[Part]:
    """The program with other stores, all of which are seen before it returns."""
    found: list[Part] = []
    made: dict[Fields, Fields] = {}
    for part in program:
        if isinstance(part, list) and any(_name(each) in stores for each in part):
            found.append([_swapped(each, stores, made) for each in part])
        else:
            found += [Order(), part] if isinstance(part, Return) else [part]
    return found


def _swapped(
    each: MachineInstruction | Filled, stores: Mapping[str, str], made: dict[Fields, Fields]
) -> MachineInstruction | Filled:
    """One instruction; those with the same fields go on sharing them."""
    name = stores.get(_name(each))
    if name is None:
        return each
    if isinstance(each, MachineInstruction):
        return MachineInstruction(name, each.fields)
    fields, *numbers = each
    if fields not in made:
        made[fields] = Fields(name, fields.names, fields.addressed)
    return made[fields], *numbers


def _name(each: MachineInstruction | Filled) -> str:
    return each.name if isinstance(each, MachineInstruction) else each[0].name


@remembered
def _twin(target: Isa, store: str) -> str:
    """The entry that stores the same past the caches; empty where there is none."""
    entry = target.instructions[store]
    memories = [operand.memory for operand in entry.operands.values()]
    for other in target.instructions.values():
        same = other.pattern == entry.pattern and [each.memory for each in other.operands.values()] == memories
        if other.caches and same:
            return other.name
    return ""


def _line(target: Isa) -> int:
    timing = next(iter(target.timings.values()), None)
    return int(timing.constants.get("line_bytes", _LINE)) if timing else _LINE
