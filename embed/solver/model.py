"""The CP-SAT model of one placement problem, and how it is asked."""

import time
from dataclasses import dataclass

from ortools.sat.python import cp_model

from embed.embedding import Digit, Embedding
from embed.solver import cost
from embed.solver.constraints import CONSTRAINTS
from embed.solver.problem import Problem
from embed.solver.solution import extract
from embed.solver.variables import Variables


@dataclass(frozen=True, slots=True)
class Settings:
    """How to search: `time_limit` seconds in all, solver `workers`, random `seed`."""

    objective: str = "cycles"
    time_limit: float = 10.0
    workers: int = 1
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    """The best of one model: no embedding if the time ran out before the first."""

    embedding: Embedding | None
    values: list[int]
    proven: bool


class Placements:
    """Every placement of one problem: the variables and the constraints, without a price."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.proto = cp_model.CpModel()
        self.variables = Variables(self.proto, problem)
        for constraint in CONSTRAINTS:
            constraint.build(self.proto, problem, self.variables)

    def enumerate(self, settings: Settings, deadline: float) -> tuple[list[Embedding], bool]:
        """All placements, each once, and whether the list is complete."""
        collector = _Collector(self.problem, self.variables)
        solver = new_solver(settings, deadline)
        solver.parameters.num_workers = 1
        solver.parameters.enumerate_all_solutions = True
        status = solver.solve(self.proto, collector)
        return list(collector.found.values()), status in (cp_model.OPTIMAL, cp_model.INFEASIBLE)


class _Collector(cp_model.CpSolverSolutionCallback):
    """Keeps the distinct embeddings among the solutions."""

    def __init__(self, problem: Problem, variables: Variables) -> None:
        super().__init__()
        self.problem, self.variables = problem, variables
        self.found: dict[tuple[Digit, ...], Embedding] = {}

    def on_solution_callback(self) -> None:
        embedding = extract(self.problem, self.variables, self.value)
        self.found.setdefault(embedding.digits, embedding)


class PricedPlacements(Placements):
    """The same with cost terms that can be minimised; those of two problems of one operator compare."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        terms = cost.build(self.proto, problem, self.variables)
        members = [literal for found in self.variables.members.values() for literal in found.values()]
        digits = [self.variables.present(key) for key in self.variables.digits]
        self.terms: dict[str, cp_model.LinearExpr | int] = {
            "cycles": terms.cycles,
            "invocations": terms.invocations,
            "bytes": terms.bytes,
            "traffic": (2 * len(problem.extents) + 1) * terms.bytes + cp_model.LinearExpr.sum([*members, *digits]),
        }

    def minimise(self, order: tuple[str, ...], bound: list[int], settings: Settings, deadline: float) -> Found | None:
        """Minimise the terms in order; None where nothing is as good as `bound`, terms of an earlier model's best."""
        values: list[int] = []
        proven = True
        best: Embedding | None = None
        for place, name in enumerate(order):
            self.proto.minimize(self.terms[name])
            if place < len(bound) and values == bound[:place]:
                self.proto.add(self.terms[name] <= bound[place])
            solver = new_solver(settings, deadline)
            status = solver.solve(self.proto)
            if status == cp_model.INFEASIBLE:
                return None
            if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
                return Found(best, values, False)
            proven = proven and status == cp_model.OPTIMAL
            best = extract(self.problem, self.variables, solver.value)
            values.append(round(solver.objective_value))
            self.proto.add(self.terms[name] <= values[-1])
            self._hint(solver)
        return Found(best, values, proven)

    def _hint(self, solver: cp_model.CpSolver) -> None:
        self.proto.clear_hints()  # type: ignore[no-untyped-call]
        for variable in self.variables.decisions:
            self.proto.add_hint(variable, solver.value(variable))


def new_solver(settings: Settings, deadline: float) -> cp_model.CpSolver:
    """A solver for models this small: presolve and linear relaxation cost more than they save."""
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = settings.workers
    solver.parameters.random_seed = settings.seed
    solver.parameters.cp_model_presolve = False
    solver.parameters.linearization_level = 0
    solver.parameters.max_time_in_seconds = max(0.01, deadline - time.perf_counter())
    return solver
