"""Operators that are no contraction, from the command line and from Python."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import printed

import dataflow
import embed
import isa
from deepbench.cli import app
from embed.cli.app import run
from embed.cli.data import random_arrays

COMPLEX = "c[i,j,0] += a[i,k,0]*b[k,j,0]-a[i,k,1]*b[k,j,1]; c[i,j,1] += a[i,k,0]*b[k,j,1]+a[i,k,1]*b[k,j,0]"
WORDS = ["--expr", COMPLEX, "i=9", "j=5", "k=7", "--dtype", "i8", "--isa", "sve2"]
PAIRS = dataflow.Operator(
    "pairs",
    dataflow.infer_all(["y[i,j] = i32(a[i,0])*i32(b[0,j]) + i32(a[i,1])*i32(b[1,j])"], {"i": 5, "j": 20}, "i16"),
)

pytestmark = pytest.mark.usefixtures("wide")


def test_embed_explains_a_plan(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(["embed", *WORDS], capsys)
    for part in ("cdot_s_0(", "cdot_s_90(", "addends=k:2", "c[i,j,0] -= i32(a[i,k,1])", "a[l,3] = a[", "isa-embed run"):
        assert part in text
    assert "OPTIMAL" in text


def test_all_lists_the_placements(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(["embed", *WORDS, "--all", "--limit", "5"], capsys)
    assert re.search(r"(\d+) placements \(complete\), 5 shown", text)


def test_pareto_keeps_what_nothing_beats(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Of placements that do the same addends; found again by comparing each with each."""

    def rows(*more: str) -> list[dict[str, Any]]:
        printed(["embed", *WORDS, *more, "--limit", "999", "--json", str(tmp_path / "rows.json")], capsys)
        lines = (tmp_path / "rows.json").read_text().splitlines()
        return [json.loads(line)["steps"][0] for line in lines]

    def numbers(row: dict[str, Any]) -> tuple[float, ...]:
        return row["modelled_cycles"], row["modelled_bytes"], -row["utilisation"], row["strides"]

    def beaten(row: dict[str, Any], others: list[dict[str, Any]]) -> bool:
        same = [other for other in others if does(other) == does(row)]
        return any(
            all(a <= b for a, b in zip(numbers(other), numbers(row), strict=True)) and numbers(other) != numbers(row)
            for other in same
        )

    every = rows("--all")
    expected = {(numbers(row), does(row)) for row in every if not beaten(row, every)}
    front = rows("--pareto")
    assert {(numbers(row), does(row)) for row in front} == expected
    assert len(front) == len(expected)


def does(row: dict[str, Any]) -> frozenset[str]:
    return frozenset(each["does"] for each in row["addends"])


def test_show_explains_one_placement(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    listed = printed(["embed", *WORDS, "--all", "--limit", "7"], capsys)
    text = printed(["embed", *WORDS, "--show", "7", "--json", str(tmp_path / "one.json")], capsys)
    [row] = [line for line in listed.splitlines() if line.strip().startswith("7 ")]
    placement = json.loads((tmp_path / "one.json").read_text())["steps"][0]["placement"]
    assert placement in row
    assert placement in text
    assert "in the plan" in text
    assert run(app, ["embed", *WORDS, "--show", "9999"]) == 2
    assert "--show: there is no placement 9999; the list has 272" in capsys.readouterr().err


def test_the_record_of_a_plan(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    printed(["embed", *WORDS, "--json", str(tmp_path / "plan.json")], capsys)
    record = json.loads((tmp_path / "plan.json").read_text())
    assert [step["instruction"] for step in record["steps"]] == ["cdot_s_0", "cdot_s_90"]
    assert record["status"] == "OPTIMAL"
    assert record["modelled_bytes"] == sum(step["modelled_bytes"] for step in record["steps"])
    assert record["steps"][0]["layouts"]["acc"]["holds"] == {"acc[l]": "c[i,j,0]"}


def test_the_models_are_written(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    printed(["embed", *WORDS, "--dump-model", str(tmp_path / "m.txt")], capsys)
    assert {"m.txt", "m-cdot_s_0-2.txt", "m-cdot_s_90-4.txt"} <= {file.name for file in tmp_path.iterdir()}
    assert "exactly_one" in (tmp_path / "m.txt").read_text()


def test_the_objective_counts(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    found = {}
    for objective in ("cycles", "bytes"):
        printed(["embed", *WORDS, "--objective", objective, "--json", str(tmp_path / "plan.json")], capsys)
        found[objective] = json.loads((tmp_path / "plan.json").read_text())
    assert found["bytes"]["modelled_bytes"] < found["cycles"]["modelled_bytes"]
    assert found["bytes"]["modelled_cycles"] > found["cycles"]["modelled_cycles"]


@pytest.mark.parametrize(
    "option", [["--first"], ["--dominated"], ["--demand", "full=l"], ["--layout", "a=ABC"], ["--relax", "all"]]
)
def test_options_of_single_instructions_are_refused(option: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(app, ["embed", *WORDS, *option]) == 2
    assert f"{option[0]}: expr i=9 j=5 k=7 takes a plan of several instructions" in capsys.readouterr().err


def test_run_checks_a_plan(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    text = printed(["run", *WORDS, "--output", str(tmp_path / "c.npy")], capsys)
    assert "equals the reference bit for bit" in text
    assert np.load(tmp_path / "c.npy").shape == (9, 5, 2)


def test_every_output_is_checked(capsys: pytest.CaptureFixture[str]) -> None:
    planes = "re[i] += ar[i,k]*br[k]-ai[i,k]*bi[k]; im[i] += ar[i,k]*bi[k]+ai[i,k]*br[k]"
    text = printed(["run", "--expr", planes, "i=9", "k=7", "--dtype", "i16:i16", "--isa", "sve2"], capsys)
    assert "cmla_h_0(" in text
    assert "equals the reference bit for bit" in text


def test_set_reaches_the_lanes(capsys: pytest.CaptureFixture[str]) -> None:
    assert re.search(r"l=[ij.]+:2 ", printed(["embed", *WORDS, "--set", "vl=64"], capsys))


def test_options_of_other_machines_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(app, ["run", *WORDS, "--threads", "2"]) == 2
    assert "--threads has no meaning for sve2" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "dtype"), [("avx2", "i16"), ("c66x", "i16:i16")])
def test_there_is_no_code_of_a_plan(name: str, dtype: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pairs = "c[i] = i32(a[i,0])*i32(b[i,0]) + i32(a[i,1])*i32(b[i,1])"
    text = pairs if name == "avx2" else "c[i] = a[i] + b[i]"
    assert run(app, ["compile", "--expr", text, "i=8", "--dtype", dtype, "--isa", name, "--out", str(tmp_path)]) == 2
    assert "isa-embed run executes it" in capsys.readouterr().err


def test_no_plan_is_exit_code_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(app, ["embed", "gemm", "m=4", "n=4", "k=4", "--dtype", "i16", "--isa", "c66x"]) == 1
    assert "cmpy: the operator has nothing like its addend 2" in capsys.readouterr().err


def test_compile_falls_back_to_a_plan() -> None:
    kernel = embed.compile(PAIRS, isa.load("avx2"))
    assert isinstance(kernel, embed.PlanKernel)
    arrays = random_arrays(PAIRS, 0)
    assert np.array_equal(kernel(**arrays), dataflow.evaluate(PAIRS, arrays))
    assert str(embed.plan(PAIRS, isa.load("avx2"))) == str(kernel.plan)
    with pytest.raises(dataflow.UserError, match="there is no code to save"):
        kernel.save("pairs.kernel")
    with pytest.raises(dataflow.UserError, match="the inputs are a, b"):
        kernel(c=arrays["a"])


def test_compile_says_why_not() -> None:
    with pytest.raises(embed.NoEmbedding):
        embed.compile(dataflow.gemm(m=4, n=4, k=4, dtype="f32"), isa.load("c66x"))
