"""Embeddings and schedules as JSON values and back."""

from collections.abc import Mapping
from typing import Any

from dataflow import serial
from dataflow.errors import UserError
from embed.binding import Binding
from embed.checker import CheckError, verify
from embed.embedding import Digit, Embedding, Placeable
from embed.nest.schedule import Schedule
from embed.relax import steps
from isa.model import Isa

_WRONG = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, CheckError)
"""What a damaged value does to the code that reads it."""


def embedding_to_json(embedding: Embedding) -> dict[str, Any]:
    """A JSON value from which `embedding_from_json` makes an equal embedding, given the ISA."""
    return {
        "operator": serial.to_json(embedding.asked),
        "relaxed": str(embedding.relaxed or ""),
        "instruction": embedding.name,
        "binding": [list(pair) for pair in embedding.binding.pairs],
        "digits": [{"lane": digit.lane, "dims": list(digit.dims), "radix": digit.radix} for digit in embedding.digits],
    }


def embedding_from_json(value: Mapping[str, Any], target: Isa) -> Embedding:
    """The embedding of a JSON value; raises UserError if it is not one for this ISA, or breaks a rule."""
    try:
        asked = serial.from_json(value["operator"])
        relaxed = steps.relaxed(asked, steps.read_steps(value["relaxed"])) if value["relaxed"] else None
        instruction = Placeable.of(target, str(value["instruction"]))
        binding = Binding(tuple((str(operand), str(tensor)) for operand, tensor in value["binding"]))
        digits = tuple(Digit(str(d["lane"]), tuple(map(str, d["dims"])), int(d["radix"])) for d in value["digits"])
        embedding = Embedding(relaxed.operator if relaxed else asked, instruction, binding, digits, relaxed)
        verify(embedding)
    except _WRONG as error:
        raise UserError(f"not a saved embedding: {type(error).__name__} {error}") from None
    return embedding


def schedule_to_json(schedule: Schedule) -> dict[str, Any]:
    """A JSON value from which `schedule_from_json` makes an equal schedule."""
    return {
        "tiles": dict(schedule.tiles),
        "order": list(schedule.order),
        "buffers": schedule.buffers,
        "result_buffers": schedule.result_buffers,
        "slots": dict(schedule.slots),
        "whole": list(schedule.whole),
        "tail": schedule.tail,
        "reload": schedule.reload,
        "cycles": [schedule.cycles, schedule.bound],
        "block": schedule.block,
    }


def schedule_from_json(value: Mapping[str, Any]) -> Schedule:
    """The schedule of a JSON value; raises UserError if it is not one."""
    try:
        tiles = {str(name): int(tile) for name, tile in value["tiles"].items()}
        order, buffers = tuple(map(str, value["order"])), (int(value["buffers"]), int(value["result_buffers"]))
        slots = {str(name): int(count) for name, count in value["slots"].items()}
        whole = tuple(map(str, value["whole"]))
        reload, cycles = bool(value["reload"]), (int(value["cycles"][0]), int(value["cycles"][1]))
        tail = (str(value["tail"][0]), int(value["tail"][1])) if value["tail"] else None
        block = (str(value["block"][0]), int(value["block"][1])) if value.get("block") else None
    except _WRONG as error:
        raise UserError(f"not a saved schedule: {type(error).__name__} {error}") from None
    sizes = [*tiles.values(), *buffers, *slots.values(), *(cut[1] for cut in (tail, block) if cut)]
    if sorted(order) != sorted(tiles) or min(sizes) < 1:
        raise UserError("not a saved schedule: it has one tile of at least 1 for each loop of its order, and buffers")
    return Schedule(tiles, order, *buffers, slots, whole, tail, reload, *cycles, block)
