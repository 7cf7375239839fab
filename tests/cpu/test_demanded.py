"""Demands on CPU kernels: those that meet them, and a minimal clash where none does, over all candidates."""

import re

import pytest

import embed
import isa
from dataflow import Operator, UserError, conv2d, gemm
from embed.cpu.choosing.copying import packing
from embed.cpu.choosing.demanded import meets, narrowed
from embed.cpu.choosing.rank import Ranking
from embed.cpu.compile import candidates
from embed.cpu.kernel import CpuKernel
from embed.demands import Demand
from embed.errors import NoEmbedding
from embed.physical import Physical

AVX2 = isa.load("avx2")
CONV = conv2d(c=8, h=6, w=8, k=16, r=3, s=3, dtype="f32")
OPERATORS = {"plain": CONV, "padded": conv2d(c=8, h=6, w=8, k=16, r=3, s=3, pad=1, dtype="f32")}


def everything(operator: Operator, layouts: dict[str, str]) -> Ranking:
    return candidates(operator, AVX2, layouts=layouts, thorough=True)


def lies(operator: Operator, layouts: dict[str, str]) -> dict[str, Physical]:
    return {t.name: Physical.of(t, layouts.get(t.name)) for t in (*operator.inputs, operator.output)}


@pytest.mark.parametrize(
    ("name", "layouts", "demands", "reasons"),
    [
        ("plain", {}, "in-place=inp lane=l:x", ""),
        ("plain", {"out": "NHWC"}, "in-place=out bind=wgt:b", ""),
        ("plain", {"inp": "NCHW8c"}, "in-place=inp", ""),
        ("padded", {}, "in-place=inp", "in-place=inp"),
        ("padded", {"out": "NHWC"}, "lane=l:x in-place=out no-fuse", "lane=l:x in-place=out"),
        ("plain", {"out": "NHWC"}, "in-place=wgt lane=l:k", "in-place=wgt lane=l:k"),
        ("plain", {}, "max-cycles=10 no-mix", "max-cycles=10"),
        ("plain", {}, "min-utilisation=1 lane=l:x no-mix", "min-utilisation=1 lane=l:x"),
        ("plain", {}, "max-bytes=100", "max-bytes=100"),
        ("plain", {}, "lane=l:x loop=x", "lane=l:x loop=x"),
    ],
)
def test_the_best_that_meets_demands(name: str, layouts: dict[str, str], demands: str, reasons: str) -> None:
    operator, asked = OPERATORS[name], [Demand.read(text) for text in demands.split()]
    ranking = everything(operator, layouts)
    fitting = [found for found in ranking.candidates if all(meets(demand, found) for demand in asked)]
    if not reasons:
        chosen = narrowed(ranking, asked, operator, lies(operator, layouts)).candidates
        assert set(map(str, chosen)) == set(map(str, fitting))
        return
    assert not fitting
    with pytest.raises(NoEmbedding) as raised:
        narrowed(ranking, asked, operator, lies(operator, layouts))
    assert str(raised.value).endswith(f"Leave out {' or '.join(reasons.split())}")
    clash = [Demand.read(text) for text in reasons.split()]
    assert not any(all(meets(demand, found) for demand in clash) for found in ranking.candidates)
    for left_out in clash:
        others = [demand for demand in clash if demand != left_out]
        assert any(all(meets(demand, found) for demand in others) for found in ranking.candidates)


def test_a_kernel_does_what_is_demanded() -> None:
    kernel = embed.compile(CONV, AVX2, layouts={"inp": "NHWC", "out": "NHWC"}, demands=["in-place=out", "bind=wgt:b"])
    assert isinstance(kernel, CpuKernel)
    assert kernel.embedding.binding.operands["wgt"] == "b"
    left = {stream.tensor: packing(stream.feed, kernel.physical[stream.tensor]) for stream in kernel.streams.values()}
    assert left["out"].in_place
    assert str(left["out"]) == "in place"
    copied = [each for each in left.values() if not each.in_place]
    assert all(re.fullmatch(r"copied, [\d,]+ bytes, [\d,]+ cycles", str(each)) for each in copied)


def test_a_demand_that_makes_no_sense() -> None:
    with pytest.raises(UserError, match="there is no dim 'z'"):
        embed.compile(gemm(m=8, n=8, k=8, dtype="f32"), AVX2, demands=["lane=l:z"])
    with pytest.raises(UserError, match="there is no tensor 'image'; there are: a, b, out"):
        embed.compile(gemm(m=8, n=8, k=8, dtype="f32"), AVX2, demands=["in-place=image"])
