"""Bias, residual, ReLU and narrowing after sums, against numpy."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from dataflow import Operator, UserError, bias_relu, conv2d, depthwise_conv2d, evaluate, gemm, requantise


def arrays(operator: Operator, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    dtypes = {"u8": np.uint8, "i8": np.int8, "i32": np.int32, "f32": np.float32, "bf16": ml_dtypes.bfloat16}
    found = {}
    for tensor in operator.inputs:
        low, high = {"u8": (0, 256), "i8": (-128, 128), "i32": (-9999, 9999)}.get(tensor.dtype, (-9, 10))
        found[tensor.name] = rng.integers(low, high, tensor.shape).astype(dtypes[tensor.dtype])
    return found


def sums(operator: Operator, given: dict[str, Any]) -> Any:
    return evaluate(Operator("sums", (operator.main,)), given)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("add", [False, True])
@pytest.mark.parametrize(("relu", "high"), [(False, None), (True, None), (True, 6)])
def test_floats(bias: bool, add: bool, relu: bool, high: float | None) -> None:
    operator = bias_relu(conv2d(c=3, h=5, w=4, k=6, r=3, s=3, dtype="f32"), bias=bias, add=add, relu=relu, high=high)
    given = arrays(operator)
    wanted = sums(operator, given)
    wanted = wanted + given["bias"][:, None, None] if bias else wanted
    wanted = wanted + given["res"] if add else wanted
    wanted = np.maximum(wanted, 0) if relu else wanted
    assert np.array_equal(evaluate(operator, given), wanted if high is None else np.minimum(wanted, high))


@pytest.mark.parametrize(("channel", "shape"), [(None, (4, 1)), (0, (4, 1)), (1, (1, 7))])
def test_bias_along_rows_or_columns(channel: int | None, shape: tuple[int, int]) -> None:
    operator = bias_relu(gemm(m=4, n=7, k=5, dtype="f32"), relu=False, channel=channel)
    given = arrays(operator)
    assert np.array_equal(evaluate(operator, given), sums(operator, given) + given["bias"].reshape(shape))


def test_half_precision_is_stored_from_sums_in_f32() -> None:
    operator = bias_relu(depthwise_conv2d(c=5, h=6, w=6, r=3, s=3, dtype="bf16"), add=True, dtype="bf16")
    given = arrays(operator)
    wanted = sums(operator, given) + given["bias"][:, None, None] + given["res"].astype(np.float32)
    assert evaluate(operator, given).dtype == ml_dtypes.bfloat16
    assert np.array_equal(evaluate(operator, given), np.maximum(wanted, 0).astype(ml_dtypes.bfloat16))


@pytest.mark.parametrize(("dtype", "zero"), [("i8", 0), ("i8", -3), ("u8", 0), ("u8", 128)])
@pytest.mark.parametrize("relu", [False, True])
def test_scales_of_channels(dtype: str, zero: int, relu: bool) -> None:
    main = conv2d(c=3, h=5, w=4, k=6, r=3, s=3, dtype="u8*i8")
    operator = requantise(main, scale=True, zero=zero, bias=True, relu=relu, dtype=dtype)
    given = arrays(operator) | {"scale": np.float32([0.5, 0.01, 0.003, 0.0005, 0.25, 0.125])}
    scaled = (sums(operator, given) + given["bias"][:, None, None]).astype(np.float32)
    scaled = scaled * given["scale"][:, None, None]
    limits = np.iinfo(dtype.replace("i", "int").replace("u", "uint") if dtype == "i8" else np.uint8)
    low = zero if relu else limits.min
    assert np.array_equal(evaluate(operator, given), np.clip(np.rint(scaled) + zero, low, limits.max))


def test_shift_to_unsigned() -> None:
    operator = requantise(gemm(m=4, n=7, k=50, dtype="u8*i8"), shift=5, dtype="u8")
    given = arrays(operator)
    assert np.array_equal(evaluate(operator, given), np.clip(sums(operator, given) >> 5, 0, 255))


def test_a_residual_meets_the_shifted_sums_before_the_clip() -> None:
    operator = requantise(gemm(m=3, n=4, k=9), shift=4, bias=True, add=True, relu=True, high=90)
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-128, 128, shape).astype(np.int8) for shape in ((3, 9), (9, 4)))
    bias, res = rng.integers(-500, 500, 3, np.int32), rng.integers(-128, 128, (3, 4)).astype(np.int8)
    sums = a.astype(np.int32) @ b.astype(np.int32) + bias[:, None]
    expected = np.clip((sums >> 4) + res, 0, 90).astype(np.int8)
    assert np.array_equal(evaluate(operator, {"a": a, "b": b, "bias": bias, "res": res}), expected)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: bias_relu(requantise(gemm(m=2, n=2, k=2))), "has an epilogue already"),
        (lambda: bias_relu(gemm(m=2, n=2, k=2, dtype="f32"), dtype="i8"), "dtype=i8"),
        (lambda: bias_relu(gemm(m=2, n=2, k=2), high=0.5), "integer limits"),
        (lambda: bias_relu(gemm(m=2, n=2, k=2), channel=2), "dimensions 0 to 1"),
        (lambda: requantise(gemm(m=2, n=2, k=2), zero=3), "goes with scale"),
        (lambda: requantise(gemm(m=2, n=2, k=2), scale=True, add=True), "goes with a shift"),
        (lambda: requantise(gemm(m=2, n=2, k=2), dtype="i16"), "i8 or u8"),
        (lambda: requantise(gemm(m=2, n=2, k=2), dtype="u8", low=-1), "within 0..255"),
    ],
)
def test_wrong_options(make: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()
