"""Rule 3, accumulation: two accumulators never hold the same sum. That one accumulator holds one sum is sharing."""

from embed.solver.tables.variables import Tables


def add(tables: Tables) -> None:
    """A_o phi(u) differs for any two lanes that use different accumulators. Needs `box`."""
    problem = tables.problem
    output = problem.pattern.output.tensor
    lacks = problem.groups[output]
    lanes = [lane for lane in problem.lanes if not any(problem.position(lacks, lane))]
    sizes = [index.bounds(problem.operator.extents) for index in problem.operator.output.index]
    tables.distinct([tables.element(output, lane) for lane in lanes], sizes)
