"""Kernels of embeddings that the user gives: whatever is an embedding computes the right numbers, or says why not."""

from itertools import islice

import numpy as np
import pytest
from here import NATIVE, TARGET

import embed
import isa
from dataflow import Operator, batched_gemm, conv1d, conv2d, depthwise_conv2d, evaluate, gemm
from dataflow.dtypes import numpy_dtype

SMALL = [
    gemm(m=6, n=10, k=7, dtype="f32"),
    gemm(m=16, n=16, k=16, dtype="f32"),
    batched_gemm(batch=3, m=4, n=5, k=6, dtype="f32"),
    conv1d(c=3, w=20, k=5, s=3, dtype="f32"),
    conv2d(c=5, h=6, w=7, k=6, r=3, s=3, pad=1, dtype="f32"),
    depthwise_conv2d(c=6, h=6, w=6, r=3, s=3, dtype="f32"),
]


@NATIVE
@pytest.mark.parametrize("operator", SMALL, ids=lambda operator: operator.title)
def test_every_alternative(operator: Operator) -> None:
    random = np.random.default_rng(2)
    arrays = {t.name: random.integers(-3, 4, t.shape).astype(numpy_dtype(t.dtype)) for t in operator.inputs}
    expected = evaluate(operator, arrays)
    for solution in islice(embed.stream(operator, TARGET, dominated=True), 60):
        kernel = embed.compile(operator, TARGET, solution)
        assert np.array_equal(kernel(**arrays), expected), str(solution.embedding)


@NATIVE
def test_a_digit_beside_one_that_does_not_move_a_tensor() -> None:
    """Lanes n of b repeat along m: its elements are not neighbours, however they lie in memory."""
    operator = gemm(m=8, n=8, k=8, dtype="f32")
    arrays = {t.name: np.arange(64, dtype=np.float32).reshape(8, 8) for t in operator.inputs}
    demands = ["lane=l:n", "lane=l:m"]
    kernel = embed.compile(operator, TARGET, embed.best(operator, TARGET, demands=demands))
    assert not kernel.streams["b"].feed.in_place or not kernel.streams["a"].feed.in_place
    assert np.array_equal(kernel(**arrays), evaluate(operator, arrays))


@NATIVE
def test_entries_that_read_memory_stand_for_their_lanes() -> None:
    """How a word is loaded is for the kernel to choose."""
    operator = gemm(m=16, n=16, k=16, dtype="f32")
    target = isa.load("avx2")
    read = [s for s in embed.alternatives(operator, target) if "_m" in s.embedding.name]
    assert read
    kernel = embed.compile(operator, target, read[0])
    assert kernel.embedding.digits == read[0].embedding.digits
    assert kernel.embedding.name != read[0].embedding.name
