"""Rule 5, order: an instruction reads before it writes, so it does no two statements of which one needs the other."""

from itertools import combinations

from embed.solver.nodes.variables import Variables


def add(variables: Variables) -> None:
    """No two nodes do statements that depend on each other."""
    sums = variables.problem.operator
    for one, other in combinations(variables.chosen.values(), 2):
        for left, chosen in one.items():
            for right, literal in other.items():
                if not sums.together([left.image.statement, right.image.statement]):
                    variables.model.add_bool_or([~chosen, ~literal])
