"""Builds the regular model and lists its placements."""

import time
from collections.abc import Iterator
from types import ModuleType

from ortools.sat.python import cp_model

from dataflow.operator import Operator
from dataflow.sums import Sums
from embed.nodes.placement import Placement
from embed.solver.deadline import Deadline
from embed.solver.nodes.regular import alike
from embed.solver.nodes.regular.constraints import CONSTRAINTS
from embed.solver.nodes.regular.problem import Problem
from embed.solver.nodes.regular.variables import Literal, Variables
from embed.solver.settings import MODELS, Settings, dump_model, log, new_solver


def placements(
    operator: Operator, name: str, pattern: Sums, settings: Settings, deadline: Deadline
) -> tuple[list[Placement], bool]:
    """The placements of an instruction in one operator, unchecked, and whether the time was enough for all.

    Those with copies that are not alike are left out where there are others.
    """
    plain = _all(operator, name, pattern, (*CONSTRAINTS, alike), settings, deadline)
    return plain if plain[0] else _all(operator, name, pattern, CONSTRAINTS, settings, deadline)


def _all(
    operator: Operator,
    name: str,
    pattern: Sums,
    constraints: tuple[ModuleType, ...],
    settings: Settings,
    deadline: Deadline,
) -> tuple[list[Placement], bool]:
    found: list[Placement] = []
    complete = True
    for problem in problems(operator, name, pattern):
        start = time.perf_counter()
        some, all_of_them = solutions(problem, constraints, settings, deadline)
        spent = 1000 * (time.perf_counter() - start)
        log.log(MODELS, "    %s, %d copies: %d placements in %.1f ms", name, problem.copies, len(some), spent)
        found += some
        complete = complete and all_of_them
    return found, complete


def problems(operator: Operator, name: str, pattern: Sums) -> Iterator[Problem]:
    """One problem for each number of copies that can cover addends evenly."""
    count = len(pattern.addends)
    for copies in range(1, count + 1):
        problem = Problem(operator, name, pattern, copies)
        if count % copies == 0 and not problem.refusal and all(problem.matches.values()):
            yield problem


def solutions(
    problem: Problem, constraints: tuple[ModuleType, ...], settings: Settings, deadline: Deadline
) -> tuple[list[Placement], bool]:
    """Every placement under the constraints, and whether the time was enough for all."""
    variables = Variables(cp_model.CpModel(), problem)
    for constraint in constraints:
        constraint.add(variables)
    if settings.dump:
        dump_model(variables.model, settings.dump.with_stem(f"{settings.dump.stem}-{problem.copies}"))
    solver = new_solver(settings, deadline)
    solver.parameters.num_workers = 1
    solver.parameters.enumerate_all_solutions = True
    solver.parameters.symmetry_level = 0  # looking for symmetries takes longer than the search
    found = _Collector(variables)
    status = solver.solve(variables.model, found)
    return found.placements, status in (cp_model.OPTIMAL, cp_model.INFEASIBLE)


class _Collector(cp_model.CpSolverSolutionCallback):
    """Keeps each placement as the solver finds it."""

    def __init__(self, variables: Variables) -> None:
        super().__init__()
        self.variables = variables
        self.placements: list[Placement] = []

    def on_solution_callback(self) -> None:
        value: dict[Literal, int] = {}
        self.placements.append(self.variables.placement(lambda literal: value.setdefault(literal, self.value(literal))))
