"""From variable values to an `Embedding`, in canonical form."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import prod

from ortools.sat.python import cp_model

from embed.embedding import Digit, Embedding
from embed.solver.problem import Problem
from embed.solver.variables import Key, Variables


def extract(problem: Problem, variables: Variables, value: Callable[[cp_model.IntVar], int]) -> Embedding:
    """Read the digits off; for placements that leave lanes idle which a digit could fill, the filled one stands."""
    digits = []
    for lane, lanes in problem.lanes.items():
        found = [
            _digit(key, variables, value) for key in reversed(variables.of_lane(lane)) if value(variables.present(key))
        ]
        digits += filled(found, problem.extents, lanes)
    return Embedding(problem.operator, problem.instruction, problem.binding, tuple(digits), problem.relaxed)


def _digit(key: Key, variables: Variables, value: Callable[[cp_model.IntVar], int]) -> Digit:
    dims = tuple(dim for dim, literal in variables.members[key].items() if value(literal))
    return Digit(key[0], tuple(reversed(dims)), value(variables.radix[key]))


def filled(digits: list[Digit], extents: Mapping[str, int], lanes: int) -> list[Digit]:
    """From the last digit to the first, the fewest runs that free lanes allow; the last that is cut takes the rest."""
    sizes = [prod(extents[dim] for dim in digit.dims) for digit in digits]
    radices = [_least(size, digit.radix) for size, digit in zip(sizes, digits, strict=True)]
    for place in reversed(range(len(digits))):
        radices[place] = _least(sizes[place], _room(radices, place, sizes[place], lanes))
    cut = [place for place, size in enumerate(sizes) if radices[place] < size]
    if cut:
        radices[cut[-1]] = _room(radices, cut[-1], sizes[cut[-1]], lanes)
    return [replace(digit, radix=radix) for digit, radix in zip(digits, radices, strict=True)]


def _least(size: int, radix: int) -> int:
    """The smallest radix with as few runs."""
    return -(-size // -(-size // radix))


def _room(radices: list[int], place: int, size: int, lanes: int) -> int:
    """The largest radix that the other digits leave room for."""
    return min(size, lanes * radices[place] // prod(radices))
