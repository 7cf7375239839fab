"""Operators on this machine's CPU: native kernels compute what the reference computes, at every odd size."""

import os
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import isa
from dataflow import LIBRARY, Operator, UserError, conv2d, depthwise_conv2d, evaluate, gemm
from embed.cpu.compile import compile_cpu
from embed.cpu.kernel import CpuKernel
from embed.cpu.physical import Physical

TYPES = {"avx512": "f32", "avx2": "f32", "avx512_bf16": "bf16", "avx512_vnni": "u8*i8"}
ISAS = [
    pytest.param(name, id=name)
    if not isa.load(name).missing_features()
    else pytest.param(name, marks=pytest.mark.skip(reason=f"this CPU lacks {isa.load(name).missing_features()}"))
    for name in TYPES
    if os.uname().machine == "x86_64"
]
LAYOUTS: tuple[dict[str, str], ...] = ({}, {"inp": "NHWC", "out": "NHWC"})


GUARD = 256


def guarded(physical: Physical) -> tuple[Any, Any]:
    """An array that lies so between guard bytes, and all of its memory."""
    tensor = physical.tensor
    memory = np.full(tensor.bytes + 2 * GUARD, 0xA5, np.uint8)
    flat = memory[GUARD : GUARD + tensor.bytes].view(physical.empty().dtype)
    lying = flat.reshape([tensor.shape[dimension] for dimension in physical.order])
    return lying.transpose(np.argsort(physical.order)), memory


def arrays(kernel: CpuKernel, seed: int = 0) -> dict[str, Any]:
    """Small integers, whose sums every type holds exactly, lying as the kernel wants them."""
    rng = np.random.default_rng(seed)
    found = {}
    for tensor in kernel.embedding.operator.inputs:
        array, _ = guarded(kernel.physical[tensor.name])
        low = 0 if array.dtype == np.uint8 else -4
        array[...] = rng.integers(low, 5, tensor.shape).astype(array.dtype)
        found[tensor.name] = array
    return found


def agrees(operator: Operator, name: str, layouts: dict[str, str]) -> None:
    kernel = compile_cpu(operator, isa.load(name), layouts=layouts)
    given_arrays = arrays(kernel)
    out, memory = guarded(kernel.physical[operator.output.name])
    assert np.array_equal(kernel(**given_arrays, out=out), evaluate(operator, given_arrays))
    assert (memory[:GUARD] == 0xA5).all()
    assert (memory[-GUARD:] == 0xA5).all()


@st.composite
def convolutions(draw: st.DrawFn, dtype: str) -> Operator:
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    sizes = {
        "n": draw(st.integers(1, 2)), "c": groups * draw(st.sampled_from([1, 2, 3, 4, 5, 8])),
        "h": draw(st.integers(1, 13)), "w": draw(st.integers(1, 13)),
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
@settings(max_examples=25)
@given(data=st.data())
def test_convolutions(name: str, data: st.DataObject) -> None:
    operator = data.draw(convolutions(TYPES[name]))
    layouts = data.draw(st.sampled_from(LAYOUTS)) if name in ("avx512", "avx2") else LAYOUTS[1]
    agrees(operator, name, layouts)


@pytest.mark.parametrize("name", ISAS)
@settings(max_examples=25)
@given(m=st.integers(1, 40), n=st.integers(1, 70), k=st.integers(1, 40), turned=st.tuples(st.booleans(), st.booleans()))
def test_matrix_products(name: str, m: int, n: int, k: int, turned: tuple[bool, bool]) -> None:
    operator = gemm(m=m, n=n, k=k, transpose_a=turned[0], transpose_b=turned[1], dtype=TYPES[name])
    agrees(operator, name, {})


@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize("kind", [kind for kind in LIBRARY if "conv" not in kind])
def test_every_product(name: str, kind: str) -> None:
    sizes = {"gemm": (9, 20, 11), "gemv": (37, 19), "batched_gemm": (3, 5, 18, 7)}[kind]
    names = {"gemm": "mnk", "gemv": "mk", "batched_gemm": ("batch", "m", "n", "k")}[kind]
    agrees(LIBRARY[kind](**dict(zip(names, sizes, strict=True)), dtype=TYPES[name]), name, {})


@pytest.mark.parametrize("name", ISAS)
def test_depthwise(name: str) -> None:
    operator = depthwise_conv2d(c=35, h=9, w=8, r=3, s=3, pad=1, stride=2, dtype=TYPES[name])
    agrees(operator, name, LAYOUTS[1])


@pytest.mark.parametrize("name", ISAS)
def test_threads_share_the_outermost_loop(name: str) -> None:
    operator = gemm(m=67, n=50, k=24, dtype=TYPES[name])
    alone = compile_cpu(operator, isa.load(name))
    several = compile_cpu(operator, isa.load(name), threads=3)
    given_arrays = arrays(alone)
    assert np.array_equal(several(**given_arrays), alone(**given_arrays))


@pytest.mark.parametrize("name", ISAS)
def test_weights_given_once(name: str) -> None:
    operator = conv2d(c=16, h=7, w=7, k=20, r=3, s=3, pad=1, dtype=TYPES[name])
    kernel = compile_cpu(operator, isa.load(name), layouts=LAYOUTS[1])
    given_arrays = arrays(kernel)
    kernel.fix(wgt=given_arrays["wgt"])
    out = kernel.physical["out"].empty()
    for seed in (1, 2):
        inp = arrays(kernel, seed)["inp"]
        assert kernel(inp, out=out) is out
        assert np.array_equal(out, evaluate(operator, {"inp": inp, "wgt": given_arrays["wgt"]}))


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
