"""A JSON Schema of ISA files for editors, made from the loader's own table of keys."""

from typing import Any

from isa.schema import OPEN, PLAIN, TABLES, Key

Schema = dict[str, Any]
_FORMULA: Schema = {"type": ["integer", "string"]}
_TEXTS: Schema = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}
_KINDS: dict[str, Schema] = {
    "text": {"type": "string"},
    "texts": _TEXTS,
    "integer": _FORMULA,
    "formula": _FORMULA,
    "table": {"type": "object"},
    "tables": {"type": "array"},
    "encoding": {"type": ["string", "object"]},
}


def json_schema() -> Schema:
    """The schema (draft 2020-12): structure and kinds; what formulas and patterns say is for the loader to check."""
    definitions = {name: _table(name) for name in TABLES if name != "file"}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "An ISA file of isa-embed",
        **_table("file"),
        "$defs": definitions,
    }


def _table(name: str) -> Schema:
    keys = TABLES[name]
    further = {"anyOf": [_member(kind) for kind in OPEN[name]]} if name in OPEN else False
    required = [key for key, spec in keys.items() if spec.required]
    made: Schema = {
        "type": "object",
        "properties": {key: _value(spec) for key, spec in keys.items()},
        "additionalProperties": further,
    }
    if name != "file":
        return {**made, "required": required}
    own = [key for key in required if key != "name"]
    return {**made, "required": ["name"], "anyOf": [{"required": ["extends"]}, {"required": own}]}


def _value(spec: Key) -> Schema:
    described = {"description": spec.doc}
    if spec.kind == "encoding":
        return {**described, "anyOf": [{"type": "string"}, _member(spec.table)]}
    if spec.kind == "tables":
        return {**described, "type": "array", "items": _member(spec.table)}
    if spec.table:
        return {**described, **_member(spec.table)}
    if spec.members:
        return {**described, "type": "object", "additionalProperties": {"anyOf": list(map(_member, spec.members))}}
    return {**described, **_KINDS[spec.kind], **({"enum": list(spec.one_of)} if spec.one_of else {})}


def _member(name: str) -> Schema:
    return _FORMULA if name == PLAIN else {"$ref": f"#/$defs/{name}"}
