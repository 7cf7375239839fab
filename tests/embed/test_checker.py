"""The checker accepts what the solver finds, and refuses embeddings that break one rule, by its name."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from regular import SMALL, TARGETS, embeddings, invocations, lane_positions, phi, placements, vta

import dataflow
import embed
from dataflow import Operator, conv1d, conv2d, depthwise_conv2d, gemm
from dataflow.computation import Computation
from embed.binding import Binding, bindings
from embed.checker import CheckError, sample_origins, verify
from embed.embedding import Digit, Embedding, Placeable
from isa.model import Isa
from tests.operators import operators, quantised

GEMM = Placeable.of(vta(1, 4, 8), "gemm")
BATCHED = Placeable.of(vta(2, 4, 8), "gemm")
IN_ORDER = Binding((("acc", "out"), ("inp", "a"), ("wgt", "b")))
SWAPPED = Binding((("acc", "out"), ("inp", "b"), ("wgt", "a")))
CONVOLUTION = Binding((("acc", "out"), ("inp", "inp"), ("wgt", "wgt")))


def statement(text: str, **sizes: int) -> Computation:
    return dataflow.infer(text, sizes, "i8")


def expression(text: str, **sizes: int) -> Operator:
    return Operator("expr", (statement(text, **sizes),))


def placed(operator: Operator, binding: Binding, *digits: Digit, instruction: Placeable = GEMM) -> Embedding:
    return Embedding(operator, instruction, binding, digits)


# The rules, each broken by an embedding that keeps the others (or none that comes before it).
BROKEN: dict[str, tuple[str, Embedding]] = {
    "a binding of the wrong operands": (
        "labels",
        placed(gemm(m=2, n=2, k=2), Binding((("acc", "a"), ("inp", "out"), ("wgt", "b")))),
    ),
    "a binding that leaves an operand out": (
        "labels",
        placed(gemm(m=2, n=2, k=2), Binding((("acc", "out"), ("inp", "a")))),
    ),
    "another body": ("labels", placed(gemm(m=2, n=2, k=2, dtype="f32"), IN_ORDER)),
    "another type": ("labels", placed(gemm(m=2, n=2, k=2, dtype="u8"), IN_ORDER)),
    "a dim of the inputs in the output lanes": (
        "sharing",
        placed(gemm(m=4, n=2, k=2), IN_ORDER, Digit("o", ("m",), 4)),
    ),
    "a sum over the rows of the accumulators": (
        "accumulation",
        placed(gemm(m=2, n=2, k=4), IN_ORDER, Digit("b", ("k",), 2), instruction=BATCHED),
    ),
    "an output dim in summing lanes": ("sharing", placed(gemm(m=2, n=4, k=2), IN_ORDER, Digit("i", ("n",), 4))),
    "a digit that fuses a dim it may hold with one it may not": (
        "sharing",
        placed(conv2d(c=2, h=4, w=4, k=4, r=2, s=2), CONVOLUTION, Digit("o", ("k", "x"), 8)),
    ),
    "channels of a depthwise convolution as columns": (
        "sharing",
        placed(depthwise_conv2d(c=4, h=3, w=3, r=2, s=2), CONVOLUTION, Digit("o", ("g",), 4)),
    ),
    "a sum over weights alone in the output lanes": (
        "accumulation",
        placed(
            expression("out[m] += a[m] * b[j]", m=2, j=4),
            Binding((("acc", "out"), ("inp", "a"), ("wgt", "b"))),
            Digit("o", ("j",), 4),
        ),
    ),
    "one sum in two accumulators of a fused digit": (
        "accumulation",
        placed(
            expression("out[n] += a[m] * b[n,j]", m=2, n=2, j=2),
            Binding((("acc", "out"), ("inp", "a"), ("wgt", "b"))),
            Digit("o", ("j", "n"), 4),
        ),
    ),
    "an output that slides": (
        "accumulation",
        placed(expression("out[i+j] += a[i] * b[j]", i=3, j=3), IN_ORDER),
    ),
    "a dim in two digits": (
        "once",
        placed(gemm(m=2, n=8, k=2), IN_ORDER, Digit("o", ("n",), 2), Digit("o", ("n",), 4)),
    ),
    "a dim in two lanes": (
        "once",
        placed(gemm(m=2, n=8, k=2), IN_ORDER, Digit("o", ("n",), 8), Digit("i", ("k", "n"), 4)),
    ),
    "a dim twice in one digit": ("once", placed(gemm(m=2, n=2, k=2), IN_ORDER, Digit("o", ("n", "n"), 4))),
    "a dim that the operator lacks": ("once", placed(gemm(m=2, n=2, k=2), IN_ORDER, Digit("o", ("q",), 2))),
    "a digit of no dims": ("once", placed(gemm(m=2, n=2, k=2), IN_ORDER, Digit("o", (), 2))),
    "a radix beyond the lanes": ("capacity", placed(gemm(m=2, n=2, k=16), IN_ORDER, Digit("i", ("k",), 8))),
    "radices that multiply beyond the lanes": (
        "capacity",
        placed(conv1d(c=3, w=4, k=2, s=2), CONVOLUTION, Digit("i", ("s",), 2), Digit("i", ("c",), 3)),
    ),
    "a lane dim that the instruction lacks": (
        "capacity",
        placed(gemm(m=2, n=2, k=2), IN_ORDER, Digit("q", ("k",), 2)),
    ),
    "a radix of nothing": ("capacity", placed(gemm(m=2, n=2, k=2), IN_ORDER, Digit("i", ("k",), 0))),
    "an end that no operand sees": (
        "idle",
        placed(expression("out[m,n] += a[m] * b[n]", m=2, n=2, again=3), IN_ORDER, Digit("i", ("again",), 2)),
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_rule_is_named(name: str) -> None:
    rule, embedding = BROKEN[name]
    with pytest.raises(CheckError, match=f"^{rule}:"):
        verify(embedding)


def test_idle_lanes_need_an_operand_of_their_own() -> None:
    """Where every operand uses every lane, any may be idle; a lane whose operands others use may not."""
    pattern = statement("acc[l] += a[l] * b", l=4)
    operator = expression("out[i] += x[i] * w", i=3)
    binding = bindings(operator.main, pattern)[0]
    verify(Embedding(operator, Placeable("fma", pattern), binding, (Digit("l", ("i",), 4),)))
    shared = statement("acc += a * b", l=4)
    operator = expression("out += x * w", i=3)
    binding = bindings(operator.main, shared)[0]
    with pytest.raises(CheckError, match=r"^idle: a lane without a point"):
        verify(Embedding(operator, Placeable("again", shared), binding, ()))


def test_a_sum_split_over_invocations_is_one_sum() -> None:
    verify(placed(gemm(m=2, n=2, k=5), IN_ORDER, Digit("i", ("k",), 4)))


@settings(max_examples=25, deadline=None)
@given(quantised(), st.sampled_from(TARGETS), st.sampled_from(tuple(embed.OBJECTIVES)))
def test_what_the_solver_finds_is_accepted(operator: Operator, target: Isa, objective: str) -> None:
    verify(embed.best(operator, target, objective=objective).embedding)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_every_regular_embedding_is_accepted(data: st.DataObject) -> None:
    verify(data.draw(embeddings(data.draw(operators()), data.draw(st.sampled_from(TARGETS)))))


def test_every_placement_of_a_small_operator_is_accepted() -> None:
    operator = conv2d(c=2, h=4, w=3, k=3, r=2, s=2)
    instruction = Placeable.of(SMALL, "gemm")
    for binding in bindings(operator.main, instruction.pattern):
        for embedding in placements(operator, instruction, binding):
            verify(embedding)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_dim_where_it_may_not_be_is_refused(data: st.DataObject) -> None:
    """Any placement at all, checked against the rules in plain loops over all points of all invocations."""
    operator = data.draw(st.sampled_from(SMALL_OPERATORS))
    binding = data.draw(st.sampled_from(bindings(operator.main, BATCHED.pattern)))
    dims = [dim for dim, extent in operator.main.extents.items() if extent > 1]
    digits = [
        Digit(data.draw(st.sampled_from("boi")), tuple(group), data.draw(st.integers(1, 4)))
        for group in data.draw(st.lists(st.lists(st.sampled_from(dims), min_size=1, max_size=2), max_size=2))
    ]
    embedding = placed(operator, binding, *digits, instruction=BATCHED)
    if broken := rule_broken(embedding):
        with pytest.raises(CheckError, match=f"^({broken}):"):
            verify(embedding)
    else:
        verify(embedding)


SMALL_OPERATORS = (
    gemm(m=3, n=2, k=4),
    conv1d(c=2, w=4, k=2, s=2, stride=2, pad=1),
    depthwise_conv2d(c=2, h=2, w=3, r=1, s=2),
    expression("out[m] += a[m] * b[j]", m=2, j=3),
    expression("out[m] += a[m,j] * b[j]", m=2, j=3, again=2),
)


def rule_broken(embedding: Embedding) -> str:
    """The rules that an embedding breaks, joined by |; found one point at a time."""
    held = [dim for digit in embedding.digits for dim in digit.dims]
    if len(set(held)) < len(held):
        return "once"
    lanes = embedding.pattern.extents
    for lane, extent in lanes.items():
        used = 1
        for digit in embedding.digits:
            used *= digit.radix if digit.lane == lane else 1
        if used > extent:
            return "capacity"
    broken = set()
    for origin in invocations(embedding):
        images = [(position, phi(embedding, origin, position)) for position in lane_positions(embedding)]
        for operand, name in embedding.binding.pairs:
            register, element = embedding.pattern.accesses[operand], embedding.accesses[name]
            pairs = {
                (tuple(i.evaluate(lane) for i in register.index), tuple(i.evaluate(point) for i in element.index))
                for lane, point in images
                if point is not None
            }
            if len({first for first, _ in pairs}) < len(pairs):
                broken.add("sharing")
            if operand == "acc" and len({second for _, second in pairs}) < len(pairs):
                broken.add("accumulation")
    for digit in embedding.digits:
        names = [name for operand, name in embedding.binding.pairs if digit.lane in lanes_of(embedding, operand)]
        moved = any(i.coefficient(dim) for name in names for i in embedding.accesses[name].index for dim in digit.dims)
        if not moved and embedding.size(digit) % digit.radix:
            broken.add("idle")
    return "|".join(sorted(broken))


def lanes_of(embedding: Embedding, operand: str) -> set[str]:
    return {dim for index in embedding.pattern.accesses[operand].index for dim in index.dims}


def test_origins_are_all_of_a_few_and_corners_of_many() -> None:
    few = placed(gemm(m=2, n=3, k=4), IN_ORDER)
    assert list(sample_origins(few)) == list(invocations(few))
    many = placed(gemm(m=20, n=30, k=40), IN_ORDER)
    origins = list(sample_origins(many))
    places = {(origin["m"], origin["n"], origin["k"]) for origin in origins}
    assert {(m, n, k) for m in (0, 19) for n in (0, 29) for k in (0, 39)} <= places
    assert 24 <= len(places) == len(origins) <= 48


def test_an_error_late_in_a_large_operator_is_found() -> None:
    """n fills the output lanes alone until its 65 points are through; then the lanes run on along k."""
    operator = gemm(m=3, n=65, k=700)
    good = placed(operator, IN_ORDER, Digit("o", ("n",), 8), Digit("i", ("k",), 4))
    verify(good)
    with pytest.raises(CheckError, match=r"^(sharing|accumulation):"):
        verify(replace(good, digits=(Digit("o", ("n", "k"), 8),)))
