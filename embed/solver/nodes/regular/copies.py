"""Rule 4, once: as many addends of the instruction do an addend of the operator as there are copies, or none does."""

from itertools import combinations

from ortools.sat.python import cp_model

from embed.solver.nodes.regular.variables import Variables


def add(variables: Variables) -> None:
    """All copies of each addend covered; the first addend of the instruction is the first copy."""
    problem, model = variables.problem, variables.model
    for image in problem.sums.addends:
        doing = [(match.addend, literal) for match, literal in variables.matches() if match.image == image]
        covered = model.new_bool_var(f"covered {image.statement}.{image.place}")
        model.add(cp_model.LinearExpr.sum([literal for _, literal in doing]) == problem.copies * covered)
        for (one, left), (other, right) in combinations(doing, 2):
            if one != other:
                variables.another_copy(one, other, left, right)
    model.add(variables.copy[problem.pattern.addends[0]][0] == 1)
