"""Rule 3, accumulation: nodes write one element if and only if they add to one sum of the operator."""

from embed.solver.nodes.sharing import equal
from embed.solver.nodes.variables import Variables


def add(variables: Variables) -> None:
    """What an output element holds is the sum that its nodes add to; different ones hold different sums."""
    problem = variables.problem
    for node, found in variables.chosen.items():
        for match, literal in found.items():
            equal(variables, node, literal, problem.pattern.output(node.addend), problem.operator.output(match.image))
    written = dict.fromkeys(problem.written(node) for node in problem.nodes)
    variables.distinct([variables.elements[element] for element in written])
