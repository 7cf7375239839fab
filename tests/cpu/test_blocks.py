"""Blocked tensors as tensors of more dimensions: what the operator becomes, and what stays as it is."""

import numpy as np
import pytest
from here import NATIVE, TARGET
from hypothesis import given
from hypothesis import strategies as st

import isa
from dataflow import Operator, conv2d, depthwise_conv2d, evaluate, gemm
from dataflow.dtypes import numpy_dtype
from embed.cpu.arrays.blocks import in_blocks
from embed.cpu.compile import compile_cpu
from embed.physical import Physical

BLOCKED = {"inp": "NCHW16c", "wgt": "KCRS16c16k", "out": "NCHW16c"}
F32 = {"dtype": "f32"}


def over_arrays(operator: Operator, layouts: dict[str, str], width: int = 8) -> tuple[Operator, dict[str, Physical]]:
    tensors = (*operator.inputs, operator.output)
    physical = {tensor.name: Physical.of(tensor, layouts.get(tensor.name)) for tensor in tensors}
    found, lies = in_blocks(operator, physical, {width})
    return found, physical | lies


@pytest.mark.parametrize(
    ("operator", "layouts", "text"),
    [
        (
            conv2d(c=64, h=7, w=7, k=35, r=3, s=3, pad=1, **F32),
            BLOCKED,
            "out[n,k_o,y,x,k_i] += inp[n,c_o,y+r-1,x+s-1,c_i] * wgt[k_o,c_o,r,s,c_i,k_i]",
        ),
        (
            conv2d(c=3, h=7, w=7, k=5, r=1, s=1, **F32),
            {"inp": "NCHW4c"},
            "out[n,k,y,x] += inp[n,0,y+r,x+s,c] * wgt[k,c,r,s]",
        ),
        (
            conv2d(c=8, h=4, w=4, k=32, r=1, s=1, **F32),
            {"wgt": "KCRS4c16k4c"},
            "out[n,16*k_o+k_i,y,x] += inp[n,4*c_o+c_i,y+r,x+s] * wgt[k_o,0,r,s,c_o,k_i,c_i]",
        ),
        (
            conv2d(c=64, h=7, w=7, k=64, r=1, s=1, groups=2, **F32),
            BLOCKED,
            "out[n,2*g+k_o,y,x,k_i] += inp[n,2*g+c_o,y+r,x+s,c_i] * wgt[2*g+k_o,c_o,r,s,c_i,k_i]",
        ),
        (
            conv2d(c=32, h=7, w=7, k=32, r=1, s=1, groups=8, **F32),
            {"inp": "NCHW16c", "out": "NCHW16c"},
            "out[n,g_o,y,x,4*g_i+k] += inp[n,g_o,y+r,x+s,4*g_i+c] * wgt[16*g_o+4*g_i+k,c,r,s]",
        ),
        (
            gemm(m=5, n=64, k=7, **F32),
            {"b": "CR16c", "out": "RC16c"},
            "out[m,n_o,n_i] += a[m,k] * b[n_o,k,n_i]",
        ),
    ],
)
def test_the_operator_over_the_arrays(operator: Operator, layouts: dict[str, str], text: str) -> None:
    assert str(over_arrays(operator, layouts)[0].main) == text


@pytest.mark.parametrize(
    ("operator", "layouts", "why"),
    [
        (conv2d(c=10, h=4, w=4, k=32, r=1, s=1, groups=2, **F32), {"inp": "NCHW8c"}, "a group of 5 straddles blocks"),
        (conv2d(c=4, h=4, w=4, k=32, r=1, s=1, **F32), {"out": "NCHW4c"}, "8 lanes do not fit in a block"),
        (conv2d(c=4, h=8, w=8, k=32, r=3, s=3, **F32), {"inp": "NCHW4w"}, "a window straddles blocks"),
        (gemm(m=5, n=37, k=7, **F32), {"b": "CR16c"}, "the output has no room for the last block"),
    ],
)
def test_what_is_copied_instead(operator: Operator, layouts: dict[str, str], why: str) -> None:
    assert over_arrays(operator, layouts)[0] == operator, why


LAYOUTS = st.sampled_from(["NCHW", "NCHW4c", "NCHW8c", "NCHW16c", "NHWC2c", "NCHW2c4c"])
CHANNELS = st.sampled_from([1, 3, 8, 16, 20])


@given(CHANNELS, CHANNELS, st.integers(1, 3), LAYOUTS, LAYOUTS, st.booleans())
def test_it_computes_the_packed_result(c: int, k: int, groups: int, inp: str, out: str, depthwise: bool) -> None:
    sizes = {"c": c * groups, "h": 3, "w": 4, "r": 2, "s": 2, "pad": 1, "dtype": "i8"}
    operator = depthwise_conv2d(**sizes) if depthwise else conv2d(**sizes, k=k * groups, groups=groups)
    user = {
        t.name: Physical.of(t, name) for t, name in zip((operator.inputs[0], operator.output), (inp, out), strict=True)
    }
    over, lies = in_blocks(operator, user, {2})
    rng = np.random.default_rng(0)
    arrays = {t.name: rng.integers(-9, 9, t.shape).astype(numpy_dtype(t.dtype)) for t in operator.inputs}
    packed = {name: user[name].pack(array) if name in lies else array for name, array in arrays.items()}
    expected = evaluate(operator, arrays)
    assert np.array_equal(evaluate(over, packed), user["out"].pack(expected) if "out" in lies else expected)


@NATIVE
def test_whole_blocks_are_read_and_written_in_place() -> None:
    operator = conv2d(c=32, h=5, w=5, k=20, r=1, s=1, **F32)
    kernel = compile_cpu(operator, TARGET, layouts={"inp": "NCHW16c", "out": "NCHW16c"}, constants=("wgt",))
    places = {found.tensor: found.feed.in_place for found in kernel.streams.values()}
    assert places == {"out": True, "inp": True, "wgt": False}


def test_an_embedding_of_the_operator_is_kept() -> None:
    operator = conv2d(c=32, h=5, w=5, k=32, r=1, s=1, **F32)
    first = compile_cpu(operator, isa.load("avx2"))
    assert (
        compile_cpu(operator, isa.load("avx2"), layouts=BLOCKED, embedding=first.embedding).embedding is first.embedding
    )
    blocked = compile_cpu(operator, isa.load("avx2"), layouts=BLOCKED)
    again = compile_cpu(operator, isa.load("avx2"), layouts=BLOCKED, embedding=blocked.embedding)
    assert again.code == blocked.code
