"""Dataclasses as groups of options: a field is an option of the command, and the command takes the whole value."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
import typer
from rich.text import Text

from deepbench.cli import app
from embed.cli.app import run
from embed.cli.groups import grouped


@dataclass(frozen=True)
class Ground:
    words: Annotated[list[str] | None, typer.Argument(metavar="WORDS")] = None
    depth: Annotated[int, typer.Option("--how-deep")] = 3


@dataclass(frozen=True)
class Water(Ground):
    warm: Annotated[bool, typer.Option("--warm")] = False


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("--out o", ("o", Water(None, 3, False), 1)),
        ("a b --out o --how-deep 5 --warm --times 2", ("o", Water(["a", "b"], 5, True), 2)),
    ],
)
def test_a_command_takes_its_options_as_one_value(line: str, expected: tuple[str, Water, int]) -> None:
    seen: list[tuple[str, Water, int]] = []
    program = typer.Typer()

    @program.command()
    @grouped
    def swim(water: Water, out: Annotated[str, typer.Option("--out")], times: int = 1) -> int:
        """Into the water."""
        seen.append((out, water, times))
        return 0

    assert run(program, line.split()) == 0
    assert seen == [expected]
    assert swim.__doc__ == "Into the water."


def commands(group: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{path}{name} ")
        else:
            yield f"{path}{name}", command


@pytest.mark.parametrize(("path", "command"), list(commands(typer.main.get_command(app))))
def test_help_shows_brackets(path: str, command: Any) -> None:
    """Square brackets in a help text are markup to rich, and vanish unless a backslash stands before them."""
    for parameter in command.params:
        text = parameter.help or ""
        assert Text.from_markup(text).plain == text.replace("\\[", "["), f"{path} {parameter.name}"
