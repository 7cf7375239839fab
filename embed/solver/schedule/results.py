"""Results in a schedule: output tiles in flight and the epilogue's tensors share a scratchpad."""

from dataclasses import dataclass

from ortools.sat.python import cp_model

from embed.nest.price import MOST_PIECES
from embed.solver.schedule.variables import Expression, Variables


@dataclass(frozen=True, slots=True)
class ResultTerms:
    """Output tiles in flight, whether each of the epilogue's tensors is kept whole, and pieces of the last store."""

    buffers: cp_model.IntVar
    whole: dict[str, cp_model.IntVar]
    pieces: cp_model.IntVar


def build(variables: Variables) -> ResultTerms:
    """Output tiles and the epilogue's tensors fit their scratchpad together."""
    task, model, room = variables.task, variables.model, variables.task.room
    output = task.output
    buffers = model.new_int_var(1, min(2, room.result_buffers), "result buffers")
    whole = {name: model.new_bool_var(f"whole {name}") for name in room.shared}
    taken: Expression = variables.times(buffers, variables.words[output], "result words", room.words[output])
    for name, literal in whole.items():
        words = model.new_int_var(0, room.words[output], f"extra {name}")
        model.add(words >= task.layouts[name].words).only_enforce_if(literal)
        model.add(words >= variables.words[name]).only_enforce_if(~literal)
        taken = taken + words
    model.add(taken <= room.words[output])
    most = MOST_PIECES if room.passes > 1 and room.result_buffers > 1 else 1
    return ResultTerms(buffers, whole, model.new_int_var(1, most, "pieces"))
