"""Operator in, VTA program out: every execution gives the reference's numbers, every program obeys VTA's rules."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import embed
import isa
from dataflow import Operator, conv2d, evaluate, gemm, requantise
from embed.vta.checker import check
from embed.vta.engines import Engine
from embed.vta.simulator import CHISEL, FSIM, simulate
from tests.operators import inputs, quantised

SHAPES = (
    {},
    {"block_in": 32, "block_out": 32},
    {"block_in": 64, "block_out": 64},
    {"batch": 4},
    {"batch": 16},
    {"batch": 4, "block_in": 4, "block_out": 4, "inp_bytes": 1024, "wgt_bytes": 512, "acc_bytes": 2048},
)


def executions_agree(operator: Operator, parameters: dict[str, int], objective: str = "cycles") -> None:
    target = isa.load("vta", parameters)
    solution = embed.best(operator, target, objective=objective)
    assert solution.status == "OPTIMAL"
    kernel = embed.compile(operator, target, solution)
    arrays = inputs(operator)
    program = kernel.bind(arrays)
    assert check(program, kernel.machine) == []
    reference = evaluate(operator, arrays)
    expected = kernel.expected(arrays)
    for semantics in (FSIM, CHISEL):
        for engine in Engine:
            run = simulate(program, kernel.machine, start_engine=engine, semantics=semantics, sram_seed=1)
            stored = run.outputs[operator.output.name]
            assert np.array_equal(stored, expected)
            assert not any(run.tokens_left.values())
    assert np.array_equal(kernel.unpack(stored), reference)


@settings(max_examples=60, deadline=None)
@given(quantised(), st.sampled_from(SHAPES), st.sampled_from(tuple(embed.OBJECTIVES)))
def test_random_operators(operator: Operator, parameters: dict[str, int], objective: str) -> None:
    executions_agree(operator, parameters, objective)


@pytest.mark.parametrize(
    "operator",
    [
        pytest.param(requantise(conv2d(c=1, h=1, w=1, k=1, r=1, s=1)), id="one point"),
        pytest.param(requantise(conv2d(c=3, h=7, w=9, k=5, r=3, s=3, pad=1)), id="smaller than the instruction"),
        pytest.param(requantise(conv2d(c=3, h=31, w=31, k=64, r=7, s=7, stride=2, pad=3)), id="first layer"),
        pytest.param(requantise(conv2d(c=40, h=7, w=7, k=24, r=1, s=1, pad=3, stride=2)), id="outputs in padding"),
        pytest.param(requantise(conv2d(c=1, h=40, w=151, k=32, r=5, s=20, stride=(2, 8), pad=8)), id="wide padding"),
        pytest.param(requantise(conv2d(c=6, h=9, w=9, k=6, r=3, s=3, groups=3, dilation=2), bias=True), id="groups"),
        pytest.param(requantise(gemm(m=700, n=35, k=2100), bias=True), id="long sum, cut into tiles"),
        pytest.param(gemm(m=130, n=70, k=100), id="int32 in byte planes"),
        pytest.param(conv2d(c=20, h=12, w=12, k=20, r=3, s=3, stride=2, pad=1), id="int32 convolution"),
        pytest.param(requantise(gemm(m=17, n=1, k=33), shift=20, relu=True, bias=True), id="wide shift"),
    ],
)
def test_chosen_operators(operator: Operator) -> None:
    executions_agree(operator, {})


def test_padding_stays_within_one_copy() -> None:
    """Columns in the lanes leave three axes of a padded input that little memory cuts."""
    operator = requantise(conv2d(c=4, h=11, w=40, k=4, r=3, s=3, stride=2, pad=1))
    executions_agree(operator, SHAPES[-1])


def test_a_part_computes_whole_tiles_of_the_output() -> None:
    operator = requantise(gemm(m=600, n=300, k=512))
    kernel = embed.compile(operator, isa.load("vta"))
    arrays = inputs(operator)
    part, covered = kernel.part(20_000_000)
    smaller = operator.restricted(covered)
    corner = tuple(map(slice, smaller.output.shape))
    assert 0 < smaller.main.points < operator.main.points
    assert len(part.code.instructions) < len(kernel.code.instructions)
    assert np.array_equal(part(**arrays)[corner], evaluate(operator, arrays)[corner])


def test_wrapping_sums_are_exact() -> None:
    operator = gemm(m=3, n=5, k=140_000)
    arrays = {name: np.full(array.shape, -128, np.int8) for name, array in inputs(operator).items()}
    out = embed.compile(operator, isa.load("vta"))(**arrays)
    assert np.array_equal(out, evaluate(operator, arrays))
    assert out[0, 0] == (140_000 * 128 * 128 + 2**31) % 2**32 - 2**31


def test_the_simulated_cycles_stay_near_the_modelled_ones() -> None:
    operator = requantise(conv2d(c=64, h=28, w=28, k=64, r=3, s=3, pad=1))
    solution = embed.best(operator, isa.load("vta"))
    cycles = embed.compile(operator, isa.load("vta"), solution).timing().cycles
    assert solution.costs.cycles <= cycles <= 1.25 * solution.costs.cycles
