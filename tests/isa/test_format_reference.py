"""docs/isa-format.md has one row for every key of the loader, in one form, and its examples are valid."""

import re
import tomllib
from pathlib import Path

import pytest

from isa.json_schema import json_schema
from isa.schema import TABLES

jsonschema = pytest.importorskip("jsonschema")

TEXT = (Path(__file__).parents[2] / "docs" / "isa-format.md").read_text(encoding="utf-8")
SECTION = re.compile(r"^### [^`\n]*: `(\w+)`\n(.*?)(?=^##|\Z)", re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^\| `([a-z]+)` \| ([^|]+) \| ((?:[^|]|\\\|)+) \| `(.+)` \|$", re.MULTILINE)
WORDS = {
    "text": "text",
    "texts": "text, or a list",
    "integer": "integer or formula",
    "formula": "integer or formula",
    "table": "table",
    "tables": "list of tables",
    "encoding": "text or table",
}


def rows(table: str) -> dict[str, tuple[str, str, str]]:
    """Kind, meaning and example of every key of one table of the reference."""
    body = dict(SECTION.findall(TEXT))[table]
    found = ROW.findall(body)
    assert len(found) == sum(line.startswith("| `") for line in body.splitlines()), "a row has another form"
    return {key: (kind, means.replace("\\|", "|"), example) for key, kind, means, example in found}


def test_every_table_has_a_section() -> None:
    assert {table for table, _ in SECTION.findall(TEXT)} == set(TABLES)


@pytest.mark.parametrize("table", TABLES)
def test_every_key_has_its_row(table: str) -> None:
    wanted = {
        key: (WORDS[spec.kind] + (", needed" if spec.required else ""), spec.doc) for key, spec in TABLES[table].items()
    }
    assert {key: (kind, means) for key, (kind, means, _) in rows(table).items()} == wanted


@pytest.mark.parametrize("table", TABLES)
def test_every_example_is_valid(table: str) -> None:
    schema = json_schema()
    properties = (schema if table == "file" else schema["$defs"][table])["properties"]
    for key, (_, _, example) in rows(table).items():
        (found,) = tomllib.loads(example).items()
        assert found[0] == key
        if found != ("instruction", [{"name": "finish"}]):
            part = {**properties[key], "$defs": schema["$defs"]}
            jsonschema.Draft202012Validator(part).validate(found[1])
