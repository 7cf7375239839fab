"""What embeddings cost: known utilisations, cycles and bytes by hand."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from regular import embeddings, invocations, lane_positions, phi, vta

import dataflow
import embed
import isa
from dataflow import Operator, conv2d, depthwise_conv2d, gemm, gemv, requantise
from embed.binding import Binding
from embed.costs import evaluate, fixed_utilisation, rates
from embed.embedding import Digit, Embedding, Placeable
from isa.model import Isa
from tests.operators import operators

VTA = isa.load("vta")
GEMM = VTA.instructions["gemm"]


@pytest.mark.parametrize(
    ("operator", "expected"),
    [
        (conv2d(c=3, h=8, w=8, k=64, r=7, s=7, stride=2, pad=3), 3 / 16),
        (conv2d(c=64, h=8, w=8, k=64, r=3, s=3, pad=1), 1.0),
        (conv2d(c=1, h=8, w=8, k=32, r=5, s=5), 1 / 16),
        (conv2d(c=20, h=8, w=8, k=40, r=1, s=1), (20 / 32) * (40 / 48)),
        (conv2d(c=64, h=4, w=4, k=64, r=3, s=3, groups=32), (2 / 16) * (2 / 16)),
        (depthwise_conv2d(c=64, h=4, w=4, r=3, s=3), 1 / 256),
        (gemm(m=35, n=100, k=50), max((50 / 64) * (100 / 112), (50 / 64) * (35 / 48))),
        (gemv(m=16, k=16), 1.0),
    ],
)
def test_utilisation_of_the_fixed_packing(operator: Operator, expected: float) -> None:
    assert fixed_utilisation(operator, GEMM) == pytest.approx(expected, abs=0)


def test_the_fixed_packing_of_rows_counts_too() -> None:
    target = isa.load("vta", {"batch": 16})
    assert fixed_utilisation(conv2d(c=16, h=4, w=4, k=16, r=1, s=1), target.instructions["gemm"]) == 1 / 16
    assert fixed_utilisation(gemm(m=32, n=16, k=16), target.instructions["gemm"]) == 1.0


def test_nothing_binds_is_no_utilisation() -> None:
    assert fixed_utilisation(gemm(m=4, n=4, k=4, dtype="f32"), GEMM) is None
    assert fixed_utilisation(gemm(m=4, n=4, k=4), VTA.instructions["finish"]) is None


@pytest.mark.parametrize(
    ("operator", "expected"),
    [
        (conv2d(c=3, h=32, w=32, k=64, r=7, s=7, stride=2, pad=3), 147 / 160),
        (conv2d(c=1, h=9, w=9, k=16, r=3, s=3), 9 / 16),
        (conv2d(c=64, h=8, w=8, k=64, r=3, s=3, pad=1), 1.0),
        (gemm(m=1, n=1, k=16), 1 / 16),
    ],
)
def test_utilisation_of_the_fewest_invocations(operator: Operator, expected: float) -> None:
    found = embed.best(operator, VTA, objective="invocations")
    assert found.costs.utilisation == pytest.approx(expected, abs=0)
    assert found.costs.utilisation * found.costs.invocations * 256 == pytest.approx(operator.main.points)


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_utilisation_is_the_share_of_busy_lanes(data: st.DataObject) -> None:
    operator = data.draw(operators(("gemm", "conv1d", "gemv")).filter(lambda operator: operator.main.points < 3000))
    embedding = data.draw(embeddings(operator, vta(1, 4, 4)))
    origins = list(invocations(embedding))
    busy = sum(phi(embedding, origin, lanes) is not None for origin in origins for lanes in lane_positions(embedding))
    assert len(origins) == embedding.invocations
    assert busy == operator.main.points
    assert embedding.utilisation == busy / (len(origins) * 16)


def placed(operator: Operator, target: Isa, *digits: Digit) -> Embedding:
    names = [read.tensor for read in operator.main.reads]
    binding = Binding((("acc", operator.main.output.tensor), ("inp", names[0]), ("wgt", names[1])))
    return Embedding(operator, Placeable.of(target, "gemm"), binding, digits)


def test_cycles_by_hand() -> None:
    """A convolution of 32 to 40 channels on 10 x 10 with an int8 epilogue of shift, max and min, on VTA 1x16x16.

    3 output blocks x 2 input blocks x 9 taps x 100 places are GEMMs of a cycle each. Each of 300 results is reset,
    shifted and clipped below and above: 4 cycles; and stored in 3 (VTA timing, 1 + 3n). The bus has 8 bytes a cycle.
    """
    operator = requantise(conv2d(c=32, h=10, w=10, k=40, r=3, s=3, pad=1))
    found = evaluate(placed(operator, VTA, Digit("o", ("k",), 16), Digit("i", ("c",), 16)), rates(operator, GEMM, VTA))
    assert found.invocations == 3 * 2 * 9 * 100
    assert found.packed_bytes == {"inp": 2 * 100 * 16, "wgt": 3 * 2 * 9 * 256, "out": 300 * 16}
    assert found.bytes == 3200 + 13824 + 4800
    assert found.cycles == 5400 + 300 * 4
    assert found.utilisation == 40 / 48


def test_the_bus_bounds_a_matrix_times_a_vector() -> None:
    """Weights are read once for one cycle of compute each: 256 bytes at 8 a cycle."""
    operator = requantise(gemv(m=160, k=320), bias=True)
    embedding = embed.best(operator, VTA).embedding
    found = evaluate(embedding, rates(operator, GEMM, VTA))
    assert found.packed_bytes == {"x": 320, "a": 160 * 320, "bias": 160 * 4, "out": 160}
    assert found.cycles == (320 + 160 * 320 + 160 * 4) // 8


def test_the_store_bounds_a_short_sum() -> None:
    """An outer product of depth 1 as int32: four byte planes of 3 cycles a word each."""
    operator = gemm(m=64, n=64, k=1)
    embedding = placed(operator, VTA, Digit("o", ("n",), 16))
    found = evaluate(embedding, rates(operator, GEMM, VTA))
    assert found.cycles == 64 * 4 * 3 * 4
    assert found.packed_bytes["out"] == 64 * 64 * 4


def test_two_reads_of_one_tensor_are_packed_twice() -> None:
    operator = Operator("gram", (dataflow.infer("out[i,j] += x[i,k] * x[j,k]", {"i": 32, "j": 32, "k": 16}, "i8"),))
    found = embed.best(operator, VTA).costs
    assert found.packed_bytes == {"x": 32 * 16, "x.2": 32 * 16, "out": 32 * 32 * 4}


def test_an_isa_without_timing_counts_instructions() -> None:
    target = isa.loads(PLAIN)
    operator = gemm(m=8, n=8, k=8)
    found = embed.best(operator, target)
    assert found.costs.invocations == 8 * 2 * 2
    assert found.costs.cycles == found.costs.invocations


PLAIN = """
name = "plain"
doc  = "A matrix unit and nothing else."

[memory]
a = { kind = "scratchpad", bits = 32, count = 16 }
b = { kind = "scratchpad", bits = 128, count = 16 }
c = { kind = "scratchpad", bits = 128, count = 16 }

[[instruction]]
name    = "mm"
doc     = "A row of four times a matrix of four by four."
index   = { j = 4, k = 4 }
pattern = "c[j] += i32(a[k]) * i32(b[j,k])"
operands.c = { in = "c", type = "i32[j]" }
operands.a = { in = "a", type = "i8[k]" }
operands.b = { in = "b", type = "i8[j,k]" }
"""
