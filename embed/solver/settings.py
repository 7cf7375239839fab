"""How to search, and the CP-SAT solver that is set so."""

import logging
from dataclasses import dataclass
from pathlib import Path

from ortools.sat.python import cp_model

from dataflow.errors import UserError
from embed import atomic
from embed.demands import Demand
from embed.solver.deadline import Deadline

log = logging.getLogger("embed.solver")
"""INFO: what is placed where; MODELS: how each model was solved; DEBUG: what CP-SAT logs."""

MODELS = 15


@dataclass(frozen=True, slots=True)
class Settings:
    """How to search: `time_limit` seconds in all, spent as effort, and the random `seed`.

    `parameters` are fields of CP-SAT's SatParameters and come last; every model is written to the file `dump`. Only
    embeddings that meet all `demands` count. `layouts` pins those of tensors, by name; packing them has a price.
    `relax` names the relaxations to try; None are those that suit the machine, and none under demands.
    """

    objective: str = "cycles"
    time_limit: float = 10.0
    seed: int = 0
    parameters: tuple[tuple[str, bool | int | float], ...] = ()
    dump: Path | None = None
    demands: tuple[Demand, ...] = ()
    layouts: tuple[tuple[str, str], ...] = ()
    relax: tuple[str, ...] | None = None

    @property
    def limit(self) -> str:
        """How long the search may take, in words."""
        effort = dict(self.parameters).get("max_deterministic_time")
        return f"{self.time_limit:g} s" if effort is None else f"an effort of {effort:g}"


class Solver(cp_model.CpSolver):
    """A solver that stops at a deadline and spends from its effort."""

    def __init__(self, deadline: Deadline) -> None:
        super().__init__()
        self._deadline = deadline
        self.parameters.max_deterministic_time = max(0.0, deadline.effort)
        self.parameters.max_time_in_seconds = max(0.01, deadline.seconds)

    def solve(
        self, model: cp_model.CpModel, solution_callback: cp_model.CpSolverSolutionCallback | None = None
    ) -> cp_model.CpSolverStatus:
        """Solve a model; its status."""
        status = super().solve(model, solution_callback)
        self._deadline.spend(self.deterministic_time)
        return status


def new_solver(settings: Settings, deadline: Deadline) -> Solver:
    """A solver for models this small: presolve and linear relaxation cost more than they save.

    Raises UserError for a parameter that CP-SAT does not have.
    """
    solver = Solver(deadline)
    solver.parameters.num_workers = 1  # of several any may win, and on models this small each only costs
    solver.parameters.random_seed = settings.seed
    solver.parameters.cp_model_presolve = False
    solver.parameters.linearization_level = 0
    if log.isEnabledFor(logging.DEBUG):
        solver.parameters.log_search_progress = True
        solver.parameters.log_to_stdout = False
        solver.log_callback = log.debug
    for name, value in settings.parameters:
        _set(solver, name, value)
    return solver


def dump_model(model: cp_model.CpModel, path: Path | None) -> None:
    """Write a model as CP-SAT's text proto, if there is a file for it; the file appears whole or not at all."""
    if path is not None:
        atomic.write(path, str(model.proto).encode())
        log.info("    the model is in %s", path)


def _set(solver: cp_model.CpSolver, name: str, value: bool | int | float) -> None:
    if not hasattr(solver.parameters, name):
        raise UserError(f"CP-SAT has no parameter '{name}'; its SatParameters lists them")
    try:
        setattr(solver.parameters, name, value)
    except TypeError:
        kind = type(getattr(solver.parameters, name)).__name__
        raise UserError(f"CP-SAT's parameter {name} is of type {kind} and cannot be {value}") from None
