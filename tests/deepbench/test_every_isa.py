"""DeepBench on files alone: types from patterns, reduced problems, the table of all ISAs and its page."""

import json
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.console import Console

import dataflow
import embed
import isa
from dataflow.errors import UserError
from deepbench.abstract import every_isa
from deepbench.abstract.reduced import reduced
from deepbench.abstract.run import run_abstract
from deepbench.abstract.typed import Typed
from deepbench.cli import app
from deepbench.executor import InThisProcess
from deepbench.journal import NAME
from deepbench.pages import heatmap
from deepbench.problems import Problem, select
from deepbench.suite import Settings, Task
from embed.cli.app import run

FILES = Path(__file__).parent.parent / "isa_files"
EDGE, OUTER, ENGINE = (str(FILES / f"{name}.toml") for name in ("edge_i4", "outer_bf16", "conv_engine"))
PROBLEMS = select(only=["inference_device/gemm/007", "inference_device/conv/inactive-000"])
TYPES = {"vta": "i8", "neon": "f32", "neon_fp16": "f16:f16", "avx512_vnni": "u8*i8", "avx512_bf16": "bf16"}


@pytest.mark.parametrize("name", TYPES)
def test_the_types_of_an_instruction_set(name: str) -> None:
    typed = Typed.of(isa.load(name))
    assert typed.dtype == TYPES[name]
    for problem in PROBLEMS:
        main = typed.operator(problem).main
        build = dataflow.conv2d if problem.op == "conv" else dataflow.gemm
        dtype = "i8*u8" if typed.dtype == "u8*i8" and problem.op == "gemm" else typed.dtype
        wanted = build(**dict(problem.sizes), dtype=dtype).main  # type: ignore[arg-type]
        assert set(main.inputs) == set(wanted.inputs)
        assert main.tensors[0].dtype == wanted.tensors[0].dtype
        assert main.extents == wanted.extents


def test_the_epilogue_stays_where_the_file_can_do_it() -> None:
    assert Typed.of(isa.load("vta")).operator(PROBLEMS[0]).epilogue
    assert not Typed.of(isa.load("neon_i8mm")).operator(PROBLEMS[0]).epilogue


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    if draw(st.booleans()):
        return Problem("x", "x", "gemm", tuple((name, draw(st.integers(1, 500))) for name in "mnk"))
    taps = {name: draw(st.integers(1, 7)) for name in "rs"}
    pad = tuple(draw(st.integers(0, tap)) for tap in taps.values())
    sizes: dict[str, object] = {name: draw(st.integers(1, 70)) for name in "nck"}
    sizes |= {"h": draw(st.integers(7, 60)), "w": draw(st.integers(7, 60)), **taps, "pad": pad}
    return Problem("x", "x", "conv", tuple({**sizes, "stride": (draw(st.integers(1, 3)), 2)}.items()))  # type: ignore[arg-type]


NARROW = {"n": 1, "c": 33, "k": 1, "h": 7, "w": 7, "r": 6, "s": 1, "pad": (2, 0), "stride": (3, 2)}


@given(problems())
@example(Problem("x", "x", "conv", tuple(NARROW.items())))  # type: ignore[arg-type]
@settings(max_examples=30, deadline=None)
def test_a_reduced_problem_has_the_same_embedding(problem: Problem) -> None:
    typed = Typed.of(isa.load("vta"))
    found = embed.best(typed.operator(problem), typed.target).embedding
    smaller = typed.operator(reduced(problem, found))
    again = found.on(smaller)
    embed.checker.verify(again)
    assert again.invocations <= max(found.invocations, 4096)
    for digit in found.digits:
        assert min(found.steps(digit), 2) <= again.steps(digit)


def test_the_table_of_several(tmp_path: Path) -> None:
    asked = [Settings(EDGE), Settings(OUTER), Settings(ENGINE)]
    seen: list[str] = []
    found, wall = every_isa.run_every(PROBLEMS, asked, InThisProcess(), tmp_path, lambda r: seen.append(r.problem))
    assert len(seen) == 6
    assert not (tmp_path / NAME).exists()
    for records in found.values():
        for record in records:
            assert (record.checked, record.error, record.status) == (True, "", "OPTIMAL")
            assert record.bytes == sum(record.traffic.values())
    assert {record.cycles is None for record in found[OUTER]} == {True}
    console = Console(width=200, record=True)
    every_isa.print_every(console, found, wall, ())
    assert "6 cells in" in console.export_text()
    page = heatmap.page(PROBLEMS, found)
    assert page.count('title="dot(') == page.count('title="outer(') == 2


def test_a_problem_that_fails_is_in_the_record(tmp_path: Path) -> None:
    text = Path(EDGE).read_text(encoding="utf-8").replace("i32(act[i,k]) * i32(wgt[j,k])", "i32(act[i,k])")
    text = text.replace(
        'operands.wgt = { in = "wgt", type = "i4[j,k]" }\n\n[[instruction]]\nname    = "clear"',
        '[[instruction]]\nname    = "clear"',
    )
    (tmp_path / "sums.toml").write_text(text, encoding="utf-8")
    record = run_abstract(Task(PROBLEMS[0], Settings(str(tmp_path / "sums.toml"))))
    assert (record.status, record.checked) == ("NONE", None)
    assert "no instruction that sums products of two operands" in record.error


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = ["--json", str(tmp_path / "r.json"), "--out", str(tmp_path / "state"), "--html", str(tmp_path / "h.html")]
    command = ["deepbench", "--isa", f"{EDGE},vta", "--table", "--only", "inactive", "--jobs", "1", *files]
    assert run(app, command) == 0
    assert "DeepBench x ISA" in capsys.readouterr().out
    assert len((tmp_path / "r.json").read_text().splitlines()) == 2
    assert (tmp_path / "h.html").read_text().startswith("<!doctype html>")


def test_the_suite_on_a_file_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = ["--json", str(tmp_path / "r.json"), "--out", str(tmp_path / "state")]
    assert run(app, ["deepbench", "--isa", EDGE, "--only", "inactive", "--jobs", "1", *files]) == 0
    assert "inference_device conv" in capsys.readouterr().out
    [record] = map(json.loads, (tmp_path / "r.json").read_text().splitlines())
    assert set(record["traffic"]) == {"act", "wgt", "sum"}


@pytest.mark.parametrize("file", [EDGE, OUTER, ENGINE])
def test_instructions_never_seen_before_pass_the_check(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(app, ["isa", "check", file]) == 0
    assert "ok" in capsys.readouterr().out


def test_a_window_slides_in_the_suite() -> None:
    """Of a convolution with steps of one all taps and most outputs are in use; no product of matrices slides."""
    problem = next(p for p in select(ops=["conv"]) if dict(p.sizes)["stride"] == (1, 1) and dict(p.sizes)["r"] == 3)
    record = run_abstract(Task(problem, Settings(ENGINE)))
    assert (record.status, record.checked) == ("OPTIMAL", True)
    assert record.utilisation is not None
    assert record.utilisation > 0.8
    [product, _] = [run_abstract(Task(problem, Settings(ENGINE))) for problem in PROBLEMS][::-1]
    assert product.checked
    assert product.utilisation == pytest.approx(1 / 3, abs=0.01)


def test_no_isa_at_all() -> None:
    with pytest.raises(UserError, match="name an instruction set, or all"):
        every_isa.asked_isas(",")
