"""Writing an ISA file: a first text that checks and runs, the schema, the gates, the card of one instruction."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import isa
from dataflow.computation import Computation
from deepbench.cli import app
from embed.cli.app import run
from isa.model import Instruction
from isa.rounding import compute

Golden = Callable[[str, Path], None]
CARDS = Path(__file__).parent / "cards"
SHIPPED = Path(isa.__file__).parent
FILES = Path(__file__).parents[1] / "isa" / "files"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run(app, list(arguments)) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def test_a_first_file_stands_every_gate_and_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, "isa", "new", "mine") == "mine.toml: written; next: isa-embed isa check mine.toml\n"
    assert "mine.toml: ok: mine with 4 memories" in printed(capsys, "isa", "check", "mine.toml")
    assert printed(capsys, "isa", "test", "mine.toml").endswith("mine.toml: ok: mine stands every gate\n")
    assert "NAME" not in (folder / "mine.toml").read_text()
    for size in ("rows=8", "columns=2", "depth=16"):
        assert printed(capsys, "isa", "test", "mine.toml", "--set", size)
    out = printed(capsys, "run", "gemm", "m=9", "n=10", "k=11", "--isa", "mine.toml", "--set", "depth=4")
    assert "equals the reference bit for bit" in out


@pytest.mark.parametrize("start", ["gemmini", "avx_vnni", "rvv"])
def test_a_file_may_start_as_a_copy(start: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed(capsys, "isa", "new", "copy", "--from", start, "--out", "here.toml")
    made, base = isa.load(folder / "here.toml"), isa.load(start)
    assert made.name == "copy"
    assert (made.instructions, made.memories, made.timings) == (base.instructions, base.memories, base.timings)


def test_the_schema_is_printed_or_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = json.loads(printed(capsys, "isa", "schema"))
    assert "#:schema ./isa.json" in printed(capsys, "isa", "schema", "--out", "isa.json")
    assert json.loads((folder / "isa.json").read_text()) == shown


def off_by_one(entry: Instruction, pattern: Computation, arrays: dict[str, Any]) -> Any:
    return compute(entry, pattern, arrays) + (1 if pattern.accumulate else 0)


@pytest.mark.parametrize(
    ("what", "wrong", "file", "failure"),
    [
        ("isa.interpreter.compute", off_by_one, SHIPPED / "edge.toml", "mma: mma"),
        ("isa.encoding.Field.read", lambda field, bits: 0, FILES / "toy.toml", "mac: mac"),
    ],
)
def test_a_gate_that_fails_is_an_error(
    what: str,
    wrong: object,
    file: Path,
    failure: str,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An interpreter or a decoder that is wrong shows in the gates of a good file."""
    (folder / "some.toml").write_text(file.read_text())
    monkeypatch.setattr(what, wrong)
    assert run(app, ["isa", "test", "some.toml"]) == 2
    out = capsys.readouterr()
    assert f"  {failure}" in out.out
    assert "FAILED" in out.out
    assert "error: some.toml: " in out.err


@pytest.mark.parametrize(
    ("name", "entry"),
    [("vta", "gemm"), ("edge", "mma"), ("rvv", "flw"), ("amx", "tileloadd"), ("avx512", "vmovups_zmm_kz_m512")],
)
def test_the_card_of_an_instruction(
    name: str, entry: str, golden: Golden, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    text = printed(capsys, "isa", "show", name, entry)
    golden("\n".join(line.rstrip() for line in text.splitlines()) + "\n", CARDS / f"{name}_{entry}.txt")
