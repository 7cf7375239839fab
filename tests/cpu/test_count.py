"""Counting without running gives what the emulator counts."""

from collections import Counter
from typing import Any

import pytest
from iced_x86 import Decoder

import isa
from dataflow import Operator, conv2d, gemm
from embed.cpu.compile import compile_cpu
from embed.cpu.kernel import CpuKernel
from embed.cpu.measuring.count import count
from embed.cpu.runner import emulator
from tests.cpu.here import NHWC, arrays

OPERATORS: dict[str, tuple[Operator, dict[str, str]]] = {
    "gemm": (gemm(m=23, n=40, k=37, dtype="f32"), {}),
    "one": (gemm(m=1, n=1, k=1, dtype="f32"), {}),
    "conv": (conv2d(c=7, h=9, w=11, k=21, r=3, s=3, pad=1, dtype="f32"), NHWC),
    "pointwise": (conv2d(c=70, h=4, w=33, k=36, r=1, s=1, dtype="f32"), NHWC),
}


def executed(kernel: CpuKernel, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """What the emulator counts, by name of the word's instruction."""
    counted: Counter[str] = Counter()
    run = emulator.run

    def counting(*given: Any) -> Counter[str]:
        counted.update(found := run(*given))
        return found

    monkeypatch.setattr(emulator, "run", counting)
    kernel(**arrays(kernel))
    return counted


@pytest.mark.skipif(emulator.missing(), reason="unicorn is not installed")
@pytest.mark.parametrize("case", OPERATORS)
def test_counts_are_the_emulators(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    operator, layouts = OPERATORS[case]
    kernel = compile_cpu(operator, isa.load("neon"), layouts=layouts)
    found, real = count(kernel), executed(kernel, monkeypatch)
    assert found.instructions == real.total()
    assert found.multiply_accumulates == sum(real[name] for name in real if name.startswith("fmla"))
    assert found.loads == sum(
        real[name] for name in real if name.startswith("ld") and name in kernel.target.instructions
    )


def test_hot_loops_are_the_innermost() -> None:
    kernel = compile_cpu(conv2d(c=64, h=8, w=8, k=64, r=3, s=3, pad=1, dtype="f32"), isa.load("neon"), layouts=NHWC)
    found = count(kernel)
    assert 0 < found.hot_multiply_accumulates <= found.multiply_accumulates
    assert 0 < found.hot_loads <= found.loads
    assert found.hot_share > found.multiply_accumulates / found.instructions
    stores = sum(times for name, times in found.hot.items() if name.startswith("st"))
    assert not stores


def test_x86_instructions_belong_to_items() -> None:
    kernel = compile_cpu(gemm(m=96, n=96, k=96, dtype="f32"), isa.load("avx512"))
    assert sum(kernel.sizes) == sum(1 for _ in Decoder(64, kernel.code))
    found = count(kernel)
    assert found.multiply_accumulates == 96 * 96 * 96 // 16
    assert found.hot_instructions < found.instructions


@pytest.mark.parametrize(("name", "dtype"), [("neon", "f32"), ("neon_fp16", "f16:f16"), ("neon_dotprod", "i8")])
def test_hot_loops_multiply(name: str, dtype: str) -> None:
    """DeepBench's inference_device: a 3x3 and a strided 1x1 convolution, a matrix product with many columns."""
    columns = {"a": "CR", "b": "CR", "out": "CR"}
    problems = [
        (conv2d(c=512, h=7, w=7, k=512, r=3, s=3, pad=1, dtype=dtype), NHWC, "wgt"),
        (conv2d(c=512, h=28, w=28, k=256, r=1, s=1, stride=2, dtype=dtype), NHWC, "wgt"),
        (gemm(m=4224, n=1500, k=176, dtype=dtype), columns, "a"),
    ]
    for operator, layouts, weights in problems:
        found = count(compile_cpu(operator, isa.load(name), layouts=layouts, constants=(weights,)))
        assert found.hot_share >= 0.85
        assert found.multiply_accumulates > 0.78 * found.instructions
