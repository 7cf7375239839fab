"""The commands that need nothing but one operator or one ISA; the suite adds its own."""

from importlib.metadata import version
from typing import Annotated

import typer

from embed.cli.chain import chain_command
from embed.cli.compile import compile_command
from embed.cli.embed import embed_command
from embed.cli.exits import guarded
from embed.cli.inspect import inspect_command
from embed.cli.isa import isa_app
from embed.cli.run import run_command

app = typer.Typer(
    name="isa-embed",
    help="Place the instructions of an ISA in a tensor operator, lower the best placement, run it, check it.",
    epilog="Exit codes: 0 done, 1 no embedding, 2 bad input, 3 a defect of isa-embed, 130 interrupted.",
    invoke_without_command=True,
    add_completion=False,
)
app.command("embed")(embed_command)
app.command("inspect")(inspect_command)
app.command("chain")(chain_command)
app.command("compile")(compile_command)
app.command("run")(run_command)
app.add_typer(isa_app, name="isa")


@app.callback()
def show_help(
    context: typer.Context,
    said: Annotated[bool, typer.Option("--version", help="Print the version and exit.", show_default=False)] = False,
) -> None:
    if said:
        typer.echo(f"isa-embed {version('isa-embed')}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def run(program: typer.Typer, arguments: list[str] | None = None) -> int:
    """Run the program on `arguments` (those of the process if None) and return its exit code."""
    command = typer.main.get_command(program)
    return guarded(lambda: command.main(args=arguments, prog_name="isa-embed", standalone_mode=False))
