"""Demands against plain Python: what the solver finds meets them, and what it refuses no placement could."""

import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from regular import GEMM, SMALL, placements

import isa
from dataflow import Operator, UserError, conv1d, conv2d, depthwise_conv2d, gemm
from embed.binding import bindings
from embed.copies import copies
from embed.costs import Costs, evaluate, rates
from embed.demands import Demand, check, meets
from embed.embedding import Embedding
from embed.errors import NoEmbedding
from embed.layout import derive
from embed.relax.steps import EXACT
from embed.solver.deadline import Deadline
from embed.solver.listing import alternatives, stream
from embed.solver.questions import problems
from embed.solver.search import best
from embed.solver.settings import Settings
from embed.solver.whynot import conflict, possible

CONV = conv2d(c=3, h=6, w=5, k=6, r=3, s=2)
OPERATORS = {
    "convolution": CONV,
    "depthwise": depthwise_conv2d(c=3, h=5, w=5, r=2, s=2),
    "gemm": gemm(m=8, n=6, k=10),
    "conv1d": conv1d(c=4, w=9, k=4, s=3),
}

REQUESTS = [
    ("convolution", "full=i no-fuse", "full=i"),
    ("convolution", "full=i no-fuse no-mix full=o", "full=i"),
    ("convolution", "loop=k lane=o:k", "loop=k lane=o:k"),
    ("convolution", "lane=o:c", "lane=o:c"),
    ("convolution", "lane=i:k no-mix", "lane=i:k"),
    ("convolution", "bind=wgt:inp lane=o:k", "bind=wgt:inp lane=o:k"),
    ("convolution", "bind=inp:inp lane=o:x", "bind=inp:inp lane=o:x"),
    ("convolution", "max-cycles=40 no-mix", "max-cycles=40"),
    ("convolution", "max-bytes=100", "max-bytes=100"),
    ("convolution", "min-utilisation=1 no-fuse", "min-utilisation=1"),
    ("convolution", "loop=c loop=r loop=s full=i", "full=i"),
    ("convolution", "no-mix no-fuse lane=i:c lane=i:r", "no-mix no-fuse lane=i:c lane=i:r"),
    ("convolution", "exact=inp full=o bind=wgt:inp", "exact=inp"),
    ("depthwise", "lane=o:c", "lane=o:c"),
    ("gemm", "full=i exact=a", "exact=a"),
    ("gemm", "full=o bind=b:wgt no-mix", "full=o bind=b:wgt"),
    ("gemm", "loop=m loop=n full=o", "loop=m full=o"),
    ("gemm", "lane=i:k loop=k max-bytes=100000", "lane=i:k loop=k"),
    ("conv1d", "full=o full=i lane=i:c lane=i:s no-fuse", "full=i lane=i:s no-fuse"),
    ("conv1d", "min-utilisation=1 bind=inp:wgt", "min-utilisation=1 bind=inp:wgt"),
    ("convolution", "full=o no-mix bind=inp:inp", "full=o bind=inp:inp"),
    ("gemm", "no-mix full=i", "full=i"),
    ("gemm", "full=i full=o no-fuse no-mix", "full=i"),
    ("gemm", "max-cycles=60 min-utilisation=0.5", "max-cycles=60"),
    ("conv1d", "full=i lane=i:s no-fuse no-mix", "full=i lane=i:s no-fuse"),
    ("conv1d", "exact=inp lane=i:s bind=inp:inp", "exact=inp lane=i:s"),
    ("conv1d", "min-utilisation=1 loop=k", "min-utilisation=1 loop=k"),
    ("depthwise", "exact=inp lane=i:s", "exact=inp"),
]


def read(text: str) -> list[Demand]:
    return list(map(Demand.read, text.split()))


@cache
def everything(name: str) -> list[tuple[Embedding, Costs]]:
    operator = OPERATORS[name]
    rate = rates(operator, SMALL.instructions["gemm"], SMALL)
    found = [one for binding in bindings(operator.main, GEMM.pattern) for one in placements(operator, GEMM, binding)]
    return [(embedding, evaluate(embedding, rate)) for embedding in found]


def met(name: str, demands: list[Demand]) -> bool:
    return any(all(meets(demand, *one) for demand in demands) for one in everything(name))


@pytest.mark.parametrize(("name", "text", "reasons"), REQUESTS)
def test_the_reasons_are_minimal(name: str, text: str, reasons: str) -> None:
    demands, clash = read(text), read(reasons)
    with pytest.raises(NoEmbedding) as raised:
        best(OPERATORS[name], SMALL, Settings(demands=tuple(demands)))
    message, _, allowed = str(raised.value).partition(", or allow --relax ")
    assert message.endswith(f"Leave out {' or '.join(reasons.split())}")
    for relaxation in EXACT if allowed else ():
        asked = Settings(demands=tuple(demands), relax=(relaxation,))
        if relaxation in allowed.split(" or "):
            found = best(OPERATORS[name], SMALL, asked)
            assert all(meets(demand, found.embedding, found.costs) for demand in demands)
        else:
            with pytest.raises(NoEmbedding):
                best(OPERATORS[name], SMALL, asked)
    assert all(str(demand) in message for demand in clash)
    assert not met(name, clash)
    assert all(met(name, [other for other in clash if other != demand]) for demand in clash)


LIMITS = st.builds("max-{}={}".format, st.sampled_from(["cycles", "bytes"]), st.integers(20, 3000))
KINDS = st.one_of(
    st.sampled_from(
        "full=o full=i no-fuse no-mix lane=o:k lane=o:x lane=o:y lane=i:c lane=i:r lane=i:s loop=k loop=c loop=r "
        "loop=x exact=inp exact=wgt exact=out no-copies=inp bind=inp:inp bind=inp:wgt instruction=gemm".split()
    ),
    LIMITS,
    st.builds("min-utilisation={}".format, st.sampled_from([0.2, 0.5, 0.7, 0.75, 0.9, 1])),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(KINDS, min_size=1, max_size=5, unique=True))
def test_the_solver_agrees_with_plain_python(texts: list[str]) -> None:
    demands = read(" ".join(texts))
    asked = list(problems(CONV, SMALL))
    deadline = Deadline(10)
    assert possible(asked, demands, Settings(), deadline) == met("convolution", demands)
    if not met("convolution", demands):
        found = conflict(asked, demands, Settings(), deadline)
        clash = list(found.demands)
        assert not found.untried
        assert not met("convolution", clash)
        assert all(met("convolution", [other for other in clash if other != demand]) for demand in clash)


def test_lists_meet_demands_too() -> None:
    asked = Settings(demands=tuple(read("no-mix bind=inp:inp")))
    found = alternatives(CONV, SMALL, asked)
    assert 0 < len(found) < len(alternatives(CONV, SMALL, Settings()))
    assert {str(one.embedding) for one in stream(CONV, SMALL, asked)} == {str(one.embedding) for one in found}
    assert all(meets(demand, one.embedding, one.costs) for one in found for demand in asked.demands)


@pytest.mark.parametrize(
    ("name", "text", "allowed"),
    [
        ("convolution", "bind=inp:inp lane=o:x", "toeplitz"),
        ("convolution", "bind=inp:inp lane=o:y no-fuse", "toeplitz"),
        ("depthwise", "lane=o:g lane=i:g", "blocks"),
        ("depthwise", "bind=inp:inp min-utilisation=0.26", "toeplitz"),
        ("convolution", "bind=inp:inp lane=o:x lane=i:k", ""),
        ("depthwise", "lane=o:g full=o", ""),
        ("gemm", "full=i loop=k", ""),
    ],
)
def test_a_relaxation_that_would_do_is_named(name: str, text: str, allowed: str) -> None:
    with pytest.raises(NoEmbedding) as raised:
        best(OPERATORS[name], SMALL, Settings(demands=tuple(read(text))))
    assert str(raised.value).partition(", or allow --relax ")[2] == allowed


def test_partial_sums_are_named_where_they_would_do() -> None:
    lanes = isa.load(str(Path(__file__).parent / "lanes.toml"))
    with pytest.raises(NoEmbedding, match=r"or allow --relax sums$"):
        best(gemm(m=1, n=1, k=8), lanes, Settings(demands=tuple(read("full=l"))))
    assert best(gemm(m=1, n=1, k=8), lanes, Settings(demands=tuple(read("full=l")), relax=("sums",))).costs


@pytest.mark.parametrize("relax", [(), EXACT], ids=["plain", "relaxed"])
@pytest.mark.parametrize(
    "operator", [CONV, conv1d(c=2, w=12, k=3, s=2, stride=3), depthwise_conv2d(c=3, h=5, w=4, r=2, s=2, pad=1)], ids=str
)
def test_copies_are_what_packing_makes(operator: Operator, relax: tuple[str, ...]) -> None:
    """Packed arrays of distinct numbers, and the best of those that hold none twice."""
    listed = alternatives(operator, SMALL, Settings(relax=relax), dominated=True).ranked
    single = []
    for embedding, price in listed:
        packed = {name: packed_numbers(embedding, name) for name in embedding.inputs}
        doubled = {name: found.size - np.unique(found).size for name, found in packed.items()}
        assert doubled == {name: copies(embedding, name) for name in packed}
        single += [price] if not doubled["inp"] else []
    asked = Settings(demands=tuple(read("no-copies=inp")), relax=relax)
    found = alternatives(operator, SMALL, asked, dominated=True)
    assert 0 < len(found) == len(single) <= len(listed)
    assert best(operator, SMALL, asked).costs.total == min(price.total for price in single)


def packed_numbers(embedding: Embedding, name: str) -> NDArray[np.int64]:
    layout = derive(embedding)[name]
    packed = layout.pack(np.arange(1, layout.tensor.size + 1).reshape(layout.tensor.shape), "i64")
    return packed[packed > 0]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("max-cycles=100", "the least is 216"),
        ("min-utilisation=0.99 bind=inp:inp", r"the highest is 0\.\d{4}"),
        ("full=i no-fuse", "the 4 lanes of i take c=3, r=3, s=2"),
    ],
)
def test_a_refusal_says_what_could_be(text: str, what: str) -> None:
    with pytest.raises(NoEmbedding) as raised:
        best(CONV, SMALL, Settings(demands=tuple(read(text))))
    assert re.search(what, str(raised.value))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("fuse", "demand 'fuse': write one of full=LANE"),
        ("full", "write one of"),
        ("lane=o", "write one of"),
        ("no-fuse=1", "write one of"),
        ("full=q", "there is no lane dimension 'q'; there are: b, o, i"),
        ("lane=o:z", "there is no dim 'z'"),
        ("exact=bias", "there is no tensor 'bias'; there are: out, inp, wgt"),
        ("bind=inp:acc", "there is no operand 'acc'; there are: inp, wgt"),
        ("instruction=gemv", "there is no instruction that accumulates 'gemv'; there are: gemm"),
        ("max-cycles=soon", "give a number above 0"),
        ("min-utilisation=2", "give a number from 0 to 1"),
    ],
)
def test_a_demand_that_makes_no_sense(text: str, said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        check(read(text), CONV, isa.load("vta"))
