"""In place: a literal for each pinned access that may hold only where its packed words are the user's array.

Digits that share no lane with a tensor's words do not move along it, so the forms of its own lane dimensions decide.
"""

from collections.abc import Iterator
from itertools import product

from ortools.sat.python import cp_model

from embed.embedding import Digit, Embedding
from embed.layout import Layout, derive_one, word_lanes
from embed.repacking import Pin, begins_so, is_in_place
from embed.solver.forms import Form, columns, forms
from embed.solver.problem import Problem
from embed.solver.solution import filled
from embed.solver.variables import Literal, Variables

Forms = tuple[tuple[str, Form], ...]


def build(model: cp_model.CpModel, problem: Problem, variables: Variables, access: str, pin: Pin) -> Literal:
    """Whether an access is in place: nothing implies it, it holds where something asks for it or saves by it."""
    holds = model.new_bool_var(f"in place {access}")
    ways = enumerate(choices(problem, access, pin))
    model.add_bool_or(~holds, *(_chosen(model, variables, way, f"{access} {number}") for number, way in ways))
    return holds


def choices(problem: Problem, access: str, pin: Pin) -> Iterator[Forms]:
    """The forms of the lane dimensions of an access's words under which it is in place."""
    if not pin.same_type:
        return
    lanes = [lane for lane in word_lanes(_placed(problem, ()), problem.operand(access)) if lane in problem.lanes]
    options = [
        [(lane, form) for form in forms(problem, lane) if begins_so(_layout(problem, access, ((lane, form),)), pin)]
        for lane in lanes
    ]
    for choice in product(*options):
        if is_in_place(pin, _layout(problem, access, choice)):
            yield choice


def _chosen(model: cp_model.CpModel, variables: Variables, choice: Forms, name: str) -> Literal:
    """A literal that makes the digits of some lane dimensions what a choice of forms says."""
    chosen = model.new_bool_var(f"as {name}")
    for lane, form in choice:
        for variable, value in zip(columns(variables, lane), form.row(variables, lane), strict=True):
            model.add(variable == value).only_enforce_if(chosen)
    return chosen


def _layout(problem: Problem, access: str, choice: Forms) -> Layout:
    """The layout of an access under some forms, the other lane dimensions left empty."""
    read = problem.reads[access]
    tensor = next(t for t in (*problem.operator.main.tensors, *problem.operator.inputs) if t.name == read.tensor)
    return derive_one(_placed(problem, choice), read, problem.operand(access), tensor)


def _placed(problem: Problem, choice: Forms) -> Embedding:
    """The embedding that the forms stand for, once its digits take the lanes that are free."""
    digits: list[Digit] = []
    for lane, form in choice:
        order = problem.allowed[lane]
        pairs = sorted(zip(form.groups, form.radices, strict=True), key=lambda pair: -order.index(pair[0][0]))
        own = [Digit(lane, tuple(reversed(group)), radix) for group, radix in pairs]
        digits += filled(own, problem.extents, problem.lanes[lane])
    return Embedding(problem.operator, problem.instruction, problem.binding, tuple(digits))
