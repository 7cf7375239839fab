"""A solver that stops early, for models whose solution it then does not prove."""

from collections.abc import Callable

from ortools.sat.python import cp_model

from embed.solver import model
from embed.solver.deadline import Deadline
from embed.solver.settings import Settings

NewSolver = Callable[[Settings, Deadline], cp_model.CpSolver]


def solver_with(**parameters: object) -> NewSolver:
    """The usual solver with fields of SatParameters of one's own."""
    usual = model.new_solver

    def new_solver(chosen: Settings, deadline: Deadline) -> cp_model.CpSolver:
        solver = usual(chosen, deadline)
        for name, value in parameters.items():
            setattr(solver.parameters, name, value)
        return solver

    return new_solver
