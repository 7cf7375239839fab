"""Commands for register machines: files that load, link and run; results that are checked."""

import platform
from pathlib import Path

import numpy as np
import pytest
from commands import printed

import dataflow
import embed
import isa
from embed.cli.exits import Defect
from embed.cli.machines import check

CONV = ["conv2d", "c=3", "h=6", "w=7", "k=18", "r=3", "s=3", "pad=1", "--dtype", "f32"]
ON_CPU = ["--isa", "avx2", "--layout", "inp=NHWC", "--layout", "out=NHWC"]
RUNS = platform.machine() == "x86_64" and not isa.load("avx2").missing_features()
NATIVE = pytest.mark.skipif(not RUNS, reason="this CPU lacks AVX2 or FMA")

pytestmark = pytest.mark.usefixtures("wide")


@NATIVE
def test_run_checks_floats_within_the_bound(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    output = tmp_path / "out.npy"
    text = printed(["run", *CONV, *ON_CPU, "--threads", "2", "--seed", "4", "--output", str(output)], capsys)
    for part in ("within the forward error bound", "conv2d n=1 c=3", "vfmadd231ps", "G/s", "threads"):
        assert part in text
    assert np.load(output).shape == (1, 18, 6, 7)


@NATIVE
def test_blocks_are_the_kernels_business(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    blocked = ["--isa", "avx2", "--layout", "inp=NCHW8c", "--layout", "wgt=KCRS8c8k", "--layout", "out=NCHW8c"]
    text = printed(["run", *CONV, *blocked, "--output", str(tmp_path / "out.npy")], capsys)
    assert "within the forward error bound" in text
    assert np.load(tmp_path / "out.npy").shape == (1, 18, 6, 7)


@NATIVE
def test_a_kernel_file_is_compiled_and_run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "new" / "conv2d.kernel"
    assert f"isa-embed run {path}" in printed(["compile", *CONV, *ON_CPU, "--out", str(tmp_path / "new")], capsys)
    printed(["run", str(path), "--seed", "3", "--output", str(tmp_path / "a.npy")], capsys)
    printed(["run", *CONV, *ON_CPU, "--seed", "3", "--output", str(tmp_path / "b.npy")], capsys)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), np.load(tmp_path / "b.npy"))


@NATIVE
def test_a_kernel_file_with_constants(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    weights = np.random.default_rng(0).normal(size=(18, 3, 3, 3)).astype(np.float32)
    np.save(tmp_path / "w.npy", weights)
    np.save(tmp_path / "i.npy", np.ones((1, 3, 6, 7), np.float32))
    printed(["compile", *CONV, *ON_CPU, "--constant", f"wgt={tmp_path}/w.npy", "--out", str(tmp_path)], capsys)
    words = ["run", str(tmp_path / "conv2d.kernel"), "--input", f"inp={tmp_path}/i.npy"]
    assert "not compared: the kernel holds wgt" in printed([*words, "--output", str(tmp_path / "o.npy")], capsys)
    operator = embed.load(tmp_path / "conv2d.kernel").embedding.operator
    expected = dataflow.evaluate(operator, {"inp": np.load(tmp_path / "i.npy"), "wgt": weights})
    np.testing.assert_allclose(np.load(tmp_path / "o.npy"), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("kind", "ending"), [("asm", "s"), ("obj", "o")])
@pytest.mark.parametrize("name", ["avx2", "neon"])
def test_code_for_c(kind: str, ending: str, name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    printed(["compile", *CONV, "--isa", name, "--emit", kind, "--name", "my_conv", "--out", str(tmp_path)], capsys)
    assert {path.name for path in tmp_path.iterdir()} == {"my_conv.h", f"my_conv.{ending}"}
    header = (tmp_path / "my_conv.h").read_text()
    function = "void my_conv(void **tensors, int64_t begin, int64_t end);"
    assert all(part in header for part in ("conv2d n=1 c=3", function, "MY_CONV_TILES", f"For {name};"))


def test_a_wrong_result_is_a_defect() -> None:
    kernel = embed.compile(dataflow.gemm(m=2, n=3, k=4, dtype="f32"), isa.load("avx2"))
    arrays = {"a": np.ones((2, 4), np.float32), "b": np.ones((4, 3), np.float32)}
    right = np.full((2, 3), 4, np.float32)
    assert check(kernel, arrays, right) == "within the forward error bound (at most 0.0% of it)"
    for wrong in (5, np.nan):
        with pytest.raises(Defect, match="times the error bound away"):
            check(kernel, arrays, np.where(right == 4, np.float32(wrong), right))
