"""Stores past the caches: for large outputs whose words start at multiples of a line, and the same results."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from epilogues import MISSING, followed
from here import NHWC, arrays

import embed
import isa
from dataflow import conv2d, evaluate, gemm
from dataflow.operator import Operator
from embed.cpu.compile import compile_cpu
from embed.cpu.kernel import CpuKernel
from embed.physical import Array, aligned_zeros

TARGET = isa.load("avx512")
LARGE = gemm(m=800, n=513, k=3, dtype="f32")
RUNS = pytest.mark.skipif(bool(MISSING.get("avx512", True)), reason="this CPU runs no AVX-512 kernels")
COLUMNS = {"a": "CR", "b": "CR", "out": "CR"}


def made(operator: Operator = LARGE, layouts: dict[str, str] = COLUMNS) -> CpuKernel:
    return compile_cpu(operator, TARGET, layouts=layouts)


def shifted(kernel: CpuKernel, by: int) -> Array:
    """An output that starts so many bytes behind a line."""
    rows, columns = kernel.operator.output.shape
    flat = aligned_zeros(rows * columns + by // 4, np.dtype(np.float32))[by // 4 :]
    return flat.reshape(columns, rows).T


@RUNS
@pytest.mark.parametrize("by", [0, 16, 64])
def test_outputs_are_right_wherever_they_start(by: int) -> None:
    kernel = made()
    assert kernel.past
    given, out = arrays(kernel), shifted(kernel, by)
    assert kernel(**given, out=out) is out
    assert np.array_equal(out, evaluate(LARGE, given))
    assert (kernel.function_for(out) is kernel.function_past) == (by % 64 == 0)


@RUNS
def test_a_kernel_that_ran_can_be_pickled() -> None:
    kernel = made()
    given = arrays(kernel)
    expected = kernel(**given)
    assert np.array_equal(pickle.loads(pickle.dumps(kernel))(**given), expected)


@RUNS
def test_epilogues_store_past_the_caches_too() -> None:
    plain = gemm(m=816, n=513, k=3, dtype="f32")
    operator = followed(plain, "max(acc[@] + bias[d0], 0)", "f32", bias=("f32", (816,)))
    kernel = made(operator)
    given = arrays(kernel)
    assert kernel.past
    assert np.array_equal(kernel(**given), evaluate(operator, given))


@RUNS
def test_a_saved_kernel_has_both_codes(tmp_path: Path) -> None:
    kernel = made()
    given = arrays(kernel)
    kernel.save(tmp_path / "k")
    again = embed.load(tmp_path / "k")
    assert isinstance(again, CpuKernel)
    assert (again.code, again.assembled_past.code) == (kernel.code, kernel.assembled_past.code)
    for by in (0, 16):
        assert np.array_equal(again(**given, out=shifted(kernel, by)), evaluate(LARGE, given))


def test_only_the_stores_differ_and_they_are_seen_before_it_returns() -> None:
    kernel = made()
    plain, past = (code.assembly().splitlines() for code in (kernel.assembled, kernel.assembled_past))
    assert "vmovntps" not in kernel.assembly()
    assert any("vmovntps" in line for line in past)
    assert [line.replace("vmovntps", "vmovups") for line in past if "sfence" not in line] == plain
    assert sum("sfence" in line for line in past) == 1


@pytest.mark.parametrize(
    ("operator", "layouts"),
    [
        (gemm(m=800, n=64, k=3, dtype="f32"), COLUMNS),
        (gemm(m=804, n=513, k=3, dtype="f32"), COLUMNS),
        (conv2d(c=2, h=65, w=127, k=71, r=1, s=1, dtype="f32"), NHWC),
        (conv2d(c=2, h=64, w=128, k=64, r=1, s=1, dtype="f32"), {"inp": "NHWC", "out": "NCHW4c"}),
    ],
    ids=["fits a cache", "columns start elsewhere", "pixels start elsewhere", "is packed"],
)
def test_other_outputs_are_stored_as_usual(operator: Operator, layouts: dict[str, str]) -> None:
    assert not made(operator, layouts).past
