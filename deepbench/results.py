"""Results as files: JSON lines and CSV, each written whole."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from embed.cli.files import write_json_lines, write_whole
from embed.cli.record import JsonRecord


def write_json(path: Path, records: Sequence[JsonRecord]) -> None:
    """One JSON object per line and problem."""
    write_json_lines(path, [record.to_dict() for record in records])


def write_csv(path: Path, records: Sequence[JsonRecord]) -> None:
    """A header and one row per problem; what is more than one value stands in one column, as JSON."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(records[0])], lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerow({name: _cell(value) for name, value in record.to_dict().items()})
    write_whole(path, text.getvalue())


def _cell(value: object) -> object:
    return json.dumps(value) if isinstance(value, dict | list) else value
