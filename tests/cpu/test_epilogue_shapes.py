"""Epilogues of any shape, layout and type on this machine's CPU; threads, constants and files with their operands."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from epilogues import agrees, arrays, followed, on
from hypothesis import given, settings
from hypothesis import strategies as st

import embed
import isa
from dataflow import (
    Operator,
    UserError,
    bias_relu,
    conv2d,
    depthwise_conv2d,
    evaluate,
    gemm,
    requantise,
)
from dataflow.accuracy import bounded
from embed.cpu.cache import Cache, key_of
from embed.cpu.compile import compile_cpu

FLOATS, BYTES = ("avx512", "avx2", "avx512_bf16"), ("avx512_vnni",)
TYPES = {"avx512_bf16": "bf16", "avx512_vnni": "u8*i8"}
NHWC = {"inp": "NHWC", "out": "NHWC", "res": "NHWC"}


@st.composite
def operators(draw: st.DrawFn, dtype: str) -> Operator:
    """Odd shapes: one channel, one column, strides, depthwise."""
    kind = draw(st.sampled_from(["conv", "conv", "depthwise", "gemm"]))
    side = {"h": draw(st.sampled_from([1, 4, 7])), "w": draw(st.sampled_from([1, 7, 13]))}
    c, k = draw(st.sampled_from([1, 3, 5, 8])), draw(st.sampled_from([1, 7, 16, 17]))
    if kind == "gemm":
        return gemm(m=draw(st.integers(1, 20)), n=draw(st.integers(1, 40)), k=c, dtype=dtype)
    size = {"r": 3, "s": 3, "pad": 1, "stride": draw(st.integers(1, 3)), "dtype": dtype}
    if kind == "depthwise":
        return depthwise_conv2d(c=k, **side, **size)
    return conv2d(c=c, k=k, **side, **size)


def layouts_of(operator: Operator, name: str, nhwc: bool) -> dict[str, str]:
    return NHWC if "conv" in operator.name and (nhwc or name not in ("avx512", "avx2")) else {}


@pytest.mark.parametrize("name", on(*FLOATS))
@settings(max_examples=12)
@given(data=st.data(), bias=st.booleans(), add=st.booleans(), relu=st.booleans(), nhwc=st.booleans())
def test_floats(name: str, data: st.DataObject, bias: bool, add: bool, relu: bool, nhwc: bool) -> None:
    main = data.draw(operators(TYPES.get(name, "f32")))
    dtype = data.draw(st.sampled_from(["f32", "bf16"])) if name == "avx512_bf16" else "f32"
    operator = bias_relu(main, bias=bias, add=add, relu=relu, high=data.draw(st.sampled_from([None, 6])), dtype=dtype)
    agrees(operator, name, layouts_of(operator, name, nhwc))


@pytest.mark.parametrize("name", on(*BYTES))
@settings(max_examples=12)
@given(data=st.data(), bias=st.booleans(), relu=st.booleans(), scale=st.booleans(), dtype=st.sampled_from(["i8", "u8"]))
def test_bytes(name: str, data: st.DataObject, bias: bool, relu: bool, scale: bool, dtype: str) -> None:
    zero = data.draw(st.sampled_from([0, 3, 100])) if scale else 0
    main = data.draw(operators(TYPES[name]))
    operator = requantise(
        main, shift=data.draw(st.integers(0, 9)), bias=bias, relu=relu, scale=scale, zero=zero, dtype=dtype
    )
    agrees(operator, name, layouts_of(operator, name, True))


@pytest.mark.parametrize("name", on("avx512", "avx2"))
@settings(max_examples=8)
@given(data=st.data(), dtype=st.sampled_from(["i8", "u8"]))
def test_floats_to_bytes(name: str, data: st.DataObject, dtype: str) -> None:
    low, high = {"i8": (-128, 127), "u8": (0, 255)}[dtype]
    main = data.draw(operators("f32"))
    operator = followed(main, f"{dtype}(min(max(rint(acc[@] * 0.75), {low}), {high}))", dtype)
    agrees(operator, name, layouts_of(operator, name, data.draw(st.booleans())))


@pytest.mark.parametrize("name", on("avx512", "avx2"))
def test_random_floats_stay_within_the_error_bound(name: str) -> None:
    operator = bias_relu(gemm(m=13, n=50, k=300, dtype="f32"), add=True, high=6)
    kernel = compile_cpu(operator, isa.load(name))
    rng = np.random.default_rng(0)
    given_arrays = {tensor.name: rng.standard_normal(tensor.shape, np.float32) for tensor in operator.inputs}
    exact, error = bounded(operator, given_arrays)
    assert (np.abs(kernel(**given_arrays) - exact) <= error).all()


@pytest.mark.parametrize("name", on("avx512", "avx2"))
@pytest.mark.parametrize("constants", [(), ("wgt", "bias"), ("bias", "res")])
def test_threads_and_constants(name: str, constants: tuple[str, ...]) -> None:
    operator = bias_relu(conv2d(c=6, h=9, w=13, k=37, r=3, s=3, pad=1, dtype="f32"), add=True)
    agrees(operator, name, NHWC, threads=3, constants=constants)
    agrees(operator, name, {}, threads=2, constants=constants)
    agrees(operator, name, {"inp": "NCHW8c", "out": "NCHW16c", "res": "NCHW8c"}, constants=constants)


@pytest.mark.parametrize("name", on("avx512", "avx2"))
def test_files_and_the_cache(name: str, tmp_path: Path) -> None:
    operator = bias_relu(conv2d(c=3, h=7, w=9, k=18, r=3, s=3, pad=1, dtype="f32"), add=True)
    kernel = embed.compile(operator, isa.load(name), layouts=NHWC)
    given_arrays = {tensor: kernel.physical[tensor].pack(array) for tensor, array in arrays(operator).items()}
    kernel.fix(wgt=given_arrays.pop("wgt"), bias=given_arrays.pop("bias"))
    kernel.save(tmp_path / "kernel")
    wanted = kernel(**given_arrays)
    assert np.array_equal(embed.load(tmp_path / "kernel")(**given_arrays), wanted)
    cache = Cache(tmp_path / "cache")
    for _ in range(2):
        found = embed.compile(operator, isa.load(name), cache=cache)
        assert np.array_equal(found(**arrays(operator)), evaluate(operator, arrays(operator)))


def test_keys_differ_by_epilogue() -> None:
    main = gemm(m=4, n=5, k=6, dtype="f32")
    options: Any = {"layouts": {}, "threads": 1, "constants": (), "embedding": None}
    keys = {key_of(each, isa.load("avx2"), **options) for each in (main, bias_relu(main), bias_relu(main, relu=False))}
    assert len(keys) == 3


@pytest.mark.parametrize("name", on("avx2"))
def test_what_an_isa_lacks_is_named(name: str) -> None:
    operator = followed(gemm(m=4, n=8, k=4, dtype="f32"), "f16(acc[@])", "f16")
    with pytest.raises(embed.NoEmbedding, match=r"avx2 has no instructions for 'f16\(acc\[m,n\]\)' in the epilogue"):
        compile_cpu(operator, isa.load(name))


@pytest.mark.parametrize("name", on("avx2"))
def test_a_tensor_read_in_two_ways(name: str) -> None:
    operator = gemm(m=4, n=4, k=4, dtype="f32")
    with pytest.raises(UserError, match="'a' is read in two ways"):
        compile_cpu(followed(operator, "acc[@] + a[@]", "f32", a=("f32", (4, 4))), isa.load(name))
