"""Rule 4, once: as many addends of the instruction do an addend of the operator as there are copies, or none does."""

from itertools import combinations

from ortools.sat.python import cp_model

from embed.nodes.placement import ADDENDS
from embed.solver.nodes.regular.variables import Variables


def add(variables: Variables) -> None:
    """All copies of each addend covered; the numbering of copies is fixed by the first addend and those like it."""
    problem, model = variables.problem, variables.model
    for image in problem.sums.addends:
        doing = [(match.addend, literal) for match, literal in variables.matches() if match.image == image]
        covered = model.new_bool_var(f"covered {image.statement}.{image.place}")
        model.add(cp_model.LinearExpr.sum([literal for _, literal in doing]) == problem.copies * covered)
        for (one, left), (other, right) in combinations(doing, 2):
            if one != other:
                variables.another_copy(one, other, left, right)
                if problem.pattern.addends[0] in (one, other):
                    _in_order(variables, image, left, right)
    model.add(variables.copy[problem.pattern.addends[0]][0] == 1)
    if len(problem.forms.get(ADDENDS, ())) > 1:
        model.add(variables.form[ADDENDS][None] == 0)


def _in_order(variables: Variables, image: object, *where: cp_model.IntVar) -> None:
    """Copies of what the first addend does are numbered in the order of the text."""
    same = [(match.addend, literal) for match, literal in variables.matches() if match.image == image]
    for (one, left), (other, right) in combinations(same, 2):
        if one == other:
            continue
        first, second = (
            cp_model.LinearExpr.weighted_sum(variables.copy[addend], list(range(variables.problem.copies)))
            for addend in (one, other)
        )
        variables.model.add(first < second).only_enforce_if([left, right, *where])
