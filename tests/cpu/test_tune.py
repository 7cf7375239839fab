"""Tuning picks from the model's candidates, stays right, and is done once."""

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import pytest
from here import NATIVE, TARGET, arrays

import embed
import isa
from dataflow import UserError, evaluate, gemm
from embed.cli.app import app, run
from embed.cpu.compile import candidates
from embed.cpu.kernel import CpuKernel
from embed.cpu.measuring import tune

GEMM = gemm(m=24, n=48, k=16, dtype="f32")


@NATIVE
def test_the_fastest_of_the_candidates_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times that are made up: the third is fastest, and the last as fast."""
    seen: list[str] = []

    def timer(kernels: Sequence[CpuKernel], constants: Collection[str]) -> list[float]:
        seen.extend(f"{kernel.embedding} {kernel.schedule}" for kernel in kernels)
        assert constants == ("a",)
        return [3.0, 2.0, 1.0, 1.0]

    monkeypatch.setattr(tune, "seconds_of", timer)
    fixed = np.ones((24, 16), np.float32)
    kernel = embed.compile(GEMM, TARGET, constants={"a": fixed}, tune=4)
    assert isinstance(kernel, CpuKernel)
    ranked = candidates(GEMM, TARGET, constants=("a",), thorough=True).candidates
    assert seen == [str(candidate) for candidate in ranked[:4]]
    assert f"{kernel.embedding} {kernel.schedule}" == seen[2]
    other = np.ones((16, 48), np.float32)
    assert np.array_equal(kernel(other), fixed @ other)


@NATIVE
def test_tuned_kernels_are_right_and_timed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = embed.Cache(tmp_path)
    kernel = embed.compile(GEMM, TARGET, cache=store, tune=3)
    assert isinstance(kernel, CpuKernel)
    given = arrays(kernel)
    assert np.array_equal(kernel(**given), evaluate(GEMM, given))
    monkeypatch.setattr(tune, "seconds_of", lambda *_: pytest.fail("it was timed again"))
    again = embed.compile(GEMM, TARGET, cache=store, tune=3)
    assert isinstance(again, CpuKernel)
    assert again.code == kernel.code
    assert not again.constants
    embed.compile(GEMM, TARGET, cache=store)
    assert len(list(tmp_path.iterdir())) == 2


def test_what_cannot_be_tuned_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match="tune: -1 is not an integer of at least 0"):
        embed.compile(GEMM, TARGET, tune=-1)
    foreign = next(name for name in ("neon", "avx2") if not tune.machine_of(isa.load(name)).native)
    with pytest.raises(UserError, match=f"tune: kernels for {foreign} do not run on this machine"):
        embed.compile(GEMM, isa.load(foreign), tune=2)
    with pytest.raises(UserError, match="tune: vta is no register machine"):
        embed.compile(gemm(m=4, n=16, k=16), isa.load("vta"), tune=2)
    assert run(app, ["run", "gemm", "m=4", "n=4", "k=4", "--tune", "-2"]) == 2
    assert "--tune: -2 is negative; it is 0 or more" in capsys.readouterr().err


@NATIVE
def test_the_command_tunes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    words = ["run", "gemm", "m=24", "n=48", "k=16", "--dtype", "f32", "--isa", TARGET.name, "--tune", "2"]
    assert run(app, words) == 0
    assert len(list((tmp_path / "isa-embed").iterdir())) == 1


@NATIVE
def test_the_command_says_what_a_time_limit_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", "gemm", "m=24", "n=48", "k=16", "--dtype", "f32", "--isa", TARGET.name, "--time-limit", "1e-9"]
    assert run(app, words) == 1
    assert "the time limit of 1e-09 s ended the search" in capsys.readouterr().err
