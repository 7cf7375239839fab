"""Rule 3, accumulation: output elements and sums of the operator correspond one to one."""

from itertools import combinations
from math import gcd

from dataflow.affine import Affine
from dataflow.expression import Read
from embed.nodes.labels import Match
from embed.nodes.placement import dims_of
from embed.solver.nodes.regular.sharing import agree, stays
from embed.solver.nodes.regular.variables import Literal, Variables


def add(variables: Variables) -> None:
    """Along lanes of the output every dim moves its sum, along others none does; addends meet where their sums do."""
    problem = variables.problem
    chosen = list(variables.matches())
    for match, literal in chosen:
        own, held = problem.pattern.output(match.addend), problem.sums.output(match.image)
        stays(variables, literal, own, held)
        for digit, filled in variables.digits():
            if not problem.lacks(own, digit.lane) and not dims_of(held).issuperset(digit.dims):
                variables.forbid(literal, filled)
    for one, other in combinations(chosen, 2):
        if one[0].addend != other[0].addend:
            _pair(variables, one, other)


def _pair(variables: Variables, one: tuple[Match, Literal], other: tuple[Match, Literal]) -> None:
    problem = variables.problem
    (first, left), (second, right) = one, other
    held, value = problem.sums.output(first.image), problem.sums.output(second.image)
    if problem.pattern.output(first.addend) == problem.pattern.output(second.addend):
        agree(variables, one, other, held, value)
    elif held == value:
        _apart(variables, one, other, held)
    elif held.tensor == value.tensor and not _never_meet(held, value):
        variables.forbid(left, right)


def _apart(variables: Variables, one: tuple[Match, Literal], other: tuple[Match, Literal], held: Read) -> None:
    """Different output elements for one access of the output: other copies, along dims that all move it."""
    (first, left), (second, right) = one, other
    variables.another_copy(first.addend, second.addend, left, right)
    for digit, literal in variables.copies_form.items():
        if digit is not None and not dims_of(held).issuperset(digit.dims):
            variables.forbid(left, right, literal)


def _never_meet(one: Read, other: Read) -> bool:
    """Whether no two points of the operator lead to one element, by some axis on which the accesses never agree."""
    return any(_differ(a, b) for a, b in zip(one.index, other.index, strict=True))


def _differ(one: Affine, other: Affine) -> bool:
    """Whether two indices differ at all points: their difference is no multiple of what their dims can add."""
    step = gcd(*(factor for index in (one, other) for _, factor in index.terms))
    apart = one.constant - other.constant
    return apart % step > 0 if step else apart != 0
