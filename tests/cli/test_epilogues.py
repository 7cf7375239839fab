"""Epilogues on the command line: what follows the sums as options or as further statements, against numpy."""

import platform
from pathlib import Path

import numpy as np
import pytest

import isa
from dataflow import UserError, bias_relu, gemm, requantise
from deepbench.cli import app
from embed.cli.app import run
from embed.cli.operators import add_epilogue, read_expression

NATIVE = pytest.mark.skipif(
    platform.machine() != "x86_64" or bool(isa.load("avx2").missing_features()), reason="this CPU has no AVX2"
)


@pytest.mark.parametrize(
    ("text", "dtype", "wanted"),
    [
        ("bias,relu,high=6", "f32", lambda main: bias_relu(main, high=6)),
        ("add,relu", "f32", lambda main: bias_relu(main, bias=False, add=True)),
        ("bias,channel=1", "f32", lambda main: bias_relu(main, relu=False, channel=1)),
        ("bias,relu,dtype=bf16", "bf16", lambda main: bias_relu(main, dtype="bf16")),
        ("bias,relu,dtype=i32", "i8", lambda main: bias_relu(main, dtype="i32")),
        ("shift=3,bias,dtype=u8", "u8*i8", lambda main: requantise(main, shift=3, bias=True, dtype="u8")),
        ("scale,zero=9,relu", "i8", lambda main: requantise(main, scale=True, zero=9, relu=True)),
    ],
)
def test_options(text: str, dtype: str, wanted: object) -> None:
    main = gemm(m=4, n=5, k=6, dtype=dtype)
    assert add_epilogue(main, text) == wanted(main)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("text", "dtype", "message"),
    [
        (
            "tanh",
            "f32",
            "--epilogue has no 'tanh'; it takes shift=N, scale, zero=N, bias, add, relu",
        ),
        ("shift=3", "f32", "shift narrows sums in i32; others take bias, add, relu, high=N, dtype=TYPE, channel=N"),
        ("relu=2", "f32", "relu=2 must be 0 or 1"),
    ],
)
def test_wrong_options(text: str, dtype: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        add_epilogue(gemm(m=4, n=5, k=6, dtype=dtype), text)


def test_further_statements() -> None:
    text = "acc[i,j] += a[i,k]*b[k,j]; mid[i,j] = acc[i,j] * scale[j]; out[i,j] = max(mid[i,j], 0)"
    operator = read_expression(text, ["i=4", "j=5", "k=6"], "f32")
    assert [(tensor.name, tensor.dtype, tensor.shape) for tensor in operator.inputs] == [
        ("a", "f32", (4, 6)), ("b", "f32", (6, 5)), ("scale", "f32", (5,))
    ]  # fmt: skip
    assert operator.output.shape == (4, 5)


@NATIVE
def test_run_takes_the_epilogues_operands(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    shapes = {"a": (5, 7), "b": (7, 19), "bias": (19,)}
    arrays = {name: rng.integers(-4, 5, shape).astype(np.float32) for name, shape in shapes.items()}
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    words = ["--expr", "acc[i,j] += a[i,k]*b[k,j]; out[i,j] = max(acc[i,j] + bias[j], 0)", "i=5", "j=19", "k=7"]
    given = [part for name in arrays for part in ("--input", f"{name}={tmp_path}/{name}.npy")]
    output = tmp_path / "out.npy"
    assert run(app, ["run", *words, "--dtype", "f32", "--isa", "avx2", *given, "--output", str(output)]) == 0
    capsys.readouterr()
    wanted = np.maximum(arrays["a"] @ arrays["b"] + arrays["bias"], 0)
    assert np.array_equal(np.load(output), wanted)


@NATIVE
def test_compile_emits_them(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["gemm", "m=5", "n=19", "k=7", "dtype=f32", "--isa", "avx2", "--epilogue", "add,relu"]
    assert run(app, ["compile", *words, "--emit", "obj", "--out", str(tmp_path)]) == 0
    capsys.readouterr()
    assert "res" in (tmp_path / "gemm.h").read_text()
    assert run(app, ["embed", *words]) == 0
    assert "vfmadd231ps" in capsys.readouterr().out
