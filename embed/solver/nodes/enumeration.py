"""Builds the per-node model and lists its solutions."""

from ortools.sat.python import cp_model

from dataflow.sums import Sums
from embed.solver.nodes import accumulation, labels, once, order, sharing
from embed.solver.nodes.problem import Problem
from embed.solver.nodes.variables import NodeEmbedding, Variables

CONSTRAINTS = (labels, sharing, accumulation, once, order)


def embeddings(operator: Sums, pattern: Sums) -> tuple[NodeEmbedding, ...]:
    """Every total embedding of `pattern` in `operator`, in no particular order; for small cases.

    The operands of a commutative operation may change places at each node, as long as every element holds one value;
    places that change nothing count once.
    """
    problem = Problem(operator, pattern)
    if not all(problem.matches.values()):
        return ()
    variables = Variables.of(problem)
    for constraint in CONSTRAINTS:
        constraint.add(variables)
    return tuple(dict.fromkeys(solutions(variables)))


def solutions(variables: Variables) -> tuple[NodeEmbedding, ...]:
    """Every assignment of the variables that satisfies the constraints added so far."""
    solver = cp_model.CpSolver()
    solver.parameters.enumerate_all_solutions = True
    solver.parameters.num_workers = 1
    solver.parameters.symmetry_level = 0
    found = _Collector(variables)
    status = solver.solve(variables.model, found)
    if status not in (cp_model.OPTIMAL, cp_model.INFEASIBLE):
        raise RuntimeError(f"the enumeration ended with {solver.status_name(status)}: {variables.model.validate()}")
    return tuple(found.embeddings)


class _Collector(cp_model.CpSolverSolutionCallback):
    """Keeps each solution as the solver finds it."""

    def __init__(self, variables: Variables) -> None:
        super().__init__()
        self.variables = variables
        self.embeddings: list[NodeEmbedding] = []

    def on_solution_callback(self) -> None:
        self.embeddings.append(self.variables.solution(self.value))
