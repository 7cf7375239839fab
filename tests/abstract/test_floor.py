"""What no program goes below, and which embeddings have programs of the same cycles: against programs, one by one."""

import random
from collections.abc import Hashable

import pytest

import embed
import isa
from dataflow import Operator, conv2d, gemm, requantise
from embed.abstract.floor import Floors
from embed.abstract.joint import form
from embed.abstract.kernel import compile_abstract
from embed.costs import epilogue_of
from embed.errors import NoEmbedding

CONV = {"c": 5, "k": 9, "h": 7, "w": 6, "r": 3, "s": 3, "pad": 1}
GROUPED = {"c": 4, "k": 4, "h": 9, "w": 9, "r": 3, "s": 3, "pad": 1, "stride": 2, "groups": 4}

CASES: list[tuple[str, Operator, str]] = [
    ("amx", conv2d(**CONV), "none"),
    ("avx2", gemm(m=33, n=20, k=40, dtype="f32"), "none"),
    ("avx512_bf16", conv2d(**CONV, dtype="bf16"), "none"),
    ("edge", conv2d(**GROUPED), "toeplitz,blocks"),
    ("gemmini", conv2d(**CONV), "none"),
    ("mma_sync", gemm(m=33, n=20, k=40), "none"),
    ("neon", conv2d(**GROUPED, dtype="f32"), "none"),
    ("rvv", gemm(m=33, n=20, k=40, dtype="f32"), "none"),
    ("sme", gemm(m=33, n=20, k=40), "sums"),
    ("tpu", conv2d(**CONV), "all"),
    ("vta", requantise(conv2d(**CONV), shift=2, bias=True), "none"),
]


@pytest.mark.parametrize(("name", "operator", "relax"), CASES, ids=[name for name, *_ in CASES])
def test_programs_are_no_faster_than_their_floors_and_alike_in_one_form(
    name: str, operator: Operator, relax: str
) -> None:
    target = isa.load(name)
    floors, forms, tried = Floors(target), dict[Hashable, int](), 0
    listed = list(embed.alternatives(operator, target, dominated=True, relax=relax).ranked)
    random.Random(1).shuffle(listed)
    for embedding, price in listed[:40]:
        try:
            cycles = compile_abstract(embedding, target).cycles
        except NoEmbedding:
            continue
        adding = price.total - price.cycles
        extras = epilogue_of(embedding.operator, target.instructions[embedding.name], target).extras
        assert price.total <= floors(embedding, price) <= cycles + adding
        assert forms.setdefault(form(embedding, extras), cycles) == cycles
        tried += 1
    assert tried > 5
