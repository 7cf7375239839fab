"""Every lane lands in the operator's iteration box."""

from embed.solver.tables.variables import Tables


def add(tables: Tables) -> None:
    """0 <= phi(u) < extent in every dim of the operator."""
    for lane in tables.problem.lanes:
        for coordinate, dim in zip(tables.point(lane), tables.problem.operator.dims, strict=True):
            tables.model.add_linear_constraint(coordinate, 0, dim.extent - 1)
