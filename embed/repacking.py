"""What packing an embedding leaves where the user says how a tensor lies.

Where the words that an instruction reads are the user's array byte for byte, nothing is packed; otherwise a copy reads
the one and writes the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from dataflow.dtypes import bits
from embed.embedding import Array
from embed.layout import Layout
from embed.packing import Gather, Run
from embed.physical import Physical


@dataclass(frozen=True, slots=True)
class Pin:
    """How a tensor lies, and whether its elements have in words the type that they have in its array."""

    physical: Physical
    same_type: bool

    @property
    def bytes(self) -> int:
        """Bytes of the user's array."""
        return self.physical.size * bits(self.physical.tensor.dtype) // 8


@dataclass(frozen=True, slots=True)
class Packing:
    """What is left to do between a user's array and the packed words: nothing, or a copy of `bytes` in `cycles`.

    `bytes` counts what is read of the one and written of the other.
    """

    tensor: str
    layout: str
    in_place: bool
    bytes: int = 0
    cycles: int = 0

    def __str__(self) -> str:
        if self.in_place:
            return "in place"
        return f"copied, {self.bytes:,} bytes" + (f", {self.cycles:,} cycles" if self.cycles else "")


def packing(pin: Pin, layout: Layout, packed_bytes: int, bus: int) -> Packing:
    """What an embedding's layout leaves to pack; `bus` is the bytes that a copy moves per cycle, 0 where it is free."""
    if is_in_place(pin, layout):
        return Packing(pin.physical.tensor.name, pin.physical.name, True)
    moved = pin.bytes + packed_bytes
    return Packing(pin.physical.tensor.name, pin.physical.name, False, moved, -(-moved // bus) if bus else 0)


def is_in_place(pin: Pin, layout: Layout) -> bool:
    """Whether the packed array is the user's array byte for byte, zeros that fill up blocks included."""
    physical = pin.physical
    if not pin.same_type or not _of_array(layout, pin) or layout.words * prod(layout.word_shape) != physical.size:
        return False
    return lies_so(layout.gather, physical)


def _of_array(layout: Layout, pin: Pin) -> bool:
    """Whether words hold elements of the user's array at all: sums in parts are a tensor with a dimension more."""
    return len(layout.gather.shape) == len(pin.physical.tensor.shape)


def begins_so(layout: Layout, pin: Pin) -> bool:
    """Whether the first word holds elements as they lie along each of its digits: is_in_place needs that."""
    gather = layout.gather
    steps = _word_steps(gather)
    if steps is None or not _of_array(layout, pin):
        return False
    places = [pin.physical.places(number) for number in range(len(gather.shape))]
    return all(
        _lie_so(gather, [number], steps, places, min(run.radix, run.size)) for number, run in enumerate(gather.runs)
    )


def lies_so(gather: Gather, physical: Physical) -> bool:
    """Whether words one after the other hold each element of an array just where it lies.

    Places add up over dimensions, and so over runs that move along different ones: these are looked at one by one.
    """
    if prod(run.size for run in gather.runs) != physical.tensor.size:
        return False
    places = [physical.places(number) for number in range(len(gather.shape))]
    steps = _word_steps(gather)
    if steps is None or not all(0 <= start < len(own) for start, own in zip(gather.origin, places, strict=True)):
        return False
    if sum(int(own[start]) for start, own in zip(gather.origin, places, strict=True)):
        return False
    return all(_lie_so(gather, group, steps, places) for group in _sharing(gather.runs))


def _word_steps(gather: Gather) -> list[tuple[int, int]] | None:
    """For each run, how far apart in the packed array its words lie, and its positions within one.

    None where lanes hold copies: a digit that no run fills.
    """
    word = prod(lane.extent for lane in gather.lanes)
    inside: list[tuple[int, int]] = []
    rest = word
    for lane in gather.lanes:
        rest //= lane.extent
        for place, radix in enumerate(lane.radices):
            inside.append((radix, rest * prod(lane.radices[place + 1 :])))
    filled = {run.digit for run in gather.runs}
    if any(radix > 1 and place not in filled for place, (radix, _) in enumerate(inside)):
        return None
    found = []
    for number, run in enumerate(gather.runs):
        outer = word * prod(other.count for other in gather.runs[number + 1 :])
        found.append((outer, inside[run.digit][1] if run.digit is not None else 0))
    return found


def _sharing(runs: Sequence[Run]) -> list[list[int]]:
    """Runs in groups that have no dimension of the array in common."""
    groups: list[tuple[set[int], list[int]]] = []
    for number, run in enumerate(runs):
        moved = {place for move in run.moves if move.extent > 1 for place, step in enumerate(move.steps) if step}
        joined = [group for group in groups if group[0] & moved]
        groups = [group for group in groups if group not in joined]
        groups.append((moved.union(*(own for own, _ in joined)), [*(n for _, own in joined for n in own), number]))
    return [numbers for _, numbers in groups]


def _lie_so(
    gather: Gather,
    group: Sequence[int],
    steps: Sequence[tuple[int, int]],
    places: Sequence[Array],
    most: int | None = None,
) -> bool:
    """Whether the elements that some runs reach, the first `most` of each, lie as far from the first as their words."""
    index = [np.full((1,) * len(group), start) for start in gather.origin]
    wanted = np.zeros((1,) * len(group), np.int64)
    for axis, number in enumerate(group):
        run, (outer, inner) = gather.runs[number], steps[number]
        along = np.arange(run.size if most is None else most)
        along = along.reshape([-1 if place == axis else 1 for place in range(len(group))])
        wanted = wanted + along // run.radix * outer + along % run.radix * inner
        for move in reversed(run.moves):
            along, here = np.divmod(along, move.extent)
            index = [own + here * step for own, step in zip(index, move.steps, strict=True)]
    found = np.zeros((1,) * len(group), np.int64)
    for start, own, table in zip(gather.origin, index, places, strict=True):
        if own.min() < 0 or own.max() >= len(table):
            return False
        found = found + table[own] - table[start]
    return bool(np.array_equal(np.broadcast_to(found, wanted.shape), wanted))
