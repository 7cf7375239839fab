"""From variable values to an `Embedding`, in canonical form."""

from collections.abc import Callable
from math import prod

from ortools.sat.python import cp_model

from embed.embedding import Digit, Embedding
from embed.solver.problem import Problem
from embed.solver.variables import Key, Variables


def extract(problem: Problem, variables: Variables, value: Callable[[cp_model.IntVar], int]) -> Embedding:
    """Read the digits off; of placements that differ only in idle lanes the fullest radix stands for all."""
    digits = []
    for lane, lanes in problem.lanes.items():
        found = [_digit(key, variables, value) for key in reversed(variables.of_lane(lane)) if value(variables.present(key))]
        digits += _filled(found, problem.extents, lanes)
    return Embedding(problem.operator, problem.instruction, problem.binding, tuple(digits))


def _digit(key: Key, variables: Variables, value: Callable[[cp_model.IntVar], int]) -> Digit:
    dims = tuple(dim for dim, literal in variables.members[key].items() if value(literal))
    return Digit(key[0], tuple(reversed(dims)), value(variables.radix[key]))


def _filled(digits: list[Digit], extents: dict[str, int], lanes: int) -> list[Digit]:
    """Every digit with the smallest radix for its steps, then the last that is cut takes what room is left."""
    least = []
    for digit in digits:
        size = prod(extents[dim] for dim in digit.dims)
        steps = -(-size // digit.radix)
        least.append(Digit(digit.lane, digit.dims, -(-size // steps)))
    for place in reversed(range(len(least))):
        digit = least[place]
        size = prod(extents[dim] for dim in digit.dims)
        room = lanes // (prod(other.radix for other in least) // digit.radix)
        if digit.radix < size:
            least[place] = Digit(digit.lane, digit.dims, min(size, room))
            break
    return least
