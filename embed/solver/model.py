"""The CP-SAT model of one placement problem, and how it is asked."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from ortools.sat.python import cp_model

from embed.demands import Demand
from embed.embedding import Embedding
from embed.solver import cost
from embed.solver.constraints import CONSTRAINTS, filled
from embed.solver.deadline import Deadline
from embed.solver.demands import Demands
from embed.solver.problem import Problem
from embed.solver.settings import MODELS, Settings, dump_model, log, new_solver
from embed.solver.solution import extract
from embed.solver.variables import Variables


@dataclass(frozen=True, slots=True)
class Found:
    """The best of one model: no embedding if the time ran out before the first.

    No placement has less than `bound` of the first term.
    """

    embedding: Embedding | None
    values: list[int]
    proven: bool
    bound: int


class Placements:
    """Every placement of one problem: the variables and the constraints, without a price."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.proto = cp_model.CpModel()
        self.variables = Variables(self.proto, problem)
        for constraint in CONSTRAINTS:
            constraint.build(self.proto, problem, self.variables)
        log.info("%s: %s", problem.instruction.name, problem.binding)
        for lane, dims in problem.allowed.items():
            log.info("    %s, %d lanes: %s", lane, problem.lanes[lane], ", ".join(dims) or "no dim of the operator")

    def dump(self, path: Path) -> None:
        """Write the model as CP-SAT's text proto."""
        dump_model(self.proto, path)

    def stream(self, settings: Settings, deadline: Deadline, maximal: bool, below: int | None = None) -> "Stream":
        """Placements whose digits fill what lanes they can, each once; `maximal`: only what no dim more would help.

        Where lanes slide, a dim more is often not allowed, and all are kept. With `below` only those of fewer cycles.
        """
        saving = filled.build(self.proto, self.problem, self.variables)
        if below is not None:
            cost.limit(self.proto, self.problem, self.variables, below)
        if maximal and not self.problem.slides:
            filled.only_maximal(self.proto, self.variables, saving)
        solver = new_solver(settings, deadline)
        solver.parameters.num_workers = 1
        solver.parameters.enumerate_all_solutions = True
        return Stream(self, solver)


class Stream:
    """The placements of a model one by one, while the solver looks for more in a thread of its own."""

    def __init__(self, placements: Placements, solver: cp_model.CpSolver) -> None:
        self.placements, self.solver = placements, solver
        self.found: SimpleQueue[Embedding | None] = SimpleQueue()
        self.complete = False

    def __iter__(self) -> Iterator[Embedding]:
        collector = _Collector(self.placements, self.found)
        with ThreadPoolExecutor(1) as pool:
            search = pool.submit(self._search, collector)
            try:
                while (embedding := self.found.get()) is not None:
                    yield embedding
                search.result()
            finally:
                collector.enough = True

    def _search(self, collector: "_Collector") -> None:
        try:
            status = self.solver.solve(self.placements.proto, collector)
            self.complete = status in (cp_model.OPTIMAL, cp_model.INFEASIBLE)
        finally:
            self.found.put(None)


class _Collector(cp_model.CpSolverSolutionCallback):
    """Hands on every solution, until its reader has enough."""

    def __init__(self, placements: Placements, found: "SimpleQueue[Embedding | None]") -> None:
        super().__init__()
        self.placements, self.found, self.enough = placements, found, False

    def on_solution_callback(self) -> None:
        if self.enough:
            self.stop_search()
            return
        self.found.put(extract(self.placements.problem, self.placements.variables, self.value))


class PricedPlacements(Placements):
    """The same with cost terms that can be minimised; those of two problems of one operator compare."""

    def __init__(self, problem: Problem, demands: Iterable[Demand] = ()) -> None:
        super().__init__(problem)
        terms = cost.build(self.proto, problem, self.variables)
        rules = Demands(self.proto, problem, self.variables, terms)
        for demand in demands:
            rules.add(demand)
        members = [literal for found in self.variables.members.values() for literal in found.values()]
        digits = [self.variables.present(key) for key in self.variables.digits]
        self.terms: dict[str, cp_model.LinearExpr | int] = {
            "cycles": terms.cycles,
            "invocations": terms.invocations,
            "bytes": terms.bytes,
            "traffic": (2 * len(problem.extents) + 1) * terms.bytes + cp_model.LinearExpr.sum([*members, *digits]),
        }

    def feasible(self, settings: Settings, deadline: Deadline) -> bool | None:
        """Whether there is a placement; None where the time was too short to tell."""
        status = new_solver(settings, deadline).solve(self.proto)
        known = {cp_model.INFEASIBLE: False, cp_model.OPTIMAL: True, cp_model.FEASIBLE: True}
        return known.get(status)

    def minimise(
        self, order: tuple[str, ...], bound: list[int], settings: Settings, deadline: Deadline
    ) -> Found | None:
        """Minimise the terms in order; None where nothing is as good as `bound`, terms of an earlier model's best."""
        values: list[int] = []
        proven = True
        least = 0
        best: Embedding | None = None
        for place, name in enumerate(order):
            self.proto.minimize(self.terms[name])
            if place < len(bound) and values == bound[:place]:
                self.proto.add(self.terms[name] <= bound[place])
            solver = new_solver(settings, deadline)
            status = solver.solve(self.proto)
            log.log(MODELS, "    %s: %s in %.1f ms", name, solver.status_name(status), 1000 * solver.wall_time)
            if status == cp_model.INFEASIBLE:
                return None
            least = least if place else max(0, round(solver.best_objective_bound))
            if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
                return Found(best, values, False, least)
            proven = proven and status == cp_model.OPTIMAL
            best = extract(self.problem, self.variables, solver.value)
            values.append(round(solver.objective_value))
            self.proto.add(self.terms[name] <= values[-1])
            self._hint(solver)
        return Found(best, values, proven, least)

    def _hint(self, solver: cp_model.CpSolver) -> None:
        self.proto.clear_hints()  # type: ignore[no-untyped-call]
        for variable in self.variables.decisions:
            self.proto.add_hint(variable, solver.value(variable))
