"""Once: every dim stands in one digit or is a loop, so that the tiles of all invocations partition the box."""

from ortools.sat.python import cp_model

from embed.solver.problem import Problem
from embed.solver.variables import Variables


def build(model: cp_model.CpModel, problem: Problem, variables: Variables) -> None:
    for dim in problem.extents:
        model.add_exactly_one([*variables.holders(dim), variables.outer[dim]])
