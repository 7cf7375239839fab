"""Every embedding of small operators, rewritten ones included, made a program and executed: on VTA and on files."""

import numpy as np
import pytest

import embed
import isa
from dataflow import Operator, batched_gemm, conv1d, depthwise_conv2d, evaluate, gemm, requantise
from embed.abstract.kernel import compile_abstract
from embed.vta.executable import compile_vta
from tests.operators import inputs

LITTLE = isa.load("vta", {"block_in": 4, "block_out": 4, "inp_bytes": 256, "wgt_bytes": 512, "acc_bytes": 1024})
"""VTA 1x4x4 with 64 inp, 32 wgt and 64 acc words: operators this small are cut into tiles."""

WINDOW = conv1d(c=3, k=4, w=6, s=3, stride=2, pad=1)

ON_VTA = [
    (gemm(m=5, n=3, k=6), "all"),
    (conv1d(c=3, k=4, w=5, s=2, pad=1), "all"),
    (requantise(WINDOW, shift=2, bias=True, relu=True), "toeplitz,blocks,split"),
    (requantise(depthwise_conv2d(c=2, h=3, w=3, r=2, s=2, pad=1), shift=1), "toeplitz,blocks,split"),
]

SHAPES = {"tpu": {"array": 8, "rows": 4, "ub_bytes": 512, "acc_bytes": 512}, "gemmini": {"dim": 4}}

ON_FILES = [
    ("amx", gemm(m=3, n=2, k=5)),
    ("edge", batched_gemm(batch=2, m=3, n=5, k=2)),
    ("edge", conv1d(c=4, k=2, w=3, s=2, groups=2, dilation=2, pad=1)),
    ("gemmini", conv1d(c=3, k=3, w=4, s=2, groups=3, pad=1)),
    ("mma_sync", conv1d(c=3, k=3, w=5, s=2)),
    ("sme", conv1d(c=2, k=3, w=5, s=2)),
    ("tpu", WINDOW),
]


@pytest.mark.parametrize(("operator", "relax"), ON_VTA, ids=[operator.title for operator, _ in ON_VTA])
def test_every_embedding_is_a_right_program_on_vta(operator: Operator, relax: str) -> None:
    found = embed.alternatives(operator, LITTLE, dominated=True, relax=relax)
    assert found.complete
    arrays = inputs(operator)
    wanted = evaluate(operator, arrays)
    for embedding, _ in found.ranked:
        np.testing.assert_array_equal(compile_vta(embedding, LITTLE)(**arrays), wanted, str(embedding))


@pytest.mark.parametrize(("name", "operator"), ON_FILES, ids=[f"{name} {one.title}" for name, one in ON_FILES])
def test_every_embedding_is_a_right_program_on_a_file(name: str, operator: Operator) -> None:
    target = isa.load(name, SHAPES.get(name))
    found = embed.alternatives(operator, target, dominated=True, relax="all")
    assert found.complete
    arrays = inputs(operator)
    wanted = evaluate(operator, arrays)
    for embedding, _ in found.ranked:
        np.testing.assert_array_equal(compile_abstract(embedding, target)(**arrays), wanted, str(embedding))
