"""The JSON Schema for editors accepts every good file and refuses what the loader refuses for its structure."""

import json
import tomllib
from pathlib import Path

import pytest

import isa
from isa.json_schema import json_schema
from isa.schema import KINDS, TABLES

jsonschema = pytest.importorskip("jsonschema")

HERE = Path(__file__).parent
SHIPPED = Path(isa.__file__).parent
CONTROL = SHIPPED.parent / "embed" / "cpu" / "assembler" / "aarch64.toml"
GOOD = [CONTROL, *sorted(SHIPPED.glob("*.toml")), *sorted((HERE / "files").glob("*.toml"))]
STRUCTURE = (
    "unknown key",
    "is missing:",
    "unknown kind",
    "unknown order",
    *(f"' is {what}, not" for what in KINDS.values()),
)


def is_valid(path: Path) -> bool:
    with path.open("rb") as file:
        values = tomllib.load(file)
    return bool(jsonschema.Draft202012Validator(json_schema()).is_valid(values))


def wrong() -> list[Path]:
    """Wrong files whose fault is their structure."""
    expected = {path: path.with_suffix(".expect").read_text() for path in sorted((HERE / "wrong").glob("*.toml"))}
    return [path for path, text in expected.items() if any(words in text for words in STRUCTURE)]


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())
    json.dumps(json_schema())


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_every_good_file_is_valid(path: Path) -> None:
    assert is_valid(path)


@pytest.mark.parametrize("path", wrong(), ids=lambda path: path.stem)
def test_wrong_structure_is_not(path: Path) -> None:
    assert not is_valid(path)


def test_there_are_such_files() -> None:
    assert len(wrong()) >= 8


def test_every_key_is_in_it_with_its_doc() -> None:
    schema = json_schema()
    for name, keys in TABLES.items():
        properties = (schema if name == "file" else schema["$defs"][name])["properties"]
        assert {key: value["description"] for key, value in properties.items()} == {
            key: spec.doc for key, spec in keys.items()
        }
