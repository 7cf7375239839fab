"""Capacity: the radices of a lane dimension's digits multiply to no more than its lanes."""

from ortools.sat.python import cp_model

from embed.solver.arithmetic import product
from embed.solver.problem import Problem
from embed.solver.variables import Variables


def build(model: cp_model.CpModel, problem: Problem, variables: Variables) -> None:
    for lane, extent in problem.lanes.items():
        radices = [variables.radix[key] for key in variables.of_lane(lane)]
        if len(radices) > 1:
            product(model, radices, extent, f"lanes of {lane}")
