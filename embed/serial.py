"""Embeddings and schedules as JSON values and back."""

from collections.abc import Mapping
from typing import Any

from dataflow import serial
from dataflow.errors import UserError
from embed.binding import Binding
from embed.embedding import Digit, Embedding, Placeable
from embed.nest.schedule import Schedule
from isa.model import Isa


def embedding_to_json(embedding: Embedding) -> dict[str, Any]:
    """A JSON value from which `embedding_from_json` makes an equal embedding, given the ISA."""
    return {
        "operator": serial.to_json(embedding.operator),
        "instruction": embedding.name,
        "binding": [list(pair) for pair in embedding.binding.pairs],
        "digits": [{"lane": digit.lane, "dims": list(digit.dims), "radix": digit.radix} for digit in embedding.digits],
    }


def embedding_from_json(value: Mapping[str, Any], target: Isa) -> Embedding:
    """The embedding of a JSON value; raises UserError if it is not one for this ISA."""
    try:
        instruction = Placeable.of(target, str(value["instruction"]))
        binding = Binding(tuple((str(operand), str(tensor)) for operand, tensor in value["binding"]))
        digits = tuple(Digit(str(d["lane"]), tuple(map(str, d["dims"])), int(d["radix"])) for d in value["digits"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"not a saved embedding: {type(error).__name__} {error}") from None
    return Embedding(serial.from_json(value["operator"]), instruction, binding, digits)


def schedule_to_json(schedule: Schedule) -> dict[str, Any]:
    """A JSON value from which `schedule_from_json` makes an equal schedule."""
    return {
        "tiles": dict(schedule.tiles),
        "order": list(schedule.order),
        "buffers": schedule.buffers,
        "result_buffers": schedule.result_buffers,
    }


def schedule_from_json(value: Mapping[str, Any]) -> Schedule:
    """The schedule of a JSON value; raises UserError if it is not one."""
    try:
        tiles = {str(name): int(tile) for name, tile in value["tiles"].items()}
        return Schedule(tiles, tuple(map(str, value["order"])), int(value["buffers"]), int(value["result_buffers"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"not a saved schedule: {type(error).__name__} {error}") from None
