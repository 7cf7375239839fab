"""Copies of one addend that differ in nothing but their point: of placements as good as each other, the plain one.

No rule of an embedding: it leaves out placements whose copies hold the factors of a product in different orders, or are
numbered in another order than that of the text. Where nothing is left, the search goes without it.
"""

from itertools import combinations

from ortools.sat.python import cp_model

from embed.solver.nodes.regular.variables import Literal, Variables


def add(variables: Variables) -> None:
    """Addends of the instruction that do one addend hold the same accesses, and are numbered as they are written."""
    for (one, left), (other, right) in combinations(list(variables.matches()), 2):
        if one.image == other.image and one.addend != other.addend:
            if one.held != other.held:
                variables.forbid(left, right)
            first, second = (_number(variables.copy[match.addend]) for match in (one, other))
            variables.model.add(first < second).only_enforce_if([left, right])


def _number(copy: list[Literal]) -> cp_model.LinearExprT:
    return cp_model.LinearExpr.weighted_sum(copy, list(range(len(copy))))
