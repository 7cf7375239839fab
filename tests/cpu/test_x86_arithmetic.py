"""What the docs of x86 entries say beyond their patterns: wrapping, NaNs, denormals, masks from general registers."""

from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest

import isa
from dataflow.computation import Dim
from embed.cpu.assembler.control import AddImmediate, Item, Label, LoadPointer, Loop, Return, SetImmediate
from embed.cpu.assembler.x86 import assemble
from embed.cpu.runner.native import NativeFunction, pointers
from isa import MachineInstruction
from isa.rounding import compute

Array = npt.NDArray[Any]
BF16 = ml_dtypes.bfloat16
AVX512 = isa.load("avx512")


def vector(name: str, **fields: int) -> MachineInstruction:
    return MachineInstruction(name, {key.replace("__", "."): value for key, value in fields.items()})


def three(target: str, name: str, result: Array, left: Array, right: Array) -> Array:
    """result = name(result, left, right) for arrays of whole registers, one register at a time."""
    missing = isa.load(target).missing_features([name, "vmovups_zmm_m512"])
    if missing:
        pytest.skip(f"this CPU lacks {', '.join(missing)}")
    first = next(iter(isa.load(target).instruction(name).operands))
    items: list[Item] = [LoadPointer(3, 0), LoadPointer(4, 0, 8), LoadPointer(5, 0, 16), Label("next")]
    items += [vector("vmovups_zmm_m512", dst=0, src__base=3), vector("vmovups_zmm_m512", dst=1, src__base=4)]
    items += [vector("vmovups_zmm_m512", dst=2, src__base=5), MachineInstruction(name, {first: 0, "a": 1, "b": 2})]
    items += [vector("vmovups_m512_zmm", dst__base=3, src=0)]
    items += [AddImmediate(pointer, pointer, 64) for pointer in (3, 4, 5)]
    out = result.copy()
    function = NativeFunction(assemble([*items, Loop(2, "next"), Return()], isa.load(target)).code)
    function(pointers([out.ctypes.data, left.ctypes.data, right.ctypes.data]), 0, out.nbytes // 64)
    return out


def spread(shape: tuple[int, ...], exponent: int, generator: np.random.Generator) -> Array:
    """Numbers of both signs around a power of two."""
    size = np.exp2(generator.integers(-3, 4, shape) + float(exponent)) * generator.uniform(1, 2, shape)
    return np.asarray(size * generator.choice([-1, 1], shape))


LANES = 1 << 14


def sums(kind: str) -> tuple[Array, Array, Array]:
    """acc, a and b for vdpbf16ps."""
    generator = np.random.default_rng(len(kind))
    if kind == "any bits":
        pairs = generator.integers(0, 1 << 16, (2, LANES, 2), np.uint16).view(BF16)
        return generator.integers(0, 1 << 32, LANES, np.uint32).view(np.float32), pairs[0], pairs[1]
    if kind == "products around the smallest normal":
        acc = spread((LANES,), -126, generator)
        return acc.astype(np.float32), *(spread((LANES, 2), -63, generator).astype(BF16) for _ in range(2))
    if kind == "sums that round to the smallest normal":
        acc = np.full(LANES, 2.0**-126, np.float32)
        return acc, spread((LANES, 2), -75, generator).astype(BF16), spread((LANES, 2), -76, generator).astype(BF16)
    acc = generator.normal(size=LANES).astype(np.float32)
    return acc, *(generator.normal(size=(LANES, 2)).astype(BF16) for _ in range(2))


@pytest.mark.parametrize(
    "kind",
    ["any bits", "ordinary", "products around the smallest normal", "sums that round to the smallest normal"],
)
def test_bf16_dot_products_bit_for_bit(kind: str) -> None:
    """Two fused multiply-adds, the second element first, denormals zero."""
    acc, left, right = sums(kind)
    found = three("avx512_bf16", "vdpbf16ps_zmm_zmm_zmm", acc, left, right)
    entry = isa.load("avx512_bf16").instruction("vdpbf16ps_zmm_zmm_zmm")
    assert entry.pattern is not None
    tensors = tuple(replace(each, shape=(LANES, *each.shape[1:])) for each in entry.pattern.tensors)
    pattern = replace(entry.pattern, dims=(Dim("l", LANES), entry.pattern.dims[1]), tensors=tensors)
    expected = compute(entry, pattern, {"acc": acc, "a": left, "b": right})
    assert ((found.view(np.uint32) == expected.view(np.uint32)) | (np.isnan(found) & np.isnan(expected))).all()


def test_bf16_dot_products_stay_within_the_stated_bound() -> None:
    acc, left, right = sums("ordinary")
    found = three("avx512_bf16", "vdpbf16ps_zmm_zmm_zmm", acc, left, right).astype(np.float64)
    products = left.astype(np.float64) * right.astype(np.float64)
    size = np.abs(acc.astype(np.float64)) + np.abs(products).sum(axis=1)
    assert (np.abs(found - (acc + products.sum(axis=1))) <= 2 * 2.0**-24 * size + 2 * 2.0**-126).all()


def test_byte_dot_products_wrap_only_in_the_accumulator() -> None:
    """vpdpbusd: 65,793 products of 255 * -128 fit an i32, 65,794 do not; four products never saturate on the way."""
    left, right = np.full(64, 255, np.uint8), np.full(64, -128, np.int8)
    product = 255 * -128
    assert 65793 * product >= -(1 << 31)
    assert 65794 * product < -(1 << 31)
    for start in (65788 * product, 65790 * product, -(1 << 31), (1 << 31) - 1):
        acc = np.full(16, start, np.int32)
        expected = np.array(start + 4 * product, np.int64).astype(np.int32)
        assert (three("avx512_vnni", "vpdpbusd_zmm_zmm_zmm", acc, left, right) == expected).all()


def test_word_dot_products_wrap() -> None:
    """vpdpwssd: two products of -32768 * -32768 are already 2**31."""
    words = np.full(32, -32768, np.int16)
    assert (three("avx512_vnni", "vpdpwssd_zmm_zmm_zmm", np.zeros(16, np.int32), words, words) == -(1 << 31)).all()


@pytest.mark.parametrize("name", ["vminps_zmm_zmm_zmm", "vmaxps_zmm_zmm_zmm"])
def test_minimum_and_maximum_of_nan_and_of_zeros_are_the_second(name: str) -> None:
    left = np.resize(np.array([np.nan, 1, 0.0, -0.0], np.float32), 16)
    right = np.resize(np.array([1, np.nan, -0.0, 0.0], np.float32), 16)
    found = three("avx512", name, np.zeros(16, np.float32), left, right)
    assert (found.view(np.uint32) == right.view(np.uint32)).all()


@pytest.mark.parametrize("name", ["vcvtps2dq_zmm_zmm", "vcvttps2dq_zmm_zmm"])
def test_floats_outside_integers_give_the_smallest(name: str) -> None:
    if AVX512.missing_features():
        pytest.skip("this CPU lacks AVX-512")
    data = np.resize(np.array([np.nan, np.inf, -np.inf, 2.0**31, -(2.0**31) - 256, 1e30], np.float32), 16)
    items: list[Item] = [LoadPointer(3, 0), vector("vmovups_zmm_m512", dst=1, src__base=3), vector(name, dst=2, src=1)]
    items += [vector("vmovdqu32_m512_zmm", dst__base=3, src=2), Return()]
    NativeFunction(assemble(items, AVX512).code)(pointers([data.ctypes.data]), 0, 0)
    assert (data.view(np.int32) == -(1 << 31)).all()


def test_a_negative_count_shifts_everything_out() -> None:
    if AVX512.missing_features():
        pytest.skip("this CPU lacks AVX-512")
    data = np.array([[-5, 5] * 8, [-1, -31] * 8], np.int32)
    items: list[Item] = [LoadPointer(3, 0), vector("vmovdqu32_zmm_m512", dst=1, src__base=3)]
    items += [vector("vmovdqu32_zmm_m512", dst=2, src__base=3, src__disp=64)]
    items += [vector("vpsravd_zmm_zmm_zmm", dst=3, src=1, count=2)]
    items += [vector("vmovdqu32_m512_zmm", dst__base=3, src=3), Return()]
    NativeFunction(assemble(items, AVX512).code)(pointers([data.ctypes.data]), 0, 0)
    assert data[0].tolist() == [-1, 0] * 8


@pytest.mark.parametrize(("name", "lanes"), [("kmovw_k_r32", 16), ("kmovd_k_r32", 32), ("kmovq_k_r64", 64)])
def test_masks_from_general_registers(name: str, lanes: int) -> None:
    if AVX512.missing_features():
        pytest.skip("this CPU lacks AVX-512")
    mask, out = 0xA5C3_0FF0_1234_8001, np.zeros(64, np.int8)
    items: list[Item] = [LoadPointer(3, 0), SetImmediate(4, mask), MachineInstruction(name, {"dst": 5, "src": 4})]
    items += [SetImmediate(4, -1), vector("vpbroadcastd_zmm_r32", dst=1, src=4)]
    items += [vector("vmovdqu8_m512_k_zmm", dst__base=3, src=1, k=5), Return()]
    NativeFunction(assemble(items, AVX512).code)(pointers([out.ctypes.data]), 0, 0)
    assert out.tolist() == [-(mask >> lane & 1) if lane < lanes else 0 for lane in range(64)]
