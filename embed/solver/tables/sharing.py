"""Rule 2, sharing: one register holds one value, so a move in dims that an operand lacks keeps its element.

Lanes that slide over an operand, as in `inp[x+r]`, share elements although it lacks none of their dims.
"""

from dataflow.symbolic import Vector, access
from embed.solver.tables.variables import Tables


def add(tables: Tables) -> None:
    """A_t delta = 0 for every displacement of the group that operand t lacks; equal elements where lanes slide."""
    for (operand, _, _), move in tables.tables.items():
        for row in tables.problem.digits(operand):
            tables.model.add(sum(a * x for a, x in zip(row, move, strict=True) if a) == 0)
    for operand in tables.problem.sliding:
        _equal(tables, operand)


def _equal(tables: Tables, operand: str) -> None:
    """Lanes that use one element of an operand lead to one element of its tensor."""
    own = access(tables.problem.pattern, tables.problem.pattern.accesses[operand])
    first: dict[Vector, Vector] = {}
    for lane in tables.problem.lanes:
        known = first.setdefault(own.element(lane), lane)
        if known != lane:
            for left, right in zip(tables.element(operand, known), tables.element(operand, lane), strict=True):
                tables.model.add(left == right)
