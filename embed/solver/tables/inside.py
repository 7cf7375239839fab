"""Rule 1, labels, at the border: where a read is padding the scalar is a constant, which no operand element plays."""

from embed.solver.tables.variables import Tables


def add(tables: Tables) -> None:
    """Every element that phi(u) reads lies inside its tensor."""
    problem = tables.problem
    for operand, _ in problem.binding.pairs:
        shape = problem.operator.tensor(problem.access(operand).tensor).shape
        for lane in problem.lanes:
            for index, size in zip(tables.element(operand, lane), shape, strict=True):
                tables.model.add_linear_constraint(index, 0, size - 1)
