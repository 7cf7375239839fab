"""Where everything lies: tiles in the scratchpads, packed arrays in external memory."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import lcm, prod

from dataflow.errors import UserError
from embed.layout import Layout
from embed.nest.ir import Nest, box
from embed.nest.schedule import Schedule
from embed.vta.machine import Machine
from embed.vta.roles import Scratchpad

_LAST_ADDRESS = 1 << 32
"""Physical addresses have 32 bits (fsim, and the shells of the Pynq and DE10 boards)."""

_PAGE = 4096
"""Arrays start on pages, and physical page 0 does not exist (tvm-vta, functional simulator)."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tensor lies: element `word` of external memory, and `buffers` of `size` words from `base` in `memory`."""

    memory: Scratchpad
    word: int
    address: int
    bytes: int
    base: int = 0
    size: int = 0
    buffers: int = 1

    def buffer(self, turn: int) -> int:
        """First word of the buffer that the `turn`-th tile uses."""
        return self.base + turn % self.buffers * self.size


@dataclass(frozen=True, slots=True)
class Plan:
    """Places by access name, the accumulators among them; `result` is the stored output, `end` the first free byte."""

    places: Mapping[str, Place]
    result: Place
    end: int


def plan(nest: Nest, schedule: Schedule, machine: Machine, homes: Mapping[str, Scratchpad]) -> Plan:
    """Lay out external memory and the scratchpads; raises UserError when external memory does not reach."""
    places: dict[str, Place] = {}
    unit = lcm(_PAGE, *machine.element_bytes.values())
    address = unit
    top = 0
    for tensor, layout in nest.layouts.items():
        memory = homes[tensor]
        first, whole = _first_tile(nest, schedule, layout), box(layout, nest.whole)
        size = prod(len(span) for span in (whole if tensor in schedule.whole else first))
        buffers = _buffers(nest, schedule, tensor, first == whole)
        element = machine.element_bytes[memory]
        stored = 0 if tensor == nest.output else layout.words * element
        base = top if memory == homes[nest.output] else 0
        places[tensor] = Place(memory, address // element, address, stored, base, size, buffers)
        address = _aligned(address + stored, unit)
        top += size * buffers if memory == homes[nest.output] else 0
    element = machine.element_bytes[Scratchpad.OUT]
    stored = nest.layouts[nest.output].words * element * nest.planes
    result = Place(Scratchpad.OUT, address // element, address, stored)
    end = _aligned(address + stored, unit)
    if end > _LAST_ADDRESS:
        raise UserError(f"the packed tensors take {end} bytes; VTA addresses {_LAST_ADDRESS}: split the operator")
    return Plan(places, result, end)


def _first_tile(nest: Nest, schedule: Schedule, layout: Layout) -> tuple[range, ...]:
    """The box of the first tile, which is as large as any."""
    ranges = {name: range(min(schedule.tiles[name], len(span))) for name, span in nest.whole.items()}
    return box(layout, ranges)


def _buffers(nest: Nest, schedule: Schedule, tensor: str, whole: bool) -> int:
    if tensor == nest.output:
        return schedule.result_buffers
    if tensor not in nest.embedding.inputs:
        return 1
    return 1 if whole and not schedule.reload else schedule.slots_of(tensor)


def _aligned(address: int, unit: int) -> int:
    return -(-address // unit) * unit
