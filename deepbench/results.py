"""Results as files: JSON lines and CSV, each written whole."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from embed.cli.files import write_json_lines, write_whole
from embed.cli.record import Record


def write_json(path: Path, records: Sequence[Record]) -> None:
    """One JSON object per line and problem."""
    write_json_lines(path, [record.to_dict() for record in records])


def write_csv(path: Path, records: Sequence[Record]) -> None:
    """A header and one row per problem; the ISA's parameters stand in one column, as JSON."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Record)], lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerow({**record.to_dict(), "parameters": json.dumps(record.parameters)})
    write_whole(path, text.getvalue())
