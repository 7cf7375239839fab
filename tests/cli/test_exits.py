"""Exit codes and messages: what a command raises becomes one line on stderr."""

import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer

from dataflow import UserError
from embed.cli.app import app, run
from embed.cli.exits import Defect, ExitCode, Interrupted, guarded
from embed.errors import NoEmbedding


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    version = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["version"]
    assert run(app, ["--version"]) == 0
    assert capsys.readouterr().out == f"isa-embed {version}\n"


def raising(error: BaseException) -> object:
    raise error


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (UserError("no"), 2, "error: no\n"),
        (NoEmbedding("nothing fits"), 1, "error: nothing fits\n"),
        (Defect("wrong result"), 3, "error: wrong result\n"),
        (Interrupted("3 of 4 done"), 130, "isa-embed: 3 of 4 done\n"),
        (KeyboardInterrupt(), 130, "isa-embed: interrupted\n"),
        (typer.BadParameter("bad"), 2, "error: Invalid value: bad\n"),
        (PermissionError(13, "Permission denied", "out.json"), 2, "error: out.json: Permission denied\n"),
        (MemoryError("Unable to allocate"), 2, "error: this machine has not enough memory: Unable to allocate\n"),
        (
            ZeroDivisionError("division by zero\nand more"),
            3,
            "error: a defect of isa-embed: ZeroDivisionError: division by zero; "
            "please report it with the output of DEBUG=1\n",
        ),
    ],
)
def test_one_line_and_a_code(
    error: BaseException, code: int, said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DEBUG", raising=False)
    monkeypatch.delenv("ISA_EMBED_DEBUG", raising=False)
    assert guarded(lambda: raising(error)) == code
    assert capsys.readouterr() == ("", said)


def test_the_result_is_the_code() -> None:
    assert guarded(lambda: 1) == 1
    assert guarded(lambda: None) == 0


@pytest.mark.parametrize("name", ["DEBUG", "ISA_EMBED_DEBUG"])
def test_debugging_shows_the_traceback_of_defects_only(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "1")
    with pytest.raises(ZeroDivisionError):
        guarded(lambda: raising(ZeroDivisionError()))
    assert guarded(lambda: raising(UserError("no"))) == 2


def test_without_an_output() -> None:
    """Started with standard output closed, as `>&-` does, a command does its work."""
    program = "from deepbench.cli import main; main()"
    line = f"{shlex.quote(sys.executable)} -c {shlex.quote(program)} isa list >&-"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("arguments", [["isa", "list"], ["isa", "schema"]], ids=["a table", "text"])
def test_a_reader_that_goes_away(arguments: list[str]) -> None:
    program = "from deepbench.cli import main; main()"
    command = [sys.executable, "-c", program, *arguments]
    started = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert started.stdout is not None
    assert started.stderr is not None
    started.stdout.close()
    said = started.stderr.read()
    assert (started.wait(), said) == (ExitCode.UNREAD, "")
    started.stderr.close()
