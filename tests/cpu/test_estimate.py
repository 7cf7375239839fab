"""Estimates of whole kernels: every instruction is in one block, and no core beats its units or its memory."""

from math import ceil

import pytest

import isa
from dataflow import Operator, conv2d, gemm
from embed.cpu.compile import compile_cpu
from embed.cpu.kernel import CpuKernel
from embed.cpu.measuring.count import count
from embed.cpu.measuring.estimate import blocks_of, estimates
from tests.cpu.here import NHWC

MULTIPLIERS = {"neoverse-v1": 4, "neoverse-n1": 2, "cortex-a53": 1}
CONV = conv2d(c=20, h=9, w=11, k=21, r=3, s=3, pad=1, dtype="f32")


def kernel(operator: Operator, name: str = "neon") -> CpuKernel:
    return compile_cpu(operator, isa.load(name), layouts=NHWC if operator.name == "conv2d" else {})


@pytest.mark.parametrize("operator", [CONV, gemm(m=23, n=40, k=37, dtype="f32"), gemm(m=1, n=1, k=1, dtype="f32")])
def test_blocks_hold_every_instruction_that_runs(operator: Operator) -> None:
    found = kernel(operator)
    code = found.assembled
    blocks = list(blocks_of(found, code))  # type: ignore[arg-type]
    assert sum(block.times * len(block.words) for block in blocks) == count(found).instructions
    innermost = max(blocks, key=lambda block: block.times * len(block.words))
    assert innermost.repeated or operator.main.points == 1


def test_no_core_beats_its_multipliers() -> None:
    found = kernel(CONV)
    sums = count(found).multiply_accumulates
    cores = estimates(found)
    assert list(cores) == list(MULTIPLIERS)
    assert all(sums / MULTIPLIERS[name] <= each.core <= 8 * sums for name, each in cores.items())


def test_twice_the_sum_takes_twice_the_cycles() -> None:
    once, twice = (estimates(kernel(gemm(m=32, n=32, k=size, dtype="f32"))) for size in (512, 1024))
    assert all(twice[name].core == pytest.approx(2 * once[name].core, rel=0.05) for name in MULTIPLIERS)


def test_what_exceeds_the_caches_comes_from_memory() -> None:
    """1 MiB of matrix and a little more, at 3 bytes a cycle; in the caches no rate is known."""
    operator = gemm(m=512, n=1, k=512, dtype="f32")
    size = sum(tensor.bytes for tensor in (*operator.inputs, operator.output))
    large = estimates(kernel(operator))["cortex-a53"]
    assert large.memory == ceil(size / 3)
    assert large.cycles == max(large.core, large.memory)
    assert estimates(kernel(gemm(m=64, n=1, k=64, dtype="f32")))["cortex-a53"].memory == 0


def test_cores_without_the_instructions_are_left_out() -> None:
    operator = gemm(m=16, n=16, k=16, dtype="i8")
    assert list(estimates(kernel(operator, "neon_dotprod"))) == ["neoverse-v1", "neoverse-n1"]
    assert estimates(kernel(gemm(m=16, n=16, k=16, dtype="f32"), "avx2")) == {}
