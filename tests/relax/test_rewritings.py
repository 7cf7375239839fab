"""Rewritten operators: every useful one of many is embedded, checked on the user's points and run bit for bit."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import embed
import isa
from dataflow import (
    Operator,
    UserError,
    batched_gemm,
    conv1d,
    conv2d,
    depthwise_conv2d,
    evaluate,
    gemm,
    gemv,
    requantise,
)
from dataflow.affine import Affine
from embed.abstract.kernel import compile_abstract
from embed.checker import CheckError, verify
from embed.cli.data import random_arrays
from embed.costs import evaluate as price_of
from embed.embedding import Embedding
from embed.parse import read_embedding
from embed.pinned import hold
from embed.relax import steps
from embed.relax.candidates import Candidates
from embed.relax.rewritten import Rewritten
from embed.relax.steps import EXACT
from embed.serial import embedding_from_json, embedding_to_json
from embed.solver.bound import least
from embed.solver.deadline import Deadline
from embed.solver.model import Found, PricedPlacements
from embed.solver.problem import Problem
from embed.solver.questions import problems
from embed.solver.relaxed import rewritten
from embed.solver.settings import Settings
from embed.vta.executable import compile_vta

OPERATORS = {
    "depthwise": depthwise_conv2d(c=5, h=6, w=7, r=3, s=2, pad=1),
    "strided": depthwise_conv2d(c=3, h=9, w=9, r=3, s=3, stride=2, pad=1),
    "multiplied": depthwise_conv2d(c=3, h=5, w=5, r=2, s=3, multiplier=2),
    "grouped": conv2d(c=6, h=5, w=5, k=9, r=3, s=3, pad=1, groups=3),
    "dilated": conv1d(c=2, w=12, k=2, s=3, dilation=2),
    "strided and dilated": conv1d(c=1, w=17, k=3, s=3, stride=2, dilation=3, pad=2),
    "batched": batched_gemm(batch=5, m=3, n=2, k=3),
    "requantised": requantise(depthwise_conv2d(c=5, h=4, w=5, r=3, s=3, pad=1), bias=True),
}
ARRAY = isa.load("vta", {"block_in": 4, "block_out": 4, "inp_bytes": 8192, "wgt_bytes": 16384, "acc_bytes": 32768})


def every(operator: Operator) -> Iterator[Problem]:
    return rewritten(list(problems(operator, ARRAY)), ARRAY, EXACT)


def minimum(problem: Problem, *order: str) -> Found | None:
    return PricedPlacements(problem).minimise(order, [], Settings(), Deadline(100))


def runs(embedding: Embedding) -> None:
    arrays = random_arrays(embedding.asked, 3)
    assert np.array_equal(compile_vta(embedding, ARRAY)(**arrays), evaluate(embedding.asked, arrays))


@pytest.mark.parametrize("name", OPERATORS)
def test_every_rewriting_embeds_and_runs(name: str) -> None:
    operator = OPERATORS[name]
    best = [one for problem in every(operator) if (one := minimum(problem, "invocations", "traffic"))]
    for embedding in (one.embedding for one in best):
        assert embedding is not None
        verify(embedding)
        assert read_embedding(str(embedding), operator, ARRAY) == embedding
        assert embedding_from_json(embedding_to_json(embedding), ARRAY) == embedding
        runs(embedding)
    assert best


@pytest.mark.parametrize("name", OPERATORS)
def test_no_placement_goes_below_the_bound(name: str) -> None:
    operator = OPERATORS[name]
    for problem in (*problems(operator, ARRAY), *every(operator)):
        for term in ("cycles", "invocations", "bytes"):
            best = minimum(problem, term)
            assert best is None or least(problem, term) <= best.values[0]


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("objective", ["cycles", "invocations", "bytes"])
def test_the_best_is_the_best_of_all_rewritings(name: str, objective: str) -> None:
    """Pruning by bounds loses nothing: as little of the first term as solving every problem to its end."""
    operator = OPERATORS[name]
    solution = embed.best(operator, ARRAY, objective=objective)
    values = [best.values[0] for one in every(operator) if (best := minimum(one, objective))]
    plain = [best.values[0] for one in problems(operator, ARRAY) if (best := minimum(one, objective))]
    reached = {
        "cycles": solution.costs.cycles,
        "invocations": solution.costs.invocations,
        "bytes": solution.costs.bytes,
    }
    assert reached[objective] == min(*values, *plain)
    assert solution.status == "OPTIMAL"
    assert bool(solution.embedding.relaxed) == (min(values) < min(plain))


@pytest.mark.parametrize("layouts", [{"inp": "NHWC"}, {"inp": "NCHW4c", "out": "NHWC"}], ids=str)
@pytest.mark.parametrize("name", ["depthwise", "grouped"])
def test_pinned_layouts_have_their_price_in_rewritten_operators_too(name: str, layouts: dict[str, str]) -> None:
    """What the solver minimises is what the layouts say, in-place tensors included; and the result is right."""
    held = hold(OPERATORS[name], layouts)
    for problem in rewritten(list(problems(held.operator, ARRAY, held.lies)), ARRAY, EXACT, held.lies):
        best = minimum(problem, "cycles")
        if best is not None and best.embedding is not None:
            assert price_of(best.embedding, problem.rates).total == best.values[0]
    arrays = random_arrays(OPERATORS[name], 2)
    kernel = embed.compile(OPERATORS[name], ARRAY, layouts=layouts)
    out = kernel.held.plain(kernel(**kernel.held.lying(arrays)))  # type: ignore[union-attr]
    assert np.array_equal(out, evaluate(OPERATORS[name], arrays))


def mutants(relaxed: Rewritten) -> Iterator[Rewritten]:
    """Rewritings that are wrong in one way each."""
    places = dict(relaxed.places)
    for dim, place in places.items():
        moved = Affine(place.terms, place.constant + 1)
        yield replace(relaxed, places=tuple({**places, dim: moved}.items()))
    if relaxed.zeros:
        yield replace(relaxed, zeros=())
    main = relaxed.operator.main
    output = replace(main.output, index=tuple(Affine(i.terms, i.constant + bool(i.terms)) for i in main.output.index))
    yield replace(relaxed, operator=Operator("wrong", (replace(main, output=output),)))
    wider = tuple(replace(dim, extent=dim.extent + (dim.name not in relaxed.user.main.extents)) for dim in main.dims)
    yield replace(relaxed, operator=Operator("wrong", (replace(main, dims=wider),)))


@pytest.mark.parametrize(
    "text",
    [
        "gemm(inp->inp, wgt->wgt) o=x0:3 i=xs:4 with toeplitz x,s:3",
        "gemm(inp->inp, wgt->wgt) o=g0:3 i=g2:3 with blocks g,wgt:3",
        "gemm(inp->inp, wgt->wgt) i=r.s:4 with split x:3",
    ],
)
def test_the_checker_finds_wrong_rewritings(text: str) -> None:
    embedding = read_embedding(text, OPERATORS["depthwise"], ARRAY)
    verify(embedding)
    assert embedding.relaxed is not None
    for wrong in mutants(embedding.relaxed):
        with pytest.raises(CheckError):
            verify(replace(embedding, operator=wrong.operator, relaxed=wrong))


CONV = conv2d(c=4, h=6, w=6, k=4, r=3, s=3, groups=2)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("toeplitz x", "it is about an output dim and a summed dim"),
        ("toeplitz x,z:2", "there is no dim 'z'; there are: n, g, k, y, x, c, r, s"),
        ("toeplitz s,x:2", "s is no dim of the output, or x none of the sum"),
        ("toeplitz x,r:2", "x and r slide along 0 axes of inputs, not along one"),
        ("blocks k,wgt:2", r"inp\[n,2\*g\+c,y\+r,x\+s\] does not use k"),
        ("blocks g,acc:2", "there is no tensor 'acc'; there are: out, inp, wgt"),
        ("split k:3", "k would leave 0..1 where out.* stays within its tensor"),
        ("twist x:2", "write KIND NAME,NAME:FACTOR, where KIND is one of toeplitz, blocks, split"),
        ("split x:0", "write KIND NAME,NAME:FACTOR"),
    ],
)
def test_what_does_not_apply_is_named(text: str, said: str) -> None:
    text = text if ":" in text else f"{text}:2"
    with pytest.raises(UserError, match=said):
        steps.relaxed(CONV, steps.read_steps(text))


def test_a_dim_within_a_tensor_is_split_where_that_pads_nothing() -> None:
    """k = 2 of `out[n,2*g+k,y,x]`: runs of one or two points leave no remainder in the next group's channels."""
    assert steps.relaxed(CONV, steps.read_steps("split k:1")).operator.main.extents["k1"] == 2


VECTORS = """
name = "vectors"
doc = "Four lanes of products, summed where they stand."

[memory]
dram = { kind = "external", bits = 8 }
left = { kind = "scratchpad", bits = 32, count = 64 }
right = { kind = "scratchpad", bits = 32, count = 64 }
sums = { kind = "scratchpad", bits = 128, count = 64 }

[[instruction]]
name = "mac"
index = { l = 4 }
pattern = "acc[l] += i32(a[l]) * i32(b[l])"
operands.acc = { in = "sums", type = "i32[l]" }
operands.a = { in = "left", type = "i8[l]" }
operands.b = { in = "right", type = "i8[l]" }
"""


@pytest.mark.parametrize("operator", [gemv(m=1, k=37), gemm(m=1, n=1, k=10)], ids=lambda operator: operator.name)
def test_partial_sums_fill_lanes_where_they_are_named(operator: Operator, tmp_path: Path) -> None:
    """Products lane by lane leave a single sum to one lane: each has a part of it instead."""
    (tmp_path / "vectors.toml").write_text(VECTORS, encoding="utf-8")
    target = isa.load(str(tmp_path / "vectors.toml"))
    one = embed.best(operator, target)
    parts = embed.best(operator, target, relax="all")
    assert one.costs.utilisation == pytest.approx(1 / 4)
    assert parts.costs.utilisation > 0.8
    assert "sums k:4" in str(parts.embedding)
    assert read_embedding(str(parts.embedding), operator, target) == parts.embedding
    arrays = random_arrays(operator, 5)
    assert np.array_equal(compile_abstract(parts.embedding, target)(**arrays), evaluate(operator, arrays))


def test_parts_of_a_sum_have_no_epilogue() -> None:
    with pytest.raises(UserError, match="what follows the sums would be done to the parts of them"):
        steps.relaxed(requantise(CONV), steps.read_steps("sums c:2"))


def test_adding_the_parts_up_has_its_price(tmp_path: Path) -> None:
    """Four words in, one out, each of four bytes; over a bus of 2 bytes a cycle, which the parts have to gain."""
    timed = VECTORS + '[timing.core]\nsource = "made up"\nbus_bytes = 2\nmac = { unit = "adder", start = 1 }\n'
    (tmp_path / "vectors.toml").write_text(timed, encoding="utf-8")
    target = isa.load(str(tmp_path / "vectors.toml"))
    parts = embed.best(gemv(m=1, k=400), target, relax="sums").costs
    assert (parts.added_bytes, parts.adding) == (20, 10)
    assert (parts.total, parts.moved) == (parts.cycles + 10, parts.bytes + 20)
    assert not embed.best(gemv(m=1, k=3), target, relax="sums").embedding.relaxed


def test_a_split_more_does_not_go_below_the_bound_without() -> None:
    """Why the search looks at a split after other steps only where these could win."""
    lowered = 0
    for operator in (OPERATORS["grouped"], OPERATORS["batched"], OPERATORS["strided"]):
        for plain in problems(operator, isa.load("amx")):
            found = Candidates(operator, plain.pattern, plain.binding, steps.names("all"))
            for known in found.first():
                posed = replace(plain, operator=known.operator, relaxed=known)
                for more in found.further(known):
                    split = replace(plain, operator=more.operator, relaxed=more)
                    for term in ("cycles", "invocations", "bytes"):
                        assert least(split, term) >= least(posed, term)
                        lowered += 1
    assert lowered > 1000


@pytest.mark.parametrize(("text", "names"), [("all", (*EXACT, "sums")), ("sums,all", ("sums", *EXACT)), ("none", ())])
def test_names_of_relaxations(text: str, names: tuple[str, ...]) -> None:
    assert steps.names(text) == names


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(UserError, match="there is no relaxation 'diagonal'; there are: toeplitz, blocks, split, sums"):
        steps.names("toeplitz,diagonal")


def test_kernels_for_cpus_rewrite_nothing() -> None:
    operator, target = gemv(m=1, k=64, dtype="f32"), isa.load("avx512")
    parts = embed.best(operator, target, relax="sums")
    assert parts.embedding.relaxed
    with pytest.raises(UserError, match="kernels for avx512 rewrite no operator"):
        embed.compile(operator, target, parts)
    assert not embed.best(operator, target).embedding.relaxed
