"""Plans of instructions that are no contraction: they tile any size, run bit for bit, and are among all embeddings."""

import time

import numpy as np
import pytest

import dataflow
import isa
from dataflow import Operator
from dataflow.sums import Sums
from embed.cli.data import random_arrays
from embed.nodes.kernel import PlanKernel
from embed.nodes.placement import Placement
from embed.solver.nodes import embeddings
from embed.solver.nodes.plans import plan
from embed.solver.nodes.regular import placements
from embed.solver.settings import Settings

AVX512 = isa.load("avx512")


def operator(text: str, dtype: str = "i16", **extents: int) -> Operator:
    return Operator("expr", dataflow.infer_all(text.split(";"), extents, dtype), tuple(extents.items()))


@pytest.mark.parametrize(("m", "n", "k"), [(1, 1, 1), (3, 5, 7), (16, 16, 16), (7, 33, 20), (40, 1, 3)])
def test_pair_adds_make_an_integer_gemm_of_any_size(m: int, n: int, k: int) -> None:
    gemm = dataflow.gemm(m=m, n=n, k=k, dtype="i16")
    found = plan(gemm, AVX512, Settings())
    assert [step.placement.name for step in found.steps] == ["vpmaddwd_zmm_zmm_zmm"]
    assert found.steps[0].invocations <= m * -(-n // 16) * -(-k // 2)
    arrays = random_arrays(gemm, 1)
    expected = arrays["a"].astype(np.int64) @ arrays["b"].astype(np.int64)
    assert np.array_equal(PlanKernel(found)(**arrays), expected.astype(np.int32))


def test_a_whole_sum_in_one_invocation_leaves_nothing_to_add() -> None:
    found = plan(operator("y[i] = i32(a[i,0])*i32(b[i,0]) + i32(a[i,1])*i32(b[i,1])", i=32), AVX512, Settings())
    assert [(step.placement.name, step.invocations, step.adder) for step in found.steps] == [
        ("vpmaddwd_zmm_zmm_zmm", 2, "")
    ]


def one_invocation(placement: Placement) -> tuple[tuple[int, int, tuple[int, ...]], ...]:
    """What every node of an instruction that takes one invocation does, node by node."""
    found = []
    for image in placement.images:
        origin = {loop.name: np.zeros(1, np.int64) for loop in placement.loops}
        points, idle = placement.points(image, origin)
        assert not idle.any()
        extents = placement.operator.statements[image.match.image.statement].extents
        for place in np.ndindex(*idle.shape):
            point = tuple(int(points[dim][place]) for dim in extents)
            found.append((image.match.image.statement, image.match.image.place, point))
    return tuple(found)


@pytest.mark.parametrize(
    ("pattern", "lanes", "text", "extents"),
    [
        ("d[l] = i32(a[2*l])*i32(b[2*l]) + i32(a[2*l+1])*i32(b[2*l+1])", 2, "y[i] += a[i,k]*b[k]", {"i": 2, "k": 2}),
        (
            "d[2*l] += a[2*l]*b[2*l] - a[2*l+1]*b[2*l+1]; d[2*l+1] += a[2*l]*b[2*l+1] + a[2*l+1]*b[2*l]",
            2,
            "c[i,0] += a[i,0]*b[i,0] - a[i,1]*b[i,1]; c[i,1] += a[i,0]*b[i,1] + a[i,1]*b[i,0]",
            {"i": 2},
        ),
    ],
)
def test_regular_placements_are_embeddings(pattern: str, lanes: int, text: str, extents: dict[str, int]) -> None:
    whole, own = operator(text, **extents), operator(pattern, l=lanes)
    every = {found.nodes for found in embeddings(Sums(whole.statements), Sums(own.statements))}
    regular, complete = placements(whole, "it", Sums(own.statements), Settings(), time.perf_counter() + 10)
    filled = [one_invocation(each) for each in regular if each.invocations == 1]
    assert complete
    assert filled
    assert set(filled) <= every
