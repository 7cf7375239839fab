"""The commands do what they say, seen from outside: exit codes, files, and numbers against the reference."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from commands import printed

import dataflow
from deepbench.cli import app
from embed.cli.app import run

GEMM = ["gemm", "m=5", "n=6", "k=7"]
KEYS = ["problem", "op", "isa", "parameters", "embedding", "status", "solve_s", "utilisation", "utilisation_fixed"]

pytestmark = pytest.mark.usefixtures("wide")


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed([], capsys)
    assert all(command in text for command in ("deepbench", "embed", "compile", "run", "isa"))
    assert "Exit codes" in text


def test_embed_explains(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["conv2d", "c=3", "h=32", "w=32", "k=32", "r=3", "s=3", "pad=1"]
    text = printed(["embed", *words, "--objective", "invocations", "--json", str(tmp_path / "e.json")], capsys)
    for part in ("out[n,k,y,x] += i32(inp", "filled with", "wgt'[", "invocations", "fixed n, c, k packing", "OPTIMAL"):
        assert part in text
    [line] = (tmp_path / "e.json").read_text().splitlines()
    record = json.loads(line)
    assert all(record[key] not in (None, "") for key in KEYS)
    assert record["utilisation_fixed"] == pytest.approx(3 / 16)
    points = 32 * 32 * 32 * 27
    assert record["utilisation"] == pytest.approx(points / (record["invocations"] * 256))
    assert record["executed"] == "no"


def test_parameters_reach_the_isa(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(["embed", *GEMM, "--set", "block_in=32", "--set", "batch=4"], capsys)
    assert "batch=4 block_in=32 block_out=16" in text


def test_an_isa_may_be_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    import isa

    copy = tmp_path / "mine.toml"
    copy.write_text(isa.load("vta").path.read_text())
    assert "OPTIMAL" in printed(["embed", *GEMM, "--isa", str(copy)], capsys)
    assert printed(["isa", "check", str(copy)], capsys).startswith(f"{copy}: ok: vta with 6 memories")


def test_run_takes_and_gives_npy(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    operator = dataflow.requantise(dataflow.gemm(m=5, n=6, k=7), shift=3, bias=True, relu=True)
    generator = np.random.default_rng(1)
    arrays = {"a": generator.integers(-128, 128, (5, 7), np.int8), "b": generator.integers(-128, 128, (7, 6), np.int8)}
    arrays["bias"] = generator.integers(-1000, 1000, 5, np.int32)
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    given = [part for name in arrays for part in ("--input", f"{name}={tmp_path}/{name}.npy")]
    output = tmp_path / "out.npy"
    text = printed(["run", *GEMM, "--epilogue", "shift=3,bias,relu", *given, "--output", str(output)], capsys)
    assert "equals the reference bit for bit" in text
    np.testing.assert_array_equal(np.load(output), dataflow.evaluate(operator, arrays))


def test_run_of_an_expression(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(["run", "--expr", "out[i,j] += a[i,k]*b[k,j]", "i=5", "j=6", "k=7"], capsys)
    assert "equals the reference" in text


def test_a_bundle_is_compiled_and_run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    assert f"isa-embed run {folder}" in printed(["compile", *GEMM, "--seed", "3", "--out", str(folder)], capsys)
    assert {"program.json", "insns.bin", "expected"} <= {file.name for file in folder.iterdir()}
    text = printed(["run", str(folder), "--output", str(tmp_path / "bundle.npy")], capsys)
    assert "equals expected/out.bin" in text
    printed(["run", *GEMM, "--seed", "3", "--output", str(tmp_path / "direct.npy")], capsys)
    np.testing.assert_array_equal(np.load(tmp_path / "bundle.npy"), np.load(tmp_path / "direct.npy"))


def test_a_bundle_runs_on_other_data(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    printed(["compile", *GEMM, "--out", str(folder)], capsys)
    np.save(tmp_path / "a.npy", np.zeros((5, 7), np.int8))
    printed(["run", str(folder), "--input", f"a={tmp_path}/a.npy", "--output", str(tmp_path / "out.npy")], capsys)
    assert not np.load(tmp_path / "out.npy").any()


def test_a_wrong_expectation_is_a_defect(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    printed(["compile", *GEMM, "--out", str(folder)], capsys)
    expected = folder / "expected" / "out.bin"
    expected.write_bytes(bytes(len(expected.read_bytes())))
    assert run(app, ["run", str(folder)]) == 3
    assert capsys.readouterr().err.endswith("the result differs from expected/out.bin\n")


def test_isa_list_and_show(capsys: pytest.CaptureFixture[str]) -> None:
    assert "vta" in printed(["isa", "list"], capsys)
    text = printed(["isa", "show", "vta", "--set", "block_out=32"], capsys)
    assert re.search(r"block_out +32 +16 ", text)
    for part in ("acc[b,o] += i32(inp[b,i]) * i32(wgt[o,i])", "opcode:3", "load_wgt"):
        assert part in text
