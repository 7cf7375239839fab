"""Rule 1, labels: every node does one addend that agrees with its own, at a point of that addend's box."""

from embed.solver.nodes.variables import Variables


def add(variables: Variables) -> None:
    """One match a node; coordinates along dims that the match's statement does not have are 0."""
    problem = variables.problem
    for node, found in variables.chosen.items():
        variables.model.add_exactly_one(found.values())
        for match, literal in found.items():
            own = problem.operator.statements[match.image.statement].extents
            for dim, coordinate in variables.points[node].items():
                if dim not in own:
                    variables.model.add(coordinate == 0).only_enforce_if(literal)
