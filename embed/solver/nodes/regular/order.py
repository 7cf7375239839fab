"""Rule 5, order: no two statements are done together of which one needs the other."""

from itertools import combinations

from embed.solver.nodes.regular.variables import Variables


def add(variables: Variables) -> None:
    """Matches to statements that depend on each other exclude each other."""
    for (one, left), (other, right) in combinations(list(variables.matches()), 2):
        if not variables.problem.sums.together([one.image.statement, other.image.statement]):
            variables.forbid(left, right)
