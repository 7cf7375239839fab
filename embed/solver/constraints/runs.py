"""Runs: a digit's dims and radix fix its steps, `ceil(size / radix)`, by a table of all its useful forms.

A radix is useful if no smaller one has the same steps; the lanes it saves stay free for other digits. What a rewriting
made for lanes moves within the runs, and is not a loop in all but name.
"""

from collections.abc import Iterator, Sequence
from itertools import compress, product
from math import prod

from ortools.sat.python import cp_model

from embed.lanes import running, useful_radices
from embed.solver.problem import Problem
from embed.solver.variables import Key, Variables


def build(model: cp_model.CpModel, problem: Problem, variables: Variables) -> None:
    for key in variables.digits:
        columns = [*variables.members[key].values(), variables.radix[key], variables.steps[key]]
        model.add_allowed_assignments(columns, list(_rows(problem, variables, key)))


def _rows(problem: Problem, variables: Variables, key: Key) -> Iterator[tuple[int, ...]]:
    """Members, radix and steps: the absent digit first, then every set of dims that contains the lead."""
    dims = list(variables.members[key])
    extents = [problem.extents[dim] for dim in dims]
    held = set(problem.relaxed.held if problem.relaxed else ())
    yield (*(0 for _ in extents), 1, 1)
    for others in product((0, 1), repeat=len(extents) - 1):
        members = (1, *others)
        size = prod(extent for extent, member in zip(extents, members, strict=True) if member)
        for radix in useful_radices(size, problem.lanes[key[0]]):
            if not held or held.isdisjoint(_resting(problem, list(compress(dims, members)), radix)):
                yield (*members, radix, -(-size // radix))


def _resting(problem: Problem, dims: Sequence[str], radix: int) -> Sequence[str]:
    """The dims of a digit, from its lead, that no run moves along."""
    inward = dims[::-1]
    return inward[running([problem.extents[dim] for dim in inward], radix) :]
