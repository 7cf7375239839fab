"""Epilogues for AArch64, run in an emulator: the instructions differ, the lowering does not."""

import pytest
from epilogues import agrees, followed

import isa
from dataflow import Operator, bias_relu, conv2d, depthwise_conv2d, gemm, requantise
from embed.cpu.runner import emulator, qemu

NHWC = {"inp": "NHWC", "out": "NHWC", "res": "NHWC"}
TYPES = {"neon": "f32", "neon_bf16": "bf16", "neon_dotprod": "i8", "neon_i8mm": "i8"}

pytestmark = pytest.mark.skipif(emulator.missing(), reason="unicorn is not installed")


def mains(dtype: str) -> list[Operator]:
    return [
        gemm(m=5, n=13, k=7, dtype=dtype),
        gemm(m=1, n=1, k=3, dtype=dtype),
        conv2d(c=3, h=7, w=6, k=17, r=3, s=2, pad=1, stride=2, dtype=dtype),
        conv2d(c=5, h=4, w=13, k=7, r=1, s=1, dtype=dtype),
        depthwise_conv2d(c=9, h=5, w=6, r=3, s=3, pad=1, dtype=dtype),
    ]


def layouts(operator: Operator) -> dict[str, str]:
    return NHWC if "conv" in operator.name else {}


def runs(name: str) -> None:
    """Skips the test where no emulator here runs the ISA."""
    target = isa.load(name)
    features = {f for entry in target.instructions.values() for f in entry.requires}
    if features & emulator.MISSING and not qemu.available():
        pytest.skip("qemu-aarch64 is not installed, and unicorn lacks " + ", ".join(features & emulator.MISSING))


@pytest.mark.parametrize("name", ["neon", "neon_bf16"])
@pytest.mark.parametrize("case", range(len(mains("f32"))))
def test_floats(name: str, case: int) -> None:
    runs(name)
    operator = mains(TYPES[name])[case]
    dtype = "bf16" if name == "neon_bf16" else None
    agrees(bias_relu(operator, add=True, high=6, dtype=dtype), name, layouts(operator))


@pytest.mark.parametrize("name", ["neon_dotprod", "neon_i8mm"])
@pytest.mark.parametrize("case", range(len(mains("i8"))))
def test_bytes(name: str, case: int) -> None:
    runs(name)
    operator = mains(TYPES[name])[case]
    agrees(requantise(operator, shift=2, bias=True, relu=True), name, layouts(operator))
    agrees(requantise(operator, scale=True, zero=7, dtype="u8"), name, layouts(operator))


def test_floats_to_bytes() -> None:
    operator = conv2d(c=3, h=7, w=6, k=17, r=3, s=2, pad=1, dtype="f32")
    agrees(followed(operator, "i8(min(max(rint(acc[@] * 0.75), -128), 127))", "i8"), "neon", NHWC, constants=("wgt",))
