"""Wrong command lines: for each, `wrong/*.txt` holds the command, the exit code and all that is printed."""

import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import isa
from deepbench.cli import app
from deepbench.problems import SUITES
from embed.cli.app import run

WRONG = Path(__file__).parent / "wrong"
LISTS = {", ".join(isa.names()): "(shipped names)", ", ".join(SUITES): "(suites)"}
"""What stands in the files for lists that grow."""

CASES = sorted(WRONG.glob("*.txt"))


def first_line(case: Path) -> str:
    return case.read_text(encoding="utf-8").partition("\n")[0]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_wrong_command(
    case: Path,
    golden: Callable[[str, Path], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for file in WRONG.glob("*.toml"):
        shutil.copy(file, tmp_path)
    monkeypatch.chdir(tmp_path)
    command = first_line(case)
    prompt, program, *arguments = shlex.split(command)
    assert (prompt, program) == ("$", "isa-embed")
    code = run(app, arguments)
    printed = capsys.readouterr()
    text = printed.out + printed.err
    for names, stand_in in LISTS.items():
        text = text.replace(names, stand_in)
    message = text.splitlines()
    assert code in (1, 2)
    assert message[0].startswith("error: ")
    assert len(message) <= 3, "one line, and at most a source line with its caret"
    golden("\n".join([command, f"exit {code}", *message, ""]), case)
