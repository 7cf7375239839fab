"""Filled: no digit could have fewer runs on lanes that are idle. Only enumeration asks for it; a price would anyway."""

from collections.abc import Mapping

from ortools.sat.python import cp_model

from embed.lanes import useful_radices
from embed.solver.forms import Form, columns, forms
from embed.solver.problem import Problem
from embed.solver.variables import Literal, Variables


def build(model: cp_model.CpModel, problem: Problem, variables: Variables) -> dict[tuple[str, str], Literal]:
    """Add a table for each lane; returns a literal for each lane and dim: on idle lanes, the dim saves invocations."""
    saving: dict[tuple[str, str], Literal] = {}
    for lane, dims in problem.allowed.items():
        own = {(lane, dim): model.new_bool_var(f"saving {lane} {dim}") for dim in dims}
        rows = [
            (
                *form.row(variables, lane),
                *(int(_saves(problem.extents[dim], form, problem.lanes[lane])) for dim in dims),
            )
            for form in forms(problem, lane)
            if not _grows(form, problem.lanes[lane])
        ]
        if dims:
            model.add_allowed_assignments([*columns(variables, lane), *own.values()], rows)
        saving |= own
    return saving


def _grows(form: Form, lanes: int) -> bool:
    """Whether some radix could be a larger useful one beside the others."""
    for size, radix in zip(form.sizes, form.radices, strict=True):
        larger = next((option for option in useful_radices(size, lanes) if option > radix), None)
        if larger is not None and form.taken // radix * larger <= lanes:
            return True
    return False


def _saves(extent: int, form: Form, lanes: int) -> bool:
    """Whether another dim takes fewer invocations as a digit of its own, or fused with one, than as a loop."""
    fused = any(
        -(-size * extent // (lanes * radix // form.taken)) < -(-size // radix) * extent
        for size, radix in zip(form.sizes, form.radices, strict=True)
    )
    return fused or 2 * form.taken <= lanes


def only_maximal(model: cp_model.CpModel, variables: Variables, saving: Mapping[tuple[str, str], Literal]) -> None:
    """No dim that is a loop would save invocations on idle lanes."""
    for (_, dim), literal in saving.items():
        model.add_implication(variables.outer[dim], ~literal)
