"""Operators on this machine's CPU: native kernels compute what the reference computes, at every odd size."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import embed
import isa
from dataflow import LIBRARY, Operator, UserError, conv2d, depthwise_conv2d, evaluate, gemm, infer, infer_all
from dataflow.dtypes import numpy_dtype
from embed.cpu.compile import compile_cpu
from embed.cpu.kernel import CpuKernel
from embed.physical import Physical
from tests.operators import displaced

TYPES = {"avx512": "f32", "avx2": "f32", "avx512_bf16": "bf16", "avx512_vnni": "u8*i8"}
ISAS = [
    pytest.param(name, id=name)
    if not isa.load(name).missing_features()
    else pytest.param(name, marks=pytest.mark.skip(reason=f"this CPU lacks {isa.load(name).missing_features()}"))
    for name in TYPES
    if os.uname().machine == "x86_64"
]
NHWC = {"inp": "NHWC", "out": "NHWC"}
ACTIVATIONS = (None, "NHWC", "NCHW16c", "NCHW8c", "NCHW4c")
WEIGHTS = (None, None, "RSCK", "KCRS16c16k", "KCRS8c8k", "KCRS4c16k4c")
MATRICES = (None, None, "CR", "CR16c", "RC16r", "RC8c")


GUARD = 256


def guarded(physical: Physical) -> tuple[Any, Any]:
    """An array that lies so between guard bytes, and all of its memory."""
    example = physical.empty()
    memory = np.full(example.nbytes + 2 * GUARD, 0xA5, np.uint8)
    flat = memory[GUARD : GUARD + example.nbytes].view(example.dtype)
    return np.lib.stride_tricks.as_strided(flat, example.shape, example.strides), memory


def tensors(operator: Operator, seed: int = 0) -> dict[str, Any]:
    """Small integers, whose sums every type holds exactly."""
    rng = np.random.default_rng(seed)
    found = {}
    for tensor in operator.inputs:
        dtype = numpy_dtype(tensor.dtype)
        found[tensor.name] = rng.integers(0 if dtype == np.uint8 else -4, 5, tensor.shape).astype(dtype)
    return found


def lying(kernel: CpuKernel, given: Mapping[str, Any]) -> dict[str, Any]:
    """The same between guard bytes, lying as the kernel wants them."""
    found = {}
    for name, array in given.items():
        found[name], _ = guarded(kernel.physical[name])
        found[name][...] = kernel.physical[name].pack(array)
    return found


def agrees(operator: Operator, name: str, layouts: Mapping[str, str], threads: int = 1) -> None:
    kernel = compile_cpu(operator, isa.load(name), layouts=layouts, threads=threads)
    given = tensors(operator)
    physical = kernel.physical[operator.output.name]
    out, memory = guarded(physical)
    assert np.array_equal(kernel(**lying(kernel, given), out=out), physical.pack(evaluate(operator, given)))
    assert (memory[:GUARD] == 0xA5).all()
    assert (memory[-GUARD:] == 0xA5).all()


@st.composite
def mixed(draw: st.DrawFn, **choices: tuple[str | None, ...]) -> dict[str, str]:
    """A layout for each tensor, or none."""
    drawn = {name: draw(st.sampled_from(names)) for name, names in choices.items()}
    return {name: layout for name, layout in drawn.items() if layout is not None}


@st.composite
def convolutions(draw: st.DrawFn, dtype: str) -> Operator:
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    sizes = {
        "n": draw(st.integers(1, 2)), "c": groups * draw(st.sampled_from([1, 2, 3, 4, 5, 8, 16, 19])),
        "h": draw(st.integers(1, 13)), "w": draw(st.sampled_from([1, 2, 4, 7, 9, 13])),
        "k": groups * draw(st.sampled_from([1, 3, 7, 16, 17, 33])),
        "r": draw(st.integers(1, 4)), "s": draw(st.integers(1, 4)),
    }  # fmt: skip
    try:
        return conv2d(
            **sizes,
            stride=draw(pair),
            pad=draw(st.integers(0, 2)),
            dilation=draw(st.integers(1, 2)),
            groups=groups,
            dtype=dtype,
        )
    except UserError:
        return conv2d(c=3, h=9, w=7, k=5, r=3, s=3, pad=1, dtype=dtype)


@pytest.mark.parametrize("name", ISAS)
@settings(max_examples=12)
@given(data=st.data(), threads=st.integers(1, 2))
def test_convolutions(name: str, data: st.DataObject, threads: int) -> None:
    operator = data.draw(convolutions(TYPES[name]))
    agrees(operator, name, data.draw(mixed(inp=ACTIVATIONS, wgt=WEIGHTS, out=ACTIVATIONS)), threads)


@pytest.mark.parametrize("name", ISAS)
@settings(max_examples=10)
@given(
    m=st.integers(1, 40),
    n=st.integers(1, 70),
    k=st.integers(1, 40),
    turned=st.tuples(st.booleans(), st.booleans()),
    layouts=mixed(a=MATRICES, b=MATRICES, out=MATRICES),
    threads=st.integers(1, 2),
)
def test_matrix_products(
    name: str, m: int, n: int, k: int, turned: tuple[bool, bool], layouts: dict[str, str], threads: int
) -> None:
    operator = gemm(m=m, n=n, k=k, transpose_a=turned[0], transpose_b=turned[1], dtype=TYPES[name])
    agrees(operator, name, layouts, threads)


@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize("kind", [kind for kind in LIBRARY if "conv" not in kind])
def test_every_product(name: str, kind: str) -> None:
    sizes = {"gemm": (9, 20, 11), "gemv": (37, 19), "batched_gemm": (3, 5, 18, 7)}[kind]
    names = {"gemm": "mnk", "gemv": "mk", "batched_gemm": ("batch", "m", "n", "k")}[kind]
    agrees(LIBRARY[kind](**dict(zip(names, sizes, strict=True)), dtype=TYPES[name]), name, {})


@pytest.mark.parametrize("name", ISAS)
@settings(max_examples=5)
@given(
    c=st.sampled_from([1, 3, 16, 35]),
    multiplier=st.integers(1, 2),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 2),
    layouts=mixed(inp=ACTIVATIONS, wgt=WEIGHTS, out=ACTIVATIONS),
)
def test_depthwise(name: str, c: int, multiplier: int, stride: int, dilation: int, layouts: dict[str, str]) -> None:
    sizes = {"c": c, "h": 9, "w": 7, "r": 3, "s": 3, "multiplier": multiplier, "stride": stride, "dilation": dilation}
    agrees(depthwise_conv2d(**sizes, pad=1, dtype=TYPES[name]), name, layouts)


@pytest.mark.parametrize("name", [p for p in ISAS if p.id != "avx512_vnni"])
@settings(max_examples=20)
@given(data=st.data())
def test_tensors_are_read_and_written_wherever_the_indices_say(name: str, data: st.DataObject) -> None:
    agrees(data.draw(displaced(TYPES[name])), name, {})


@pytest.mark.parametrize("name", [p for p in ISAS if p.id in ("avx512", "avx2")])
def test_the_epilogue_reads_wherever_its_indices_say(name: str) -> None:
    texts = ["acc[i,j] += a[i,k] * b[k,j]", "out[i,j] = max(acc[i,j] + bias[j+3] + res[i+1,20-j] + low[i+2], 0)"]
    agrees(Operator("expr", infer_all(texts, {"i": 7, "j": 18, "k": 3}, "f32")), name, {})


@pytest.mark.parametrize("name", ISAS)
def test_a_bordered_row_of_one_dimension(name: str) -> None:
    dtype = TYPES[name]
    agrees(LIBRARY["gemv"](m=17, k=1, dtype=dtype), name, {})
    agrees(LIBRARY["gemv"](m=3, k=7, dtype=dtype), name, {})


def test_a_kernel_for_sums_that_share_an_element_is_refused() -> None:
    with pytest.raises(UserError, match="one element from several points"):
        embed.compile(
            Operator("expr", (infer("out[i+j] += a[i,k] * b[k,j]", {"i": 7, "j": 5, "k": 3}, "f32"),)), "avx2"
        )


@pytest.mark.parametrize("name", ISAS)
def test_threads_share_the_outermost_loop(name: str) -> None:
    operator = gemm(m=67, n=50, k=24, dtype=TYPES[name])
    alone = compile_cpu(operator, isa.load(name))
    several = compile_cpu(operator, isa.load(name), threads=3)
    given_arrays = lying(alone, tensors(operator))
    assert np.array_equal(several(**given_arrays), alone(**given_arrays))


@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize("layouts", [NHWC, {"inp": "NCHW16c", "wgt": "KCRS16c16k", "out": "NCHW16c"}])
def test_weights_given_once(name: str, layouts: dict[str, str]) -> None:
    operator = conv2d(c=16, h=7, w=7, k=20, r=3, s=3, pad=1, dtype=TYPES[name])
    kernel = compile_cpu(operator, isa.load(name), layouts=layouts, constants=("wgt",))
    weights = tensors(operator)["wgt"]
    kernel.fix(**lying(kernel, {"wgt": weights}))
    out = kernel.physical["out"].empty()
    for seed in (1, 2):
        inp = tensors(operator, seed)["inp"]
        assert kernel(**lying(kernel, {"inp": inp}), out=out) is out
        assert np.array_equal(kernel.physical["out"].unpack(out), evaluate(operator, {"inp": inp, "wgt": weights}))


@pytest.mark.parametrize("name", [p for p in ISAS if p.id in ("avx512", "avx2")])
def test_floats_stay_within_the_error_bound(name: str) -> None:
    operator = gemm(m=13, n=50, k=700, dtype="f32")
    kernel = compile_cpu(operator, isa.load(name))
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(tensor.shape, np.float32) for tensor in operator.inputs)
    unit = 2.0**-24
    gamma = 700 * unit / (1 - 700 * unit)
    exact, size = a.astype(float) @ b.astype(float), np.abs(a).astype(float) @ np.abs(b).astype(float)
    assert (np.abs(kernel(a, b) - exact) <= gamma * size).all()


@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize("fixed", ["a", "b"])
def test_one_number_given_once(name: str, fixed: str) -> None:
    operator = gemm(m=1, n=1, k=1, dtype=TYPES[name])
    kernel = compile_cpu(operator, isa.load(name), constants=(fixed,))
    given = tensors(operator)
    kernel.fix(**{fixed: given[fixed]})
    (other,) = (array for tensor, array in given.items() if tensor != fixed)
    assert np.array_equal(kernel(other), evaluate(operator, given))
