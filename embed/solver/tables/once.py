"""Rule 4, once: phi is injective, so that no multiply is done twice."""

from embed.solver.tables.variables import Tables


def add(tables: Tables) -> None:
    """Any two lanes have different points. Needs `box`."""
    sizes = [(0, dim.extent - 1) for dim in tables.problem.operator.dims]
    tables.distinct([tables.point(lane) for lane in tables.problem.lanes], sizes)
