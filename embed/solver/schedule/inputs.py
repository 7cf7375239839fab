"""An input in a schedule: the loop depth from which it is kept, its places, its loads and what they cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from ortools.sat.python import cp_model

from embed.solver.schedule.variables import Expression, Variables

_MOST_SLOTS = 1 << 11


@dataclass(frozen=True, slots=True)
class InputTerms:
    """Literals of the depth an input is kept from, its places, its loads and those at the end of output tiles.

    Then the cycles of one load and of all, and the load instructions.
    """

    depths: list[cp_model.IntVar]
    slots: cp_model.IntVar
    times: cp_model.IntVar
    ends: cp_model.IntVar
    each: cp_model.IntVar
    total: Expression
    starts: cp_model.IntVar


def build(variables: Variables, tensor: str) -> InputTerms:
    """How often an input is loaded, at which cost, and that its tiles fit."""
    task, model, free, count = variables.task, variables.model, variables.free, variables.count
    moved = [name for name in free if name in task.moves(tensor)]
    depths = [model.new_bool_var(f"{tensor} kept from {depth}") for depth in range(len(free) + 1)]
    model.add_exactly_one(depths)
    most = prod(task.extents[name] for name in free)
    slots = model.new_int_var(1, min(task.room.words[tensor], task.room.most_slots, _MOST_SLOTS), f"slots {tensor}")
    times = model.new_int_var(1, most, f"loads {tensor}")
    again = model.new_int_var(1, most, f"again {tensor}")
    for depth, literal in enumerate(depths):
        below = variables.product((count[n] for n in free[depth:] if n in moved), f"below {tensor} {depth}")
        outer = variables.product((count[n] for n in free[:depth]), f"outer {tensor} {depth}")
        apart = variables.product((count[n] for n in free[:depth] if n not in moved), f"apart {tensor} {depth}")
        model.add(slots >= below).only_enforce_if(literal)
        model.add(times == variables.times(outer, below, f"loads {tensor} {depth}")).only_enforce_if(literal)
        model.add(again == apart).only_enforce_if(literal)
    _fit(variables, tensor, slots, moved)
    parts = parts_of(variables, tensor)
    each = task.room.load_start * parts + variables.beats(tensor, variables.words[tensor])
    read = variables.product([*(axis.read for axis in variables.axes[tensor]), again], f"read {tensor}")
    starts = variables.times(times, parts, f"starts {tensor}")
    total = task.room.load_start * starts + variables.beats(tensor, read)
    inside = variables.product((count[n] for n in moved if n not in task.results), f"sums {tensor}")
    ends = model.new_int_var(1, most, f"ends {tensor}")
    model.add_multiplication_equality(times, [ends, inside])
    return InputTerms(depths, slots, times, ends, variables.variable(each, 0, 1 << 40, f"each {tensor}"), total, starts)


def _fit(variables: Variables, tensor: str, slots: cp_model.IntVar, moved: Sequence[str]) -> None:
    """The places for an input's tiles fit its scratchpad, and 2-D copies reach all padding."""
    task, model = variables.task, variables.model
    several = model.new_bool_var(f"several {tensor}")
    for name in moved:
        model.add(variables.count[name] == 1).only_enforce_if(~several)
    model.add(slots >= 2).only_enforce_if(several, variables.double)
    variables.times(slots, variables.words[tensor], f"held {tensor}", task.room.words[tensor])
    for place, axis in enumerate(task.layouts[tensor].axes):
        if axis.before or axis.after:
            model.add(sum(inner.broken for inner in variables.axes[tensor][place + 1 :]) <= 1)


def parts_of(variables: Variables, tensor: str) -> Expression:
    """Load instructions of one tile."""
    factors = []
    for place, axis in enumerate(variables.axes[tensor][:-2]):
        inner = sum(other.broken for other in variables.axes[tensor][place + 1 :])
        split = variables.model.new_bool_var(f"split {tensor} {place}")
        variables.model.add(inner >= 2).only_enforce_if(split)
        variables.model.add(inner <= 1).only_enforce_if(~split)
        factor = variables.model.new_int_var(1, axis.most, f"parts {tensor} {place}")
        variables.model.add(factor == axis.span).only_enforce_if(split)
        variables.model.add(factor == 1).only_enforce_if(~split)
        factors.append(factor)
    return variables.product(factors, f"parts {tensor}")
