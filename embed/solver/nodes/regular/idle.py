"""Rule 6, idle: a lane without a point adds nothing to a sum that others add to."""

from itertools import combinations

from dataflow.expression import Read
from embed.embedding import Digit
from embed.nodes.labels import Match
from embed.nodes.placement import ADDENDS, dims_of
from embed.nodes.zeros import adds_nothing
from embed.solver.nodes.regular.variables import Variables


def add(variables: Variables) -> None:
    """Lanes that a sum runs over are filled, or zeros that no other lane reads make their addends 0."""
    problem = variables.problem
    for match, literal in variables.matches():
        own = problem.pattern.output(match.addend)
        sums = dims_of(problem.sums.output(match.image))
        for lane, forms in variables.form.items():
            for digit, filled in forms.items():
                summed = problem.lacks(own, lane) and not (digit and sums.intersection(digit.dims))
                if summed and not _harmless(variables, match, lane, digit):
                    variables.forbid(literal, filled)
    _idle_copies(variables)


def _idle_copies(variables: Variables) -> None:
    """Where only one of the copies has a point, no access is that of two of them."""
    alone = variables.copies_form.get(None)
    if alone is None:
        return
    for one, other in combinations(variables.problem.pattern.addends, 2):
        if set(one.reads).intersection(other.reads):
            variables.same_copy(one, other, alone)


def _harmless(variables: Variables, match: Match, lane: str, digit: Digit | None) -> bool:
    """Whether no lane is idle, or those that are read zeros."""
    problem = variables.problem
    short = digit is None or digit.radix < problem.lanes[lane]
    padded = digit is not None and problem.padded(digit)
    if not short and not padded:
        return True
    moving = [
        own
        for own, held in match.pairs
        if (lane == ADDENDS or not problem.lacks(own, lane))
        and (not padded or (isinstance(held, Read) and digit is not None and dims_of(held).intersection(digit.dims)))
    ]
    return adds_nothing(match.addend.body, moving)
