"""Operators as JSON values and back; the statements travel as text in the index notation."""

from collections.abc import Mapping
from typing import Any

from dataflow.computation import Computation, Tensor
from dataflow.errors import UserError
from dataflow.notation import parse
from dataflow.operator import Operator


def to_json(operator: Operator) -> dict[str, Any]:
    """A JSON value from which `from_json` makes an equal operator."""
    return {
        "name": operator.name,
        "parameters": [[name, value] for name, value in operator.parameters],
        "statements": [_statement(statement) for statement in operator.statements],
    }


def from_json(value: Mapping[str, Any]) -> Operator:
    """The operator of a JSON value; raises UserError if it is not one."""
    try:
        statements = tuple(_parsed(entry) for entry in value["statements"])
        if not statements:
            raise ValueError("it has no statement")
        parameters = tuple((str(name), item) for name, item in value["parameters"])
        return Operator(str(value["name"]), statements, parameters)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise UserError(f"not a saved operator: {type(error).__name__} {error}") from None


def _statement(statement: Computation) -> dict[str, Any]:
    tensors = {t.name: {"dtype": t.dtype, "shape": list(t.shape)} for t in statement.tensors}
    return {"text": str(statement), "extents": statement.extents, "tensors": tensors}


def _parsed(entry: Mapping[str, Any]) -> Computation:
    tensors = {n: Tensor(n, str(t["dtype"]), tuple(map(int, t["shape"]))) for n, t in entry["tensors"].items()}
    return parse(entry["text"], {name: int(extent) for name, extent in entry["extents"].items()}, tensors)
