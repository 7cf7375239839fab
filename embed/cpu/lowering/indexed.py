"""Operands of which an instruction picks one lane itself, so that a register can hold several steps of a sum."""

from dataclasses import dataclass

from dataflow.affine import Affine
from isa.model import Instruction


@dataclass(frozen=True, slots=True)
class Indexed:
    """An operand with `lanes` groups of elements in a register, of which the instruction's field `choice` picks one."""

    operand: str
    choice: str
    lanes: int


def indexed(entry: Instruction) -> Indexed | None:
    """The operand whose first index is nothing but a choice of the encoding; None where there is none."""
    if len(entry.choice) != 1 or entry.pattern is None:
        return None
    ((choice, lanes),) = entry.choice.items()
    for read in entry.pattern.reads:
        places = [variant.accesses[read.tensor].index for variant in entry.variants]
        shape = entry.pattern.tensor(read.tensor).shape
        if read.index and shape[0] == lanes and [index[0] for index in places] == [Affine((), n) for n in range(lanes)]:
            return Indexed(read.tensor, choice, lanes)
    return None


def piece(place: int, count: int, lanes: int) -> tuple[int, int]:
    """The first of the `count` places, and how many, that a register with this place holds: `lanes`, at the end less.

    What remains after whole registers is loaded in powers of two, so that nothing behind it is read.
    """
    start, size = place - place % lanes, lanes
    while start + size > count:
        size //= 2
        if place >= start + size:
            start += size
    return start, size


def pieces(count: int, lanes: int) -> int:
    """How many registers hold `count` places."""
    return count // lanes + (count % lanes).bit_count()
