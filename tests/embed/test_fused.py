"""The loop nest of a register machine, epilogue included, in numpy: the same numbers as the reference."""

from typing import Any

import numpy as np
import pytest

import isa
from dataflow import Operator, bias_relu, conv2d, evaluate, gemm, requantise
from dataflow.dtypes import numpy_dtype
from embed.cpu.compile import compile_cpu
from embed.nest.interpret import interpret

CASES = [
    pytest.param(bias_relu(gemm(m=5, n=37, k=7, dtype="f32"), add=True, high=6), "avx512", id="ReLU6"),
    pytest.param(bias_relu(conv2d(c=3, h=5, w=6, k=9, r=3, s=3, dtype="f32")), "avx2", id="bias along rows"),
    pytest.param(requantise(gemm(m=5, n=9, k=8, dtype="i8"), scale=True, zero=3, dtype="u8"), "neon_dotprod", id="u8"),
]


def arrays(operator: Operator) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {t.name: rng.integers(-9, 10, t.shape).astype(numpy_dtype(t.dtype)) for t in operator.inputs}


@pytest.mark.parametrize(("operator", "name"), CASES)
def test_the_nest_means_the_operator(operator: Operator, name: str) -> None:
    kernel = compile_cpu(operator, isa.load(name))
    given = arrays(operator)
    packed = {
        access: layout.pack(given[layout.tensor.name])
        for access, layout in kernel.nest.layouts.items()
        if access != kernel.nest.output
    }
    found = kernel.nest.layouts[kernel.nest.output].unpack(interpret(kernel.nest, packed))
    assert np.array_equal(found, evaluate(operator, given))
    assert found.dtype == numpy_dtype(operator.output.dtype)


def test_the_nest_shows_the_epilogue() -> None:
    kernel = compile_cpu(bias_relu(gemm(m=4, n=8, k=3, dtype="f32")), isa.load("avx2"))
    assert "vmaxps_ymm_ymm_ymm: max(acc[m,n] + bias[m], 0)" in str(kernel.nest)
