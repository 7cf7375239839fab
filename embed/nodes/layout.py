"""What the words of an operand hold, as index expressions over the loops and the instruction's dims."""

from collections.abc import Iterator

from dataflow.affine import Affine
from dataflow.expression import Const, Read
from embed.nodes.placement import ADDENDS, Image, Placement


def word_axes(placement: Placement, operand: str) -> tuple[str, ...]:
    """The loops that number an operand's words, outermost first, each with its extent."""
    return tuple(f"{loop.name}:{loop.extent}" for loop in placement.loops_of(operand))


def packed_accesses(placement: Placement, operand: str) -> Iterator[tuple[Read, Read | Const]]:
    """Each access of an operand, and what it holds in the word at some place of the loops.

    The dims of a fused digit stand for the point that its loop and lane lead to.
    """
    found: dict[tuple[Read, Read | Const], None] = {}
    for image in placement.images:
        for own, held in placement.uses(image):
            if own.tensor == operand:
                found[own, held if isinstance(held, Const) else _at_lane(placement, image, held)] = None
    yield from found


def _at_lane(placement: Placement, image: Image, held: Read) -> Read:
    return Read(held.tensor, tuple(_index(placement, image, index) for index in held.index))


def _index(placement: Placement, image: Image, index: Affine) -> Affine:
    """An index with the dim of every digit of one dim replaced by `radix * loop + lane`."""
    terms: list[tuple[str, int]] = []
    constant = index.constant
    digits = {digit.dims[0]: digit for digit in placement.digits if len(digit.dims) == 1}
    for dim, factor in index.terms:
        digit = digits.get(dim)
        if digit is None:
            terms.append((dim, factor))
            continue
        terms.append((digit.loop, factor * digit.radix))
        if digit.lane == ADDENDS:
            constant += factor * image.copy
        else:
            terms.append((digit.lane, factor))
    return Affine.of(terms, constant)


def nest(placement: Placement, adder: str) -> str:
    """The loops around the invocations as text, those over sums outermost; `adder` adds partial sums up."""
    inner, outer = placement.split
    loops = [loop for loop in (*inner, *outer) if loop.extent > 1]
    lines = [f"for {loop.name} in 0..{loop.extent}:" for loop in loops]
    words = {
        operand: f"[{', '.join(loop.name for loop in placement.loops_of(operand) if loop.extent > 1)}]"
        for operand in placement.held
    }
    calls = [" ".join([placement.name, *(f"{operand}={operand}{place}" for operand, place in words.items())])]
    calls += [f"{adder} to add {operand}{words[operand]} up" for operand in placement.outputs if adder]
    return "\n".join(
        ["  " * depth + line for depth, line in enumerate(lines)] + ["  " * len(lines) + call for call in calls]
    )
