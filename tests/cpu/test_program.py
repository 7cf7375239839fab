"""Programs in short against the same instructions by the names of their fields."""

import pytest

import isa
from dataflow import Operator, conv2d, gemm
from embed.cpu.assembler.control import Return
from embed.cpu.assembler.program import Repeat, slots_of
from embed.cpu.compile import compile_cpu
from embed.cpu.runner.machine import machine_of
from isa import IsaError

OPERATORS = {
    "conv": conv2d(n=1, c=16, h=9, w=11, k=40, r=3, s=3, pad=1, dtype="f32"),
    "one column": gemm(m=70, n=1, k=33, dtype="f32"),
    "columns": gemm(m=35, n=13, k=24, dtype="f32"),
}
AVX512 = isa.load("avx512")


@pytest.mark.parametrize("name", ["avx2", "avx512", "neon"])
@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
def test_a_program_is_its_items(name: str, operator: Operator) -> None:
    target = isa.load(name)
    kernel = compile_cpu(operator, target, constants=[operator.inputs[1].name])
    assert machine_of(target).assemble(kernel.items, target).code == kernel.code
    assert len(kernel.sizes) == len(kernel.items)


def test_a_repetition_moves_its_pointers() -> None:
    fields = slots_of(AVX512, "vmovups_zmm_m512").fields
    zero = slots_of(AVX512, "vxorps_zmm_zero").alone(2)
    repeated = Repeat([(fields, 1, 3, 64), zero], {3: [0, 64, 1 << 20]})
    expected = [each for move in (0, 64, 1 << 20) for each in ((fields, 1, 3, 64 + move), zero)]
    codes = [machine_of(AVX512).assemble([*part, Return()], AVX512).code for part in ([repeated], expected)]
    assert codes[0] == codes[1]


def test_a_displacement_that_is_too_far() -> None:
    far = (slots_of(AVX512, "vmovups_zmm_m512").fields, 1, 3, 1 << 31)
    with pytest.raises(IsaError, match="does not fit 32 bits; add it to the pointer"):
        machine_of(AVX512).assemble([far, Return()], AVX512)
