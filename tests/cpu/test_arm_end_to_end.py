"""The same kernels for AArch64, run in an emulator: one lowering serves both kinds of machine."""

from typing import Any

import numpy as np
import pytest

import isa
from dataflow import Operator, batched_gemm, conv2d, depthwise_conv2d, evaluate, gemm, gemv
from embed.cpu import emulator, qemu
from embed.cpu.compile import compile_cpu
from embed.cpu.kernel import CpuKernel

NHWC = {"inp": "NHWC", "out": "NHWC"}
TYPES = {"neon": "f32", "neon_dotprod": "i8", "neon_i8mm": "i8", "neon_bf16": "bf16"}

pytestmark = pytest.mark.skipif(emulator.missing(), reason="unicorn is not installed")


def operators(dtype: str) -> list[tuple[Operator, dict[str, str]]]:
    return [
        (gemm(m=9, n=20, k=16, dtype=dtype), {}),
        (gemm(m=5, n=13, k=7, dtype=dtype), {}),
        (gemm(m=1, n=1, k=1, dtype=dtype), {}),
        (gemv(m=18, k=9, dtype=dtype), {}),
        (batched_gemm(batch=2, m=3, n=6, k=5, dtype=dtype), {}),
        (conv2d(c=8, h=6, w=5, k=12, r=3, s=3, pad=1, dtype=dtype), NHWC),
        (conv2d(c=3, h=7, w=6, k=5, r=3, s=2, pad=1, stride=2, dtype=dtype), NHWC),
        (conv2d(c=64, h=7, w=14, k=8, r=3, s=3, pad=1, dtype=dtype), NHWC),
        (depthwise_conv2d(c=9, h=5, w=6, r=3, s=3, pad=1, dtype=dtype), NHWC),
        (gemm(m=21, n=11, k=37, dtype=dtype), {"a": "CR", "b": "CR", "out": "CR"}),
        (gemm(m=6, n=9, k=6, dtype=dtype, transpose_a=True, transpose_b=True), {}),
        (conv2d(c=5, h=7, w=9, k=7, r=3, s=3, pad=1, dilation=2, dtype=dtype), {}),
        (conv2d(c=6, h=5, w=5, k=10, r=1, s=1, groups=2, dtype=dtype), NHWC),
    ]


def arrays(kernel: CpuKernel) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    found = {}
    for tensor in kernel.embedding.operator.inputs:
        array = kernel.physical[tensor.name].empty()
        array[...] = rng.integers(-4, 5, tensor.shape).astype(array.dtype)
        found[tensor.name] = array
    return found


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("case", range(len(operators("i8"))))
def test_kernels(name: str, case: int) -> None:
    operator, layouts = operators(TYPES[name])[case]
    target = isa.load(name)
    kernel = compile_cpu(operator, target, layouts=layouts)
    features = set(target.instructions[kernel.embedding.name].requires)
    if features & emulator.MISSING and not qemu.available():
        pytest.skip("qemu-aarch64 is not installed, and unicorn lacks " + ", ".join(features & emulator.MISSING))
    given = arrays(kernel)
    assert np.array_equal(kernel(**given), evaluate(operator, given))
