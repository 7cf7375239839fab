"""The documents name only commands and options that exist, wherever in a sentence they stand."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from deepbench.cli import app

ROOT = Path(__file__).parent.parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FOREIGN = ("--nthreads", "--update-golden")
"""Options of `dask worker` and of pytest."""


def commands(group: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        yield f"{path}{name}", command
        if hasattr(command, "commands"):
            yield from commands(command, f"{path}{name} ")


COMMANDS = dict(commands(typer.main.get_command(app)))
OPTIONS = {name for command in COMMANDS.values() for parameter in command.params for name in parameter.opts}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_documents_name_what_there_is(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text))
    assert sorted(named - OPTIONS - set(FOREIGN)) == []
    called = re.findall(r"(?:`|\$ |^    )isa-embed ((?:isa )?[a-z]+)(?![\w.-])", text, re.MULTILINE)
    assert sorted({each for each in called if each not in COMMANDS}) == []
