"""Lanes of a dot product that no point of the sum fills: what they read is in the array, and adds nothing."""

import ctypes
import mmap
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from here import NHWC
from hypothesis import given, settings
from hypothesis import strategies as st

import isa
from dataflow import Operator, Tensor, UserError, conv2d, evaluate, gemm, parse
from dataflow.dtypes import numpy_dtype
from embed.cpu.arrays.feed import Feed
from embed.cpu.compile import candidates, compile_cpu, kernel_of
from embed.cpu.kernel import CpuKernel
from embed.physical import Physical

BYTES, HALVES = isa.load("avx512_vnni"), isa.load("avx512_bf16")
NATIVE = pytest.mark.skipif(bool(BYTES.missing_features()), reason=f"this CPU lacks {BYTES.missing_features()}")
NATIVE_HALVES = pytest.mark.skipif(bool(HALVES.missing_features()), reason=f"it lacks {HALVES.missing_features()}")
KEPT: list[mmap.mmap] = []


def between_walls(physical: Physical, array: Any) -> Any:
    """The array lying so, its last byte the last of a page behind which nothing can be read."""
    example = physical.pack(array)
    pages = -(-example.nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
    room = mmap.mmap(-1, pages + mmap.PAGESIZE)
    KEPT.append(room)
    memory = np.frombuffer(room, np.uint8)
    wall = ctypes.c_void_p(memory.ctypes.data + pages)
    assert ctypes.CDLL(None).mprotect(wall, ctypes.c_size_t(mmap.PAGESIZE), 0) == 0
    flat = memory[pages - example.nbytes : pages].view(example.dtype)
    found = np.lib.stride_tricks.as_strided(flat, example.shape, example.strides)
    found[...] = example
    return found


def loud(operator: Operator, seed: int = 0) -> dict[str, Any]:
    """Any bytes: what an idle lane multiplies is seldom zero."""
    rng = np.random.default_rng(seed)
    types = {tensor.name: numpy_dtype(tensor.dtype) for tensor in operator.inputs}
    limits = {name: np.iinfo(dtype) for name, dtype in types.items()}  # type: ignore[type-var]
    return {
        tensor.name: rng.integers(limits[tensor.name].min, limits[tensor.name].max, tensor.shape, types[tensor.name])
        for tensor in operator.inputs
    }


def agrees(kernel: CpuKernel, operator: Operator, given: Mapping[str, Any]) -> None:
    lying = {name: between_walls(kernel.physical[name], array) for name, array in given.items()}
    assert np.array_equal(kernel(**lying), kernel.physical["out"].pack(evaluate(operator, given)))


def feed_of(kernel: CpuKernel, tensor: str) -> Feed:
    return next(found.feed for found in kernel.streams.values() if found.tensor == tensor)


@st.composite
def thin(draw: st.DrawFn) -> Operator:
    sizes = {name: draw(st.integers(1, 9)) for name in "hw"} | {name: draw(st.integers(1, 5)) for name in "rs"}
    steps = {"stride": draw(st.integers(1, 3)), "dilation": draw(st.integers(1, 2)), "pad": draw(st.integers(0, 2))}
    try:
        return conv2d(n=draw(st.integers(1, 2)), c=draw(st.integers(1, 6)), k=17, **sizes, **steps, dtype="u8*i8")
    except UserError:
        return conv2d(c=3, h=9, w=7, k=5, r=3, s=3, dtype="u8*i8")


@NATIVE
@settings(max_examples=25)
@given(thin(), st.booleans(), st.integers(0, 3))
def test_every_kernel_stays_inside_its_arrays(operator: Operator, constant: bool, place: int) -> None:
    constants = ("wgt",) if constant else ()
    ranking = candidates(operator, BYTES, layouts=NHWC, constants=constants, thorough=True)
    chosen = ranking.candidates[min(place, len(ranking.candidates) - 1)]
    agrees(kernel_of(operator, chosen, layouts=NHWC), operator, loud(operator))


@NATIVE
@settings(max_examples=15)
@given(st.integers(1, 20), st.integers(1, 40), st.integers(1, 20), st.sampled_from(["RC", "CR"]))
def test_matrix_products_whose_sums_fill_no_group(m: int, k: int, n: int, layout: str) -> None:
    operator = gemm(m=m, k=k, n=n, dtype="i8*u8")
    kernel = compile_cpu(operator, BYTES, layouts=dict.fromkeys(("a", "b", "out"), layout))
    agrees(kernel, operator, loud(operator))


@NATIVE
@pytest.mark.parametrize(("stride", "rest"), [(1, 0), (2, 0), (2, 1)])
def test_a_row_of_taps_and_channels_fills_groups(stride: int, rest: int) -> None:
    operator = conv2d(c=3, h=13, w=13 + rest, k=16, r=7, s=7, stride=stride, dtype="u8*i8")
    ranking = candidates(operator, BYTES, layouts=NHWC, constants=("wgt",), thorough=True)
    found = next(candidate for candidate in ranking.candidates if "q=s.c:4" in str(candidate.embedding))
    kernel = kernel_of(operator, found, layouts=NHWC)
    assert feed_of(kernel, "inp").in_place == bool(rest), (
        "the last of 24 bytes lies behind the array, or in a column left"
    )
    agrees(kernel, operator, loud(operator))


@NATIVE
def test_a_dim_that_only_the_other_input_has_is_no_row() -> None:
    tensors = (Tensor("out", "i32", (4, 16)), Tensor("inp", "u8", (4, 1)), Tensor("wgt", "i8", (16, 8)))
    sizes = {"n": 4, "k": 16, "z": 1, "c": 8}
    sums = parse("out[n,k] += i32(inp[n,z]) * i32(wgt[k,c+z])", sizes, {tensor.name: tensor for tensor in tensors})
    operator = Operator("rows", (sums,))
    agrees(compile_cpu(operator, BYTES), operator, loud(operator))


@NATIVE_HALVES
@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_no_number_stays_in_its_windows(channels: int) -> None:
    operator = conv2d(c=channels, h=9, w=9, k=16, r=3, s=3, dtype="bf16")
    rng = np.random.default_rng(0)
    dtype = numpy_dtype("bf16")
    given = {tensor.name: rng.integers(-4, 5, tensor.shape).astype(dtype) for tensor in operator.inputs}
    given["inp"][0, 0, 4, 4] = np.nan
    kernel = compile_cpu(operator, HALVES, layouts=NHWC, constants=("wgt",))
    out = kernel.fix(wgt=kernel.physical["wgt"].pack(given["wgt"]))(kernel.physical["inp"].pack(given["inp"]))
    assert np.array_equal(np.isnan(out), np.isnan(evaluate(operator, given)))
