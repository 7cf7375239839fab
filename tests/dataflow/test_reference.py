"""The reference interpreter: its fast path, its general path and plain Python agree, to the last bit."""

import math
from fractions import Fraction
from itertools import product
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import dataflow
from dataflow import Computation, Tensor, UserError, evaluate, parse
from dataflow.contraction import is_contraction
from dataflow.dtypes import bits, convert, is_signed, limits, numpy_dtype
from dataflow.expression import Apply, Cast, Const, Expression, Read
from dataflow.reference import _by_points, apply
from dataflow.views import read_view

Array = npt.NDArray[Any]


def wrapped(value: int, dtype: str) -> int:
    value %= 1 << bits(dtype)
    return value - (1 << bits(dtype)) if is_signed(dtype) and value >> (bits(dtype) - 1) else value


def shifted(value: int, amount: int) -> int:
    return value >> min(amount, 99) if amount >= 0 else value << min(-amount, 99)


def saturated(name: str, value: int) -> int:
    low, high = limits(name.removeprefix("sat_"))
    return min(max(value, low), high)


PYTHON: dict[str, Any] = {
    "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b, "min": min, "max": max,
    "neg": lambda a: -a, "fma": lambda a, b, c: a * b + c, "shr": shifted, "shl": lambda a, b: shifted(a, -b),
    **{f"sat_{t}": lambda a, t=t: saturated(t, a) for t in ("i8", "u8", "i16", "u16", "i32")},
}  # fmt: skip


def naive(computation: Computation, arrays: dict[str, Array]) -> Array:
    """Integers only: the index expression point by point in unbounded integers, wrapped where a type says so."""
    target = computation.tensors[0]
    out = np.zeros(target.shape, object)
    names = list(computation.extents)

    def value(node: Expression, place: dict[str, int]) -> tuple[int, str | None]:
        match node:
            case Const(number):
                return int(number), None
            case Read(tensor, index):
                found = tuple(part.evaluate(place) for part in index)
                shape = computation.tensor(tensor).shape
                inside = all(0 <= i < n for i, n in zip(found, shape, strict=True))
                return int(arrays[tensor][found]) if inside else 0, computation.tensor(tensor).dtype
            case Cast(dtype, argument):
                return wrapped(value(argument, place)[0], dtype), dtype
            case Apply(name, arguments):
                values = [value(argument, place) for argument in arguments]
                dtype = next((known for _, known in values if known), None)
                result = PYTHON[name](*(number for number, _ in values))
                return wrapped(result, dtype) if dtype else result, dtype

    for point in product(*(range(dim.extent) for dim in computation.dims)):
        place = dict(zip(names, point, strict=True))
        index = tuple(part.evaluate(place) for part in computation.output.index)
        result = value(computation.body, place)[0]
        out[index] = out[index] + result if computation.accumulate else result
    return np.vectorize(lambda number: wrapped(number, target.dtype), otypes=[object])(out).astype(
        numpy_dtype(target.dtype)
    )


def declared(text: str, extents: dict[str, int], **tensors: tuple[str, tuple[int, ...]]) -> Computation:
    return parse(text, extents, {name: Tensor(name, *what) for name, what in tensors.items()})


def random_integers(computation: Computation, seed: int) -> dict[str, Array]:
    """Random values of each type, its extremes among them."""
    rng = np.random.default_rng(seed)
    found = {}
    for tensor in computation.inputs:
        low, high = limits(tensor.dtype)
        array = rng.integers(
            low, high, tensor.shape, endpoint=True, dtype=np.int64 if is_signed(tensor.dtype) else np.uint64
        )
        extreme = rng.random(tensor.shape) < 0.3
        found[tensor.name] = np.where(
            extreme, rng.choice(np.array([low, high], array.dtype), tensor.shape), array
        ).astype(numpy_dtype(tensor.dtype))
    return found


GENERAL = [
    declared("o[i] = a[i] << b[i]", {"i": 40}, o=("u8", (40,)), a=("u8", (40,)), b=("u8", (40,))),
    declared("o[i] = a[i] >> b[i]", {"i": 40}, o=("i8", (40,)), a=("i8", (40,)), b=("i8", (40,))),
    declared("o[i] = a[i] << b[i]", {"i": 40}, o=("i8", (40,)), a=("i8", (40,)), b=("i8", (40,))),
    declared("o[i] = a[i] >> b[i]", {"i": 40}, o=("u16", (40,)), a=("u16", (40,)), b=("u16", (40,))),
    declared("o[i] = i32(a[i] * a[i] + b[i]) - 7", {"i": 40}, o=("i32", (40,)), a=("i5", (40,)), b=("i5", (40,))),
    declared("o[i] = fma(a[i], b[i], a[i]) >> 1", {"i": 40}, o=("u7", (40,)), a=("u7", (40,)), b=("u7", (40,))),
    declared("o[i] = max(min(-a[i], 3), b[i])", {"i": 40}, o=("i8", (40,)), a=("i8", (40,)), b=("i8", (40,))),
    declared("o += min(a[i], b[j])", {"i": 5, "j": 7}, o=("i16", ()), a=("i16", (5,)), b=("i16", (7,))),
    declared("o += i32(a[i]) * i32(b[i])", {"i": 9}, o=("i32", ()), a=("i8", (9,)), b=("i8", (9,))),
    declared("o[i+j] += i16(a[i]) * i16(b[j])", {"i": 4, "j": 5}, o=("i16", (8,)), a=("i8", (4,)), b=("u8", (5,))),
    declared("o[i] += a[3-2*i+j] + b", {"i": 4, "j": 5}, o=("i32", (4,)), a=("i32", (5,)), b=("i32", ())),
    declared("o[3-i] += i64(a[i,j]) * i64(a[j,i])", {"i": 4, "j": 3}, o=("i64", (4,)), a=("i64", (4, 3))),
    declared("o[i] += i8(a[i,j]) * b[j,i]", {"i": 4, "j": 3}, o=("i8", (4,)), a=("i32", (4, 3)), b=("i8", (3, 4))),
    declared("o[i] += u32(a[i,j]) * u32(b[j-1])", {"i": 4, "j": 3}, o=("u32", (4,)), a=("i8", (4, 3)), b=("i16", (2,))),
    declared(
        "o[i,k] += a[i,j] * b[j,k]", {"i": 3, "j": 5, "k": 2}, o=("i32", (3, 2)), a=("i32", (3, 5)), b=("i32", (5, 2))
    ),
    declared(
        "o[i,k] += a[i,j] * b[j,k]", {"i": 3, "j": 5, "k": 2}, o=("u64", (3, 2)), a=("u64", (3, 5)), b=("u64", (5, 2))
    ),
    declared(
        "o[i,k] += a[i,j] * b[j,k]", {"i": 3, "j": 5, "k": 2}, o=("i5", (3, 2)), a=("i5", (3, 5)), b=("i5", (5, 2))
    ),
    declared(
        "o[i] += a[i+j-2] * b[j+2*r-3]", {"i": 6, "j": 4, "r": 3}, o=("i16", (6,)), a=("i16", (5,)), b=("i16", (4,))
    ),
    *(
        declared(f"o[i] = sat_{to}(a[i])", {"i": 30}, o=(of, (30,)), a=(of, (30,)))
        for to in ("i8", "u8", "i16", "u16", "i32")
        for of in ("i8", "u8", "i32", "u32", "i64")
        if limits(of)[0] <= limits(to)[0] and limits(to)[1] <= limits(of)[1]
    ),
]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("computation", GENERAL, ids=lambda c: f"{c.tensors[0].dtype} {c}")
def test_integers_are_exact(computation: Computation, seed: int) -> None:
    arrays = random_integers(computation, seed)
    assert np.array_equal(evaluate(computation, arrays), naive(computation, arrays))


def by_points(computation: Computation, arrays: dict[str, Array]) -> Array:
    out = np.zeros(computation.tensors[0].shape, np.int64)
    _by_points(computation, arrays, out)
    return convert(out, computation.tensors[0].dtype)


@pytest.mark.parametrize(
    "operator",
    [
        dataflow.gemm(m=7, n=5, k=33, transpose_a=True),
        dataflow.conv2d(n=2, c=6, h=9, w=8, k=4, r=3, s=2, stride=(2, 1), pad=(1, 2), dilation=(1, 3), groups=2),
        dataflow.conv3d(c=3, d=4, h=5, w=6, k=2, t=2, r=3, s=2, stride=(1, 2, 3), pad=(0, 1, 2)),
        dataflow.depthwise_conv2d(c=5, h=6, w=7, r=3, s=3, pad=1, multiplier=2),
        dataflow.batched_gemm(batch=3, m=4, n=5, k=6, dtype="i16"),
        dataflow.gemv(m=3, k=700, dtype="u8"),
    ],
    ids=str,
)
def test_the_fast_path_is_the_general_path(operator: dataflow.Operator) -> None:
    arrays = random_integers(operator.main, 5)
    assert is_contraction(operator.main)
    assert np.array_equal(evaluate(operator, arrays), by_points(operator.main, arrays))


def test_the_general_path_in_slabs(monkeypatch: pytest.MonkeyPatch) -> None:
    conv = dataflow.conv2d(n=1, c=3, h=6, w=5, k=2, r=3, s=2, pad=1).main
    arrays = random_integers(conv, 6)
    whole = by_points(conv, arrays)
    for limit in (1, 7, 50, 300):
        monkeypatch.setattr("dataflow.reference._CHUNK_POINTS", limit)
        assert np.array_equal(by_points(conv, arrays), whole)


def test_the_fast_path_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    conv = dataflow.conv2d(n=2, c=3, h=6, w=5, k=2, r=3, s=2, pad=1).main
    arrays = random_integers(conv, 7)
    whole = evaluate(conv, arrays)
    for limit in (1, 7, 50, 300):
        monkeypatch.setattr("dataflow.contraction._COPY_ELEMENTS", limit)
        assert np.array_equal(evaluate(conv, arrays), whole)


@pytest.mark.parametrize(
    ("dtype", "left", "right"), [("i8", -128, -128), ("i8", -128, 127), ("u8", 255, 255), ("i16", -32768, -32768)]
)
@pytest.mark.parametrize("k", [3000, 3001])
def test_long_sums_of_extremes_are_exact(dtype: str, left: int, right: int, k: int) -> None:
    operator = dataflow.gemm(m=2, n=3, k=k, dtype=dtype)
    stored = numpy_dtype(dtype)
    found = evaluate(operator, {"a": np.full((2, k), left, stored), "b": np.full((k, 3), right, stored)})
    assert found.tolist() == [[wrapped(left * right * k, "i32")] * 3] * 2


def test_a_long_sum_whose_odd_part_f32_would_lose() -> None:
    k = 3000
    a = np.full((1, k), -128, np.int8)
    b = np.full((k, 1), -128, np.int8)
    a[0, ::7], b[3::11, 0] = 127, 1
    found = evaluate(dataflow.gemm(m=1, n=1, k=k), {"a": a, "b": b})
    assert found.tolist() == [[sum(int(x) * int(y) for x, y in zip(a[0], b[:, 0], strict=True))]]


def test_an_accumulator_continues() -> None:
    operator = dataflow.gemv(m=2, k=2)
    arrays = {"a": np.eye(2, dtype=np.int8), "x": np.array([3, 4], np.int8), "out": np.array([2**31 - 1, 10], np.int32)}
    assert evaluate(operator, arrays).tolist() == [-(2**31) + 2, 14]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": np.zeros((2, 3), np.int8)}, "input 'x' is missing; it is i8[3]"),
        ({"a": np.zeros((3, 2), np.int8), "x": np.zeros(3, np.int8)}, "input 'a' has shape [3, 2], not [2, 3]"),
        ({"a": np.zeros((2, 3), np.int8), "x": np.zeros(3)}, "input 'x' has dtype float64, not int8"),
    ],
)
def test_wrong_arrays(arrays: dict[str, Array], message: str) -> None:
    with pytest.raises(UserError) as caught:
        evaluate(dataflow.gemv(m=2, k=3), arrays)
    assert str(caught.value) == message


def test_casts_that_lose_something_are_not_left_out() -> None:
    narrowed = declared(
        "o[i] += i32(a[i,k]) * i32(b[k])", {"i": 1, "k": 1}, o=("i32", (1,)), a=("f32", (1, 1)), b=("f32", (1,))
    )
    assert evaluate(narrowed, {"a": np.float32([[1.9]]), "b": np.float32([2.9])}).tolist() == [2]
    rounded = declared(
        "o[i] += f32(bf16(a[i,k])) * b[k]", {"i": 1, "k": 1}, o=("f32", (1,)), a=("f32", (1, 1)), b=("f32", (1,))
    )
    assert evaluate(rounded, {"a": np.float32([[1.001]]), "b": np.float32([1])}).tolist() == [1.0]


# Floats: one rounding, against exact fractions.

FLOATS = {"f16": (10, -14, 15), "bf16": (7, -126, 127), "f32": (23, -126, 127), "f64": (52, -1022, 1023)}


def rounded(exact: Fraction, dtype: str) -> float:
    """Nearest even float of `dtype`; beyond its largest number an infinity."""
    fraction, least, most = FLOATS[dtype]
    if exact == 0:
        return 0.0
    exponent = max(least, exact.numerator.bit_length() - exact.denominator.bit_length() - 1)
    while abs(exact) >= Fraction(2) ** (exponent + 1):
        exponent += 1
    step = Fraction(2) ** (exponent - fraction)
    result = round(exact / step) * step
    if abs(result) >= Fraction(2) ** (most + 1):
        return float("inf") if result > 0 else float("-inf")
    return float(result)


def floats_of(dtype: str) -> st.SearchStrategy[float]:
    """Numbers of the type, many of them close to ties with one another's products."""
    fraction, least, most = FLOATS[dtype]
    near = st.builds(
        lambda sign, mantissa, exponent: sign * mantissa * 2.0 ** (exponent - fraction),
        st.sampled_from([-1, 1]),
        st.one_of(
            st.integers(0, 2 ** (fraction + 1) - 1),
            st.sampled_from([2**fraction, 2**fraction + 1, 2 ** (fraction + 1) - 1]),
        ),
        st.one_of(
            st.integers(-3, 3), st.integers(-fraction - 2, fraction + 2), st.integers(max(least, -60), min(most, 60))
        ),
    )
    return near.map(lambda value: rounded(Fraction(value), dtype)).filter(np.isfinite)


@pytest.mark.parametrize("dtype", FLOATS)
@given(data=st.data())
@settings(max_examples=250, deadline=None)
def test_fma_rounds_once(dtype: str, data: st.DataObject) -> None:
    a, b, c = (data.draw(floats_of(dtype)) for _ in range(3))
    if data.draw(st.booleans()):
        c = rounded(-Fraction(a) * Fraction(b), dtype)
    arrays = [np.array([value]).astype(numpy_dtype(dtype)) for value in (a, b, c)]
    assume(np.isfinite(c))
    found = apply("fma", arrays)
    assert found.dtype == numpy_dtype(dtype)
    assert float(found[0]) == rounded(Fraction(a) * Fraction(b) + Fraction(c), dtype)


def test_fma_of_what_is_not_finite() -> None:
    inf, nan, big = float("inf"), float("nan"), 1e308
    left, right, addend = (
        np.array([inf, inf, nan, big, -big]),
        np.array([2.0, 0, 1, 10, 10]),
        np.array([1.0, 1, 1, 0, 0]),
    )
    found = apply("fma", [left, right, addend])
    assert np.array_equal(found, [inf, nan, nan, inf, -inf], equal_nan=True)
    single = apply(
        "fma", [v.astype(np.float32) for v in (np.array([inf, 3e38]), np.array([1.0, 10]), np.array([-inf, 0]))]
    )
    assert np.array_equal(single, [nan, inf], equal_nan=True)


@pytest.mark.parametrize("dtype", ["f16", "bf16", "f32"])
@given(data=st.data())
@settings(max_examples=250, deadline=None)
def test_conversion_to_a_float_rounds_once(dtype: str, data: st.DataObject) -> None:
    value = data.draw(st.one_of(floats_of("f64"), floats_of(dtype)))
    tie = rounded(Fraction(value), dtype) * (1 + 2.0 ** -(FLOATS[dtype][0] + 1))
    for number in (value, tie, math.nextafter(tie, math.inf), math.nextafter(tie, -math.inf)):
        if math.isfinite(number):
            assert float(convert(np.array([number]), dtype)[0]) == rounded(Fraction(number), dtype)


@given(st.integers(-(2**31), 2**31 - 1))
def test_integers_become_bf16_with_one_rounding(value: int) -> None:
    assert float(convert(np.array([value], np.int32), "bf16")[0]) == rounded(Fraction(value), "bf16")


def test_bf16_products_are_summed_in_f32_and_rounded_to_bf16_where_the_body_says() -> None:
    near = ml_dtypes.bfloat16(1 + 2**-7)
    arrays = {"a": np.full((1, 2), near), "b": np.full(2, near)}
    wide = declared(
        "o[i] += f32(a[i,k]) * f32(b[k])", {"i": 1, "k": 2}, o=("f32", (1,)), a=("bf16", (1, 2)), b=("bf16", (2,))
    )
    narrow = declared("o[i] += a[i,k] * b[k]", {"i": 1, "k": 2}, o=("bf16", (1,)), a=("bf16", (1, 2)), b=("bf16", (2,)))
    assert evaluate(wide, arrays).tolist() == [2 * (1 + 2**-7) ** 2]
    assert evaluate(narrow, arrays).astype(float).tolist() == [2 * (1 + 2**-6)]


@given(st.integers(1, 64), st.booleans(), st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=5))
def test_conversion_to_integers_wraps(width: int, signed: bool, values: list[int]) -> None:
    dtype = f"{'i' if signed else 'u'}{width}"
    found = convert(np.array(values, np.int64), dtype)
    assert found.dtype == numpy_dtype(dtype)
    assert [int(value) for value in found] == [wrapped(value, dtype) for value in values]


indices = st.builds(
    lambda terms, constant: dataflow.affine.Affine.of(terms, constant),
    st.lists(st.tuples(st.sampled_from("ijk"), st.integers(-3, 3)), max_size=3),
    st.integers(-4, 6),
)


@given(
    st.lists(indices, min_size=1, max_size=3), st.tuples(*[st.integers(1, 4)] * 3), st.tuples(*[st.integers(1, 5)] * 3)
)
@settings(max_examples=150, deadline=None)
def test_a_view_is_what_is_read(index: list[Any], sizes: tuple[int, ...], shape: tuple[int, ...]) -> None:
    extents = dict(zip("ijk", sizes, strict=True))
    array = np.arange(1, 1 + int(np.prod(shape[: len(index)]))).reshape(shape[: len(index)])
    view = np.broadcast_to(read_view(Read("t", tuple(index)), array, extents, "ijk"), sizes)
    for point in np.ndindex(*sizes):
        place = tuple(part.evaluate(dict(zip("ijk", point, strict=True))) for part in index)
        inside = all(0 <= i < n for i, n in zip(place, array.shape, strict=True))
        assert view[point] == (array[place] if inside else 0)


def test_a_part_of_the_box() -> None:
    conv = dataflow.conv1d(c=2, w=9, k=3, s=3, stride=2, pad=1).main
    arrays = random_integers(conv, 8)
    part = conv.restricted({"x": range(1, 4), "k": range(2, 3)})
    assert np.array_equal(evaluate(part, arrays), evaluate(conv, arrays)[:, 2:3, 1:4])
