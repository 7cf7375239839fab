"""Rule 2, sharing: one register holds one value, so a move in dims that an operand lacks keeps its element."""

from embed.solver.tables.variables import Tables


def add(tables: Tables) -> None:
    """A_t delta = 0 for every displacement of the group that operand t lacks."""
    for (operand, _, _), move in tables.tables.items():
        for row in tables.problem.digits(operand):
            tables.model.add(sum(a * x for a, x in zip(row, move, strict=True) if a) == 0)
