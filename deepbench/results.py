"""Results as files: JSON lines and CSV, each written whole."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from embed.cli.files import write_json_lines, write_whole
from embed.cli.record import JsonRecord


@dataclass(frozen=True, slots=True)
class Files:
    """Where results go; None for what was not asked for."""

    out: Path
    json: Path | None = None
    csv: Path | None = None
    html: Path | None = None


def write_records(records: Sequence[JsonRecord], files: Files) -> None:
    """The results, and where else they were asked for as JSON or CSV."""
    for path, write in (
        (files.out / "results.jsonl", write_json),
        (files.out / "results.csv", write_csv),
        (files.json, write_json),
        (files.csv, write_csv),
    ):
        if path:
            write(path, records)


def write_json(path: Path, records: Sequence[JsonRecord]) -> None:
    """One JSON object per line and problem."""
    write_json_lines(path, [record.to_dict() for record in records])


def write_csv(path: Path, records: Sequence[JsonRecord]) -> None:
    """A header and one row per problem."""
    write_rows(path, [record.to_dict() for record in records])


def write_rows(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """A header and the rows, all of the same keys; what is more than one value stands in one column, as JSON."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _cell(value) for name, value in row.items()})
    write_whole(path, text.getvalue())


def _cell(value: object) -> object:
    return json.dumps(value) if isinstance(value, dict | list) else value
