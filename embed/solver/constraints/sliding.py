"""Sliding: lanes that share elements of an operand, as in `inp[x+r]`, move along dims that share the tensor's."""

from itertools import product

from ortools.sat.python import cp_model

from embed.lanes import Slide
from embed.solver.problem import Problem
from embed.solver.variables import Literal, Variables


def build(model: cp_model.CpModel, problem: Problem, variables: Variables) -> None:
    for slide in problem.slides:
        _clash(model, slide, variables)
        _single(model, slide, variables)


def _members(variables: Variables, lane: str) -> list[tuple[str, Literal]]:
    """Every (dim, literal) that says that a digit of the lane dimension holds the dim."""
    return [(dim, literal) for key in variables.of_lane(lane) for dim, literal in variables.members[key].items()]


def _clash(model: cp_model.CpModel, slide: Slide, variables: Variables) -> None:
    """Dims that are no pair do not stand in the two dimensions at once."""
    one, other = (_members(variables, lane) for lane in slide.lanes)
    for (left, first), (right, second) in product(one, other):
        if (left, right) not in slide.pairs:
            model.add_bool_or(~first, ~second)


def _single(model: cp_model.CpModel, slide: Slide, variables: Variables) -> None:
    """Where both have digits, each has one dim."""
    sides = [[literal for _, literal in _members(variables, lane)] for lane in slide.lanes]
    if not all(sides):
        return
    used = []
    for lane, literals in zip(slide.lanes, sides, strict=True):
        used.append(model.new_bool_var(f"slides {lane}"))
        model.add_max_equality(used[-1], literals)
    for literals in sides:
        model.add(cp_model.LinearExpr.sum(literals) <= 1).only_enforce_if(used)
