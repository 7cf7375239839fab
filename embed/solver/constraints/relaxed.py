"""Relaxed: what a rewriting made for the lanes stands there, else the operator without it has the placement too."""

from itertools import product

from ortools.sat.python import cp_model

from embed.solver.problem import Problem
from embed.solver.variables import Literal, Variables


def build(model: cp_model.CpModel, problem: Problem, variables: Variables) -> None:
    if problem.relaxed is None:
        return
    for dim in problem.relaxed.held:
        if dim in problem.extents:
            model.add(variables.outer[dim] == 0)
    for pair in problem.relaxed.apart:
        for lane in problem.allowed:
            one, other = (_holders(variables, lane, dim) for dim in pair)
            for first, second in product(one, other):
                model.add_bool_or(~first, ~second)


def _holders(variables: Variables, lane: str, dim: str) -> list[Literal]:
    """One literal for each digit of the lane dimension that could hold the dim."""
    return [variables.members[key][dim] for key in variables.of_lane(lane) if dim in variables.members[key]]
