"""Builds the table model and lists its solutions."""

from ortools.sat.python import cp_model

from dataflow.computation import Computation
from embed.binding import Binding
from embed.solver.tables import accumulation, box, inside, once, sharing
from embed.solver.tables.lanes import Problem
from embed.solver.tables.variables import TableEmbedding, Tables

CONSTRAINTS = (sharing, accumulation, once, box, inside)


def embeddings(operator: Computation, pattern: Computation, binding: Binding) -> tuple[TableEmbedding, ...]:
    """Every total embedding of `pattern` in `operator` under `binding`, in no particular order.

    A point that reads padding has a constant in place of an element and belongs to no embedding. Raises
    NotSeparableError for a pattern that is not a contraction, or an operator with dims that two bound tensors lack.
    """
    tables = Tables.of(Problem.of(operator, pattern, binding))
    for constraint in CONSTRAINTS:
        constraint.add(tables)
    return solutions(tables)


def solutions(tables: Tables) -> tuple[TableEmbedding, ...]:
    """Every assignment of the variables that satisfies the constraints added so far."""
    solver = cp_model.CpSolver()
    solver.parameters.enumerate_all_solutions = True
    solver.parameters.num_workers = 1
    found = _Collector(tables)
    status = solver.solve(tables.model, found)
    if status not in (cp_model.OPTIMAL, cp_model.INFEASIBLE):
        raise RuntimeError(f"the enumeration ended with {solver.status_name(status)}: {tables.model.validate()}")
    return tuple(found.embeddings)


class _Collector(cp_model.CpSolverSolutionCallback):
    """Keeps each solution as the solver finds it."""

    def __init__(self, tables: Tables) -> None:
        super().__init__()
        self.tables = tables
        self.embeddings: list[TableEmbedding] = []

    def on_solution_callback(self) -> None:
        self.embeddings.append(self.tables.solution(self.value))
