"""The search for the best placement: one model for each instruction and binding, solved objective by objective."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from ortools.sat.python import cp_model

from dataflow.operator import Operator
from embed.binding import bindings
from embed.checker import verify
from embed.costs import Costs, evaluate, rates
from embed.embedding import Embedding, Placeable
from embed.errors import NoEmbedding
from embed.solver import cost
from embed.solver.constraints import CONSTRAINTS
from embed.solver.problem import Problem
from embed.solver.solution import extract
from embed.solver.variables import Variables
from isa.model import Isa

OBJECTIVES = {
    "cycles": ("cycles", "traffic"),
    "invocations": ("invocations", "cycles", "traffic"),
    "bytes": ("traffic", "cycles"),
}
"""What each objective minimises, in this order; `traffic` is packed bytes, of equals those with fewest dims in lanes."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How to search: `time_limit` seconds in all, solver `workers`, random `seed`."""

    objective: str = "cycles"
    time_limit: float = 10.0
    workers: int = 1
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Solution:
    """An embedding with its price, and whether it is proven best; `seconds` is the whole search's time."""

    embedding: Embedding
    costs: Costs
    status: str
    seconds: float


class Model:
    """The CP-SAT model of one placement problem."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.proto = cp_model.CpModel()
        self.variables = Variables(self.proto, problem)
        for constraint in CONSTRAINTS:
            constraint.build(self.proto, problem, self.variables)
        terms = cost.build(self.proto, problem, self.variables)
        members = [literal for found in self.variables.members.values() for literal in found.values()]
        self.terms: dict[str, cp_model.LinearExprT] = {
            "cycles": terms.cycles,
            "invocations": terms.invocations,
            "traffic": (len(members) + 1) * terms.bytes + cp_model.LinearExpr.sum(members),
        }

    def minimise(self, order: tuple[str, ...], bound: list[int], settings: Settings, deadline: float) -> "Found | None":
        """Minimise the terms in order; None where nothing is as good as `bound`, terms of an earlier model's best."""
        values: list[int] = []
        proven = True
        best: Embedding | None = None
        for place, name in enumerate(order):
            self.proto.minimize(self.terms[name])
            if bound and values == bound[:place]:
                self.proto.add(self.terms[name] <= bound[place])
            solver = _solver(settings, deadline)
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
        self.proto.clear_hints()
        for variable in self.variables.decisions:
            self.proto.add_hint(variable, solver.value(variable))


@dataclass(frozen=True, slots=True)
class Found:
    """The best of one model: no embedding if the time ran out before the first."""

    embedding: Embedding | None
    values: list[int]
    proven: bool


def best(operator: Operator, target: Isa, settings: Settings) -> Solution:
    """The best embedding of any of the target's instructions in the operator; raises NoEmbedding with the reason."""
    start = time.perf_counter()
    order = OBJECTIVES[settings.objective]
    chosen: Found | None = None
    proven = True
    for problem in problems(operator, target):
        bound = chosen.values if chosen else []
        found = Model(problem).minimise(order, bound, settings, start + settings.time_limit)
        if found is None:
            continue
        proven = proven and found.proven
        if found.embedding is not None and (chosen is None or found.values < chosen.values):
            chosen = found
    seconds = time.perf_counter() - start
    if chosen is None or chosen.embedding is None:
        raise NoEmbedding(f"no embedding of {target.name} in {operator.title} was found within {settings.time_limit:g} s")
    return _checked(chosen.embedding, target, "OPTIMAL" if proven else "FEASIBLE", seconds)


def problems(operator: Operator, target: Isa) -> Iterator[Problem]:
    """Every (instruction, binding) whose bodies agree; raises NoEmbedding where there is none."""
    none = True
    for instruction in target.instructions.values():
        if instruction.pattern is None or not instruction.pattern.accumulate:
            continue
        for binding in bindings(operator.main, instruction.pattern):
            none = False
            rate = rates(operator, instruction, target)
            yield Problem(operator, Placeable.of(target, instruction.name), binding, rate)
    if none:
        raise NoEmbedding(f"no instruction of {target.name} computes `{operator.main}`: {_offers(target)}")


def _offers(target: Isa) -> str:
    found = [f"{e.name} is `{e.pattern}`" for e in target.instructions.values() if e.pattern and e.pattern.accumulate]
    return "; ".join(found) if found else "it has no instruction that accumulates"


def _checked(embedding: Embedding, target: Isa, status: str, seconds: float) -> Solution:
    verify(embedding)
    instruction = target.instructions[embedding.name]
    return Solution(embedding, evaluate(embedding, rates(embedding.operator, instruction, target)), status, seconds)


def _solver(settings: Settings, deadline: float) -> cp_model.CpSolver:
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = settings.workers
    solver.parameters.random_seed = settings.seed
    solver.parameters.cp_model_presolve = False
    solver.parameters.linearization_level = 0
    solver.parameters.max_time_in_seconds = max(0.01, deadline - time.perf_counter())
    return solver
