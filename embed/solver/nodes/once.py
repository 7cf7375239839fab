"""Rule 4, once: no two nodes do the same addend at the same point."""

from embed.solver.nodes.variables import Variables


def add(variables: Variables) -> None:
    """(addend, point) differs from node to node. Needs `labels`."""
    model, addends = variables.model, variables.problem.operator.addends
    vectors = []
    for node, found in variables.chosen.items():
        number = model.new_int_var(0, len(addends) - 1, "")
        for match, literal in found.items():
            model.add(number == addends.index(match.image)).only_enforce_if(literal)
        vectors.append([number, *variables.points[node].values()])
    variables.distinct(vectors)
