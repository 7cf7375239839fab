"""Every operator of the library against loops written for it alone."""

from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dataflow
from dataflow import Operator, UserError, evaluate, requantise

Array = npt.NDArray[Any]


def filled(operator: Operator, seed: int) -> dict[str, Array]:
    """Random inputs of full scale."""
    rng = np.random.default_rng(seed)
    found = {}
    for tensor in operator.inputs:
        if tensor.dtype in ("i8", "u8", "i16", "i32"):
            low, high = dataflow.dtypes.limits(tensor.dtype)
            found[tensor.name] = rng.integers(low, high, tensor.shape, endpoint=True).astype(
                dataflow.dtypes.numpy_dtype(tensor.dtype)
            )
        else:
            found[tensor.name] = rng.normal(size=tensor.shape).astype(dataflow.dtypes.numpy_dtype(tensor.dtype))
    return found


def convolve(
    inp: Array, wgt: Array, stride: tuple[int, ...], pad: tuple[int, ...], gap: tuple[int, ...], groups: int
) -> Array:
    """Convolution of any rank: pad, then add up one filter tap after the other."""
    rank = inp.ndim - 2
    wide = np.pad(inp.astype(object), [(0, 0), (0, 0), *((p, p) for p in pad)])
    space = [(wide.shape[2 + a] - (wgt.shape[2 + a] - 1) * gap[a] - 1) // stride[a] + 1 for a in range(rank)]
    out = np.zeros((inp.shape[0], wgt.shape[0], *space), object)
    per_in, per_out = inp.shape[1] // groups, wgt.shape[0] // groups
    for k, c, *tap in product(*map(range, wgt.shape)):
        channel = (k // per_out) * per_in + c
        window = tuple(
            slice(t * g, t * g + (size - 1) * step + 1, step)
            for t, g, size, step in zip(tap, gap, space, stride, strict=True)
        )
        out[:, k] += wide[(slice(None), channel, *window)] * int(wgt[(k, c, *tap)])
    return out.astype(np.int64)


@st.composite
def convolutions(draw: st.DrawFn, rank: int) -> tuple[dict[str, Any], tuple[Any, ...]]:
    """Parameters of a library convolution and of `convolve`; each axis has sizes of its own."""
    small = st.integers(1, 3)
    groups = draw(small)
    stride, gap = (tuple(draw(st.tuples(*[small] * rank))) for _ in range(2))
    pad = draw(st.tuples(*[st.integers(0, 2)] * rank))
    taps = draw(st.tuples(*[small] * rank))
    least = [max(1, (t - 1) * g + 1 - 2 * p) for t, g, p in zip(taps, gap, pad, strict=True)]
    space = [low + draw(st.integers(0, 4)) for low in least]
    sizes = dict(zip("dhw"[3 - rank :], space, strict=True)) | dict(zip("trs"[3 - rank :], taps, strict=True))
    channels = {"n": draw(st.integers(1, 2)), "c": groups * draw(small), "k": groups * draw(small)}
    return {**channels, **sizes, "stride": stride, "pad": pad, "dilation": gap, "groups": groups}, (
        stride,
        pad,
        gap,
        groups,
    )


@pytest.mark.parametrize(("make", "rank"), [("conv1d", 1), ("conv2d", 2), ("conv3d", 3)])
@given(data=st.data(), dtype=st.sampled_from(["i8", "u8", "i16"]), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_convolutions(make: str, rank: int, data: st.DataObject, dtype: str, seed: int) -> None:
    parameters, rest = data.draw(convolutions(rank))
    operator = dataflow.LIBRARY[make](**parameters, dtype=dtype)
    arrays = filled(operator, seed)
    expected = convolve(arrays["inp"], arrays["wgt"], *rest)
    assert operator.output.shape == expected.shape
    assert np.array_equal(evaluate(operator, arrays), expected.astype(np.int32))


@given(data=st.data(), multiplier=st.integers(1, 3), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_depthwise(data: st.DataObject, multiplier: int, seed: int) -> None:
    parameters, (stride, pad, gap, _) = data.draw(convolutions(2))
    del parameters["k"], parameters["groups"]
    operator = dataflow.depthwise_conv2d(**parameters, multiplier=multiplier)
    arrays = filled(operator, seed)
    expected = convolve(arrays["inp"], arrays["wgt"], stride, pad, gap, parameters["c"])
    assert np.array_equal(evaluate(operator, arrays), expected)


@given(st.integers(1, 7), st.integers(1, 7), st.integers(1, 9), st.booleans(), st.booleans(), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_gemm(m: int, n: int, k: int, transpose_a: bool, transpose_b: bool, seed: int) -> None:
    operator = dataflow.gemm(m=m, n=n, k=k, transpose_a=transpose_a, transpose_b=transpose_b)
    arrays = filled(operator, seed)
    a, b = (arrays[name].astype(int).tolist() for name in "ab")
    expected = [
        [
            sum((a[p][i] if transpose_a else a[i][p]) * (b[j][p] if transpose_b else b[p][j]) for p in range(k))
            for j in range(n)
        ]
        for i in range(m)
    ]
    assert evaluate(operator, arrays).tolist() == expected


@given(st.integers(1, 7), st.integers(1, 9), st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_gemv(m: int, k: int, seed: int) -> None:
    operator = dataflow.gemv(m=m, k=k)
    arrays = filled(operator, seed)
    a, x = (arrays[name].astype(int).tolist() for name in "ax")
    assert evaluate(operator, arrays).tolist() == [sum(a[i][p] * x[p] for p in range(k)) for i in range(m)]


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4), st.integers(1, 5), st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_batched_gemm(batch: int, m: int, n: int, k: int, seed: int) -> None:
    operator = dataflow.batched_gemm(batch=batch, m=m, n=n, k=k)
    arrays = filled(operator, seed)
    expected = [arrays["a"][i].astype(int) @ arrays["b"][i].astype(int) for i in range(batch)]
    assert np.array_equal(evaluate(operator, arrays), expected)


@pytest.mark.parametrize(("dtype", "tolerance"), [("f32", 1e-5), ("bf16", 1e-6), ("f16", 1e-6)])
def test_floats_are_summed_in_f32(dtype: str, tolerance: float) -> None:
    operator = dataflow.conv2d(n=2, c=5, h=6, w=7, k=3, r=3, s=2, stride=(1, 2), pad=1, dtype=dtype)
    arrays = filled(operator, 1)
    wide = {name: array.astype(np.float64) for name, array in arrays.items()}
    padded = np.pad(wide["inp"], [(0, 0), (0, 0), (1, 1), (1, 1)])
    expected = np.zeros(operator.output.shape)
    for n, k, y, x in np.ndindex(expected.shape):
        expected[n, k, y, x] = (padded[n, :, y : y + 3, 2 * x : 2 * x + 2] * wide["wgt"][k]).sum()
    found = evaluate(operator, arrays)
    assert found.dtype == np.float32
    assert np.allclose(found, expected, rtol=tolerance, atol=tolerance)


@given(
    shift=st.integers(0, 31),
    bias=st.booleans(),
    relu=st.booleans(),
    clip=st.tuples(st.integers(-128, 127), st.integers(-128, 127)),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_the_epilogue(shift: int, bias: bool, relu: bool, clip: tuple[int, int], seed: int) -> None:
    low, high = sorted(clip)
    main = dataflow.conv2d(n=2, c=9, h=5, w=4, k=3, r=2, s=2)
    operator = requantise(main, shift=shift, bias=bias, relu=relu, low=low, high=high)
    arrays = filled(operator, seed)
    sums = evaluate(main, {name: arrays[name] for name in ("inp", "wgt")})
    expected = np.empty(sums.shape, np.int8)
    for place in np.ndindex(sums.shape):
        value = int(sums[place]) + (int(arrays["bias"][place[1]]) if bias else 0)
        value = ((value + 2**31) % 2**32 - 2**31) >> shift
        expected[place] = min(max(value, max(low, 0) if relu else low), high)
    assert operator.output.dtype == "i8"
    assert np.array_equal(evaluate(operator, arrays), expected)


def test_the_bias_of_a_matrix_product_follows_its_rows() -> None:
    operator = requantise(dataflow.gemm(m=2, n=3, k=1), shift=0, bias=True)
    arrays = {"a": np.zeros((2, 1), np.int8), "b": np.zeros((1, 3), np.int8), "bias": np.array([4, 5], np.int32)}
    assert evaluate(operator, arrays).tolist() == [[4, 4, 4], [5, 5, 5]]


@pytest.mark.parametrize(
    ("make", "parameters", "message"),
    [
        ("gemm", {"m": 0, "n": 1, "k": 1}, "m=0: a size is a positive integer"),
        ("gemm", {"m": 2.0, "n": 1, "k": 1}, "m=2.0: a size is a positive integer"),
        ("gemv", {"m": 1, "k": -1}, "k=-1: a size is a positive integer"),
        ("gemm", {"m": 1, "n": 1, "k": 1, "dtype": "i3"}, "dtype=i3: the library has i4"),
        (
            "conv1d",
            {"c": 1, "w": 3, "k": 1, "s": 4},
            "the filter's s=4 (dilation 1) is larger than the padded input's w",
        ),
        ("conv1d", {"c": 1, "w": 3, "k": 1, "s": 1, "stride": 0}, "stride=0: must be an integer of at least 1"),
        ("conv1d", {"c": 1, "w": 3, "k": 1, "s": 1, "pad": -1}, "pad=-1: must be an integer of at least 0"),
        ("conv1d", {"c": 1, "w": 3, "k": 1, "s": 1, "pad": 0.5}, "pad=0.5: must be an integer of at least 0"),
        ("conv1d", {"c": 1, "w": 3, "k": 1, "s": 1, "stride": (1, 1)}, "stride=(1, 1): give one number or 1"),
        ("conv1d", {"c": 3, "w": 3, "k": 4, "s": 1, "groups": 2}, "groups=2 does not divide c=3"),
        ("depthwise_conv2d", {"c": 3, "h": 3, "w": 3, "r": 1, "s": 1, "multiplier": 0}, "multiplier=0"),
    ],
)
def test_impossible_sizes(make: str, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        dataflow.LIBRARY[make](**parameters)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("operator", "title"),
    [
        (dataflow.gemm(m=2, n=3, k=4, transpose_b=True), "gemm m=2 n=3 k=4 transpose_b=1"),
        (
            dataflow.conv2d(c=4, h=8, w=9, k=2, r=3, s=3, stride=(2, 1), pad=1, groups=2),
            "conv2d n=1 c=4 h=8 w=9 k=2 r=3 s=3 stride=2,1 pad=1 groups=2",
        ),
        (
            dataflow.depthwise_conv2d(c=4, h=8, w=9, r=3, s=3, multiplier=2),
            "depthwise_conv2d n=1 c=4 h=8 w=9 r=3 s=3 multiplier=2",
        ),
    ],
)
def test_a_title_names_what_is_not_usual(operator: Operator, title: str) -> None:
    assert operator.title == title
