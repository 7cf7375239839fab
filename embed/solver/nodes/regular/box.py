"""Every dim stands in one digit at most, and in none of a statement that does not range over it."""

from embed.solver.nodes.regular.variables import Variables


def add(variables: Variables) -> None:
    """Digits are disjoint and lie in the box of every statement covered; these have the same dims."""
    problem = variables.problem
    for dim in problem.extents:
        variables.model.add_at_most_one(literal for digit, literal in variables.digits() if dim in digit.dims)
    for match, chosen in variables.matches():
        own = problem.dims(match.image.statement)
        for digit, literal in variables.digits():
            if not own.issuperset(digit.dims):
                variables.forbid(chosen, literal)
        for other, also in variables.matches():
            if problem.dims(other.image.statement) != own:
                variables.forbid(chosen, also)
