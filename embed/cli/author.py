"""Commands for those who write an ISA file: a first text, the schema for an editor, the gates."""

import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

import isa as isa_files
from dataflow import UserError
from embed.cli.exits import Defect
from embed.cli.files import write_whole
from embed.cli.operators import read_settings
from embed.cli.options import Seed, Settings
from embed.gates import Result, run_gates
from isa.json_schema import json_schema
from isa.source import Source

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_NAME_LINE = re.compile(r'^name\s*=\s*"[^"]*"', re.MULTILINE)
_SHOWN = 5

NewName = Annotated[str, typer.Argument(metavar="NAME", help="the name of the new instruction set")]
From = Annotated[
    str | None, typer.Option("--from", metavar="NAME|FILE", help="start as a copy of this one", show_default=False)
]
Output = Annotated[Path | None, typer.Option("--out", metavar="FILE", help="where to write it", show_default=False)]
File = Annotated[Path, typer.Argument(metavar="FILE", help="an ISA file")]


def new_command(name: NewName, start: From = None, out: Output = None) -> None:
    """Write a first ISA file, with comments, that passes `isa check` and runs."""
    if not _NAME.fullmatch(name):
        raise UserError(f"'{name}' is not a name: letters, digits and _ only, a letter first")
    path = out or Path(f"{name}.toml")
    if path.exists():
        raise UserError(f"{path} exists already; choose another name, or --out")
    write_whole(path, _skeleton(name) if start is None else _copy(name, start))
    typer.echo(f"{path}: written; next: isa-embed isa check {path}")


def schema_command(out: Output = None) -> None:
    """Print the JSON Schema of ISA files, for editors: completion and a first check while you write."""
    text = json.dumps(json_schema(), indent=2) + "\n"
    if out is None:
        typer.echo(text, nl=False)
    else:
        write_whole(out, text)
        typer.echo(f"{out}: written; first line of an ISA file beside it: #:schema ./{out.name}")


def gates_command(file: File, settings: Settings = None, seed: Seed = 0) -> None:
    """Run the gates that follow from a file: encodings, patterns on extremes, selection, print-back."""
    target = isa_files.load(file, read_settings(settings or ()))
    failed = 0
    for result in run_gates(Source.read(target.path, str(file)), target, seed):
        failed += len(result.failures)
        typer.echo(_line(result))
    if failed:
        raise UserError(f"{file}: {failed} of these failed")
    typer.echo(f"{file}: ok: {target.name} stands every gate")


def _line(result: Result) -> str:
    verdict = f"{len(result.failures)} of {result.tried} FAILED" if result.failures else f"{result.tried} ok"
    shown = [f"\n  {failure}" for failure in result.failures[:_SHOWN]]
    return f"{result.gate}: {verdict if result.tried else 'nothing to try'}{''.join(shown)}"


def _skeleton(name: str) -> str:
    return (files("embed.cli") / "skeleton.toml").read_text(encoding="utf-8").replace("NAME", name)


def _copy(name: str, start: str) -> str:
    """The text of another file under a new name."""
    path = isa_files.load(start).path
    text, count = _NAME_LINE.subn(f'name = "{name}"', path.read_text(encoding="utf-8"), count=1)
    if not count:
        raise Defect(f"{path} has no line with its name")
    return text
