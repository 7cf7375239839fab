"""Exact products in CP-SAT."""

from collections.abc import Sequence

from ortools.sat.python import cp_model


def product(
    model: cp_model.CpModel, factors: Sequence[cp_model.IntVar], limit: int, name: str
) -> cp_model.LinearExpr | int:
    """An expression equal to the product of `factors`, which is at most `limit`."""
    total: cp_model.LinearExpr | int = 1
    for place, factor in enumerate(factors):
        if place == 0:
            total = factor
            continue
        wider = model.new_int_var(0, limit, f"{name} {place}")
        model.add_multiplication_equality(wider, [total, factor])
        total = wider
    return total


def chain(
    model: cp_model.CpModel, factors: Sequence[tuple[int, cp_model.IntVar]], result: cp_model.IntVar, name: str
) -> None:
    """`result` is the product of the constants whose literal holds; linear, since every factor is a constant."""
    total: cp_model.LinearExpr | int = 1
    limit = 1
    for place, (factor, literal) in enumerate(factors):
        limit *= factor
        last = place == len(factors) - 1
        wider = result if last else model.new_int_var(1, limit, f"{name} {place}")
        model.add(wider == factor * total).only_enforce_if(literal)
        model.add(wider == total).only_enforce_if(~literal)
        total = wider
    if not factors:
        model.add(result == 1)
