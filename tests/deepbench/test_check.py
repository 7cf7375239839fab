"""The reference against plain numpy, and that it refuses what is wrong by more than rounding."""

import numpy as np
import pytest

import dataflow
from deepbench.native import check
from deepbench.native.check import reference
from embed.cli.data import random_arrays

GEMM = {"m": 5, "n": 9, "k": 30}
CONV = {"n": 3, "c": 4, "h": 6, "w": 5, "k": 2, "r": 3, "s": 3, "pad": 1}


def gemm(**sizes: int) -> dataflow.Operator:
    return dataflow.gemm(**sizes, dtype="f32")


def conv(**sizes: int) -> dataflow.Operator:
    return dataflow.conv2d(**sizes, dtype="f32")


def integers(**sizes: int) -> dataflow.Operator:
    return dataflow.gemm(**sizes, dtype="i8*u8")


def test_floats_within_the_bound() -> None:
    arrays = random_arrays(gemm(**GEMM), 1)
    found = reference(gemm(**GEMM), gemm, GEMM, arrays, 0)
    right = arrays["a"] @ arrays["b"]
    assert found.executed == "full"
    assert found.holds(right)
    wrong = right.copy()
    wrong[2, 3] += 1e-3
    assert not found.holds(wrong)
    wrong[2, 3] = np.nan
    assert not found.holds(wrong)
    assert not found.holds(right[:, :5].repeat(2, axis=1)[:, :9][:4])


def test_rounded_results_may_differ_by_their_rounding() -> None:
    arrays = random_arrays(gemm(**GEMM), 1)
    found = reference(gemm(**GEMM), gemm, GEMM, arrays, 0)
    near = (arrays["a"] @ arrays["b"]) * (1 + 2.0**-9)
    assert found.holds(near, 2.0**-8)
    assert not found.holds(near)


def test_integers_are_exact() -> None:
    arrays = random_arrays(integers(**GEMM), 1)
    right = arrays["a"].astype(np.int32) @ arrays["b"].astype(np.int32)
    found = reference(integers(**GEMM), integers, GEMM, arrays, 0)
    assert found.holds(right)
    assert not found.holds(right + (np.arange(9) == 8))


def test_requantised_bytes_may_be_off_by_one() -> None:
    arrays = random_arrays(integers(**GEMM), 1)
    sums = arrays["a"].astype(np.int32) @ arrays["b"].astype(np.int32)
    found = reference(integers(**GEMM), integers, GEMM, arrays, 0)
    bytes_ = np.clip(np.rint(sums / 1000.0) + 128, 0, 255).astype(np.uint8)
    assert found.holds_quantised(bytes_, 1000.0, 128)
    assert not found.holds_quantised(bytes_ ^ np.uint8(64), 1000.0, 128)


@pytest.mark.parametrize(("build", "sizes", "axis"), [(gemm, GEMM, 1), (conv, CONV, 0)])
def test_a_sample_of_the_batch(build: check.Builder, sizes: dict[str, int], axis: int) -> None:
    operator = build(**sizes)
    arrays = random_arrays(operator, 1)
    whole = dataflow.evaluate(operator, arrays)
    check_full = check.FULL_MACS
    try:
        check.FULL_MACS = 1
        found = reference(operator, build, sizes, arrays, 0)
    finally:
        check.FULL_MACS = check_full
    assert 0 in found.places
    assert sizes["n"] - 1 in found.places
    assert found.axis == axis
    assert found.holds(whole)
    broken = whole.copy()
    broken[(slice(None),) * axis + (sizes["n"] - 1,)] += 1
    assert not found.holds(broken)


def test_what_was_not_computed_is_not_looked_at() -> None:
    arrays = random_arrays(gemm(**GEMM), 1)
    found = reference(gemm(**GEMM), gemm, GEMM, arrays, 0)
    part = arrays["a"] @ arrays["b"]
    computed = np.ones(part.shape, bool)
    computed[3:] = False
    part[3:] = np.nan
    assert found.holds(part, computed=computed)
    part[2, 8] += 1
    assert not found.holds(part, computed=computed)


def half(m: int, n: int, k: int) -> dataflow.Operator:
    return dataflow.gemm(m=m, n=n, k=k, dtype="f16:f16")


@pytest.mark.parametrize("terms", [1, 30, 2047, 4608])
def test_sums_in_half_precision_are_exact_in_any_order(terms: int) -> None:
    sizes = {"m": 3, "n": 4, "k": terms}
    arrays = check.problem_arrays(half(**sizes), 5)
    found = reference(half(**sizes), half, sizes, arrays, 0)
    forwards, backwards = (
        np.cumsum(arrays["a"][:, order, None] * arrays["b"][None, order], axis=1, dtype=np.float16)[:, -1]
        for order in (np.arange(terms), np.arange(terms)[::-1])
    )
    assert found.holds(forwards)
    assert np.array_equal(forwards, backwards)
    assert not found.holds(forwards + np.float16(1))
    assert len(np.unique(arrays["a"])) > 1
