"""`isa-embed isa ...`: what instruction sets there are, what one says, if a file is right, how to write one."""

from pathlib import Path
from typing import Annotated

import typer

import isa as isa_files
from embed.cli.author import gates_command, new_command, schema_command
from embed.cli.calibrate import calibrate_command
from embed.cli.card import card
from embed.cli.console import new_table, wide_console
from embed.cli.entry_card import entry_card
from embed.cli.operators import read_settings
from embed.cli.options import Settings

isa_app = typer.Typer(help="Instruction sets: the shipped ones, and your own files.", no_args_is_help=False)
isa_app.command("calibrate")(calibrate_command)
isa_app.command("new")(new_command)
isa_app.command("schema")(schema_command)
isa_app.command("test")(gates_command)

Name = Annotated[str, typer.Argument(metavar="NAME|FILE", help="a shipped name or a .toml file")]
Entry = Annotated[str | None, typer.Argument(metavar="INSTRUCTION", help="one of its entries", show_default=False)]
File = Annotated[Path, typer.Argument(metavar="FILE", help="an ISA file")]


@isa_app.command("list")
def list_command() -> None:
    """List the shipped instruction sets."""
    table = new_table("", "name", "instructions", "memories", "parameters", "what it is", right=["instructions"])
    for name in isa_files.names():
        target = isa_files.load(name)
        counts = (str(len(target.instructions)), ", ".join(target.memories), ", ".join(target.parameters))
        table.add_row(name, *counts, target.doc)
    wide_console().print(table)


@isa_app.command("show")
def show_command(name: Name, instruction: Entry = None, settings: Settings = None) -> None:
    """Print an instruction set, or one instruction of it: patterns, memories, the diagram of its bits, timing."""
    console, target = wide_console(), isa_files.load(name, read_settings(settings or ()))
    pieces = card(target) if instruction is None else entry_card(target, target.instruction(instruction))
    for piece in pieces:
        console.print(piece)


@isa_app.command("check")
def check_command(file: File, settings: Settings = None) -> None:
    """Read a file and say what is wrong with it, or that nothing is."""
    target = isa_files.load(file, read_settings(settings or ()))
    counts = [
        _counted(len(target.memories), "memory", "memories"),
        _counted(len(target.formats), "format", "formats"),
        _counted(len(target.instructions), "instruction", "instructions"),
        _counted(len(target.timings), "timing", "timings"),
    ]
    typer.echo(f"{file}: ok: {target.name} with {', '.join(counts)}")


def _counted(count: int, one: str, several: str) -> str:
    return f"{count} {one if count == 1 else several}"
