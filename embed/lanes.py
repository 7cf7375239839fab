"""Which operator dims may fill which dimension of an instruction: the rules of an embedding for unit vectors."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations, permutations
from math import gcd

from dataflow.computation import Computation
from dataflow.expression import Read
from embed.binding import Binding, named_accesses


def allowed_dims(operator: Computation, pattern: Computation, binding: Binding, lane: str) -> tuple[str, ...]:
    """Operator dims, in the order of the box, along which the lanes of `lane` may run.

    Sharing: an operand without the lane holds one value along it, so its tensor must not use the dim.
    Accumulation: an output with the lane must move along it, else two accumulators would hold one sum.
    Idle: some operand with the lane must move along it, to hold zeros where the dim ends within the lanes.
    """
    operands, accesses = pattern.accesses, named_accesses(operator)
    output = pattern.output.tensor
    lacking = [accesses[name] for operand, name in binding.pairs if not _uses(operands[operand], lane)]
    having = [accesses[name] for operand, name in binding.pairs if _uses(operands[operand], lane)]
    needed = [operator.output] if _uses(operands[output], lane) else []
    return tuple(
        dim
        for dim in operator.extents
        if not any(_uses(read, dim) for read in lacking)
        and all(_uses(read, dim) for read in needed)
        and any(_uses(read, dim) for read in having)
    )


@dataclass(frozen=True, slots=True)
class Slide:
    """Two lane dimensions that share elements of an operand, such as `inp[x+r]`, and the dims that may fill them.

    Either one of them has no digit, or each has one digit of one dim, the two dims being one of `pairs`.
    """

    lanes: tuple[str, str]
    pairs: frozenset[tuple[str, str]]


def slides(operator: Computation, pattern: Computation, binding: Binding) -> tuple[Slide, ...]:
    """Sharing where lanes slide: if `i` lanes one way and `j` the other lead to one element, so must the dims' steps.

    Equal elements along a line of lanes mean equal steps of the tensor along it, which fused digits and several
    digits do not take.
    """
    accesses = named_accesses(operator)
    found: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for operand, name in binding.pairs:
        for lanes, (one, other) in _shared(pattern, pattern.accesses[operand]):
            pairs = {
                (left, right)
                for left, right in permutations(operator.extents, 2)
                if all(one * i.coefficient(left) + other * i.coefficient(right) == 0 for i in accesses[name].index)
                and _uses(accesses[name], left)
            }
            found[lanes] = found.get(lanes, pairs) & pairs
    return tuple(Slide(lanes, frozenset(pairs)) for lanes, pairs in found.items())


def _shared(pattern: Computation, read: Read) -> Iterator[tuple[tuple[str, str], tuple[int, int]]]:
    """Pairs of lane dimensions, and how many lanes along each, the shortest way, lead to the same element."""
    for one, other in combinations(pattern.extents, 2):
        moves = [(index.coefficient(one), index.coefficient(other)) for index in read.index]
        moves = [move for move in moves if any(move)]
        if not moves or not all(a * moves[0][1] == b * moves[0][0] for a, b in moves) or not all(moves[0]):
            continue
        step = gcd(*moves[0])
        lanes = moves[0][1] // step, -moves[0][0] // step
        if abs(lanes[0]) < pattern.extents[one] and abs(lanes[1]) < pattern.extents[other]:
            yield (one, other), lanes


@cache
def useful_radices(size: int, lanes: int) -> tuple[int, ...]:
    """Radices from 2 to `lanes` that cover `size` points in fewer runs than any smaller one."""
    limit = min(size, lanes)
    return tuple(radix for radix in range(2, limit + 1) if -(-size // radix) < -(-size // (radix - 1)))


def running(sizes: Sequence[int], radix: int) -> int:
    """How many dims of a digit, the innermost first, move within its runs: the others are loops in all but name."""
    size = 1
    for count, extent in enumerate(sizes, 1):
        size *= extent
        if size % radix == 0:
            return count
    return len(sizes)


def _uses(read: Read, dim: str) -> bool:
    return any(index.coefficient(dim) for index in read.index)
