"""The search against plain Python: the best placement of all, every placement, prices, ties, limits and refusals."""

from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from limited import solver_with
from regular import GEMM, SMALL, TARGETS, canonical, executed, full, placements

import dataflow
import embed
from dataflow import Operator, UserError, conv1d, conv2d, depthwise_conv2d, gemm, requantise
from embed.binding import bindings
from embed.checker import verify
from embed.costs import Costs, evaluate, rates
from embed.embedding import Digit, Embedding
from embed.errors import NoEmbedding
from embed.solver import model
from embed.solver.deadline import Deadline
from embed.solver.listing import written
from embed.solver.model import PricedPlacements
from embed.solver.problem import Problem
from embed.solver.questions import problems
from embed.solver.settings import Settings
from isa.model import Isa
from tests.operators import operators, quantised

FEW_DIMS = ("conv1d", "gemm", "gemv", "batched_gemm")
OPERATORS = {
    "convolution": conv2d(c=2, h=5, w=4, k=3, r=2, s=2),
    "strided": requantise(conv2d(c=3, h=7, w=1, k=5, r=3, s=1, stride=2, pad=(1, 0)), bias=True),
    "depthwise": depthwise_conv2d(c=3, h=5, w=5, r=2, s=2),
    "grouped": requantise(conv2d(c=4, h=4, w=3, k=6, r=2, s=1, groups=2)),
    "filter of one": conv1d(n=2, c=9, w=6, k=10, s=1, stride=2),
    "Gram matrix": Operator("gram", (dataflow.infer("out[i,j] += x[i,k] * x[j,k]", {"i": 6, "j": 6, "k": 9}, "i8"),)),
}


def rank(objective: str, price: Costs, embedding: Embedding) -> tuple[int, ...]:
    """What the objective minimises, then the number of dims in digits and of digits."""
    tie = sum(len(digit.dims) + 1 for digit in embedding.digits)
    order = {
        "cycles": (price.cycles, price.bytes, tie),
        "invocations": (price.invocations, price.cycles, price.bytes, tie),
        "bytes": (price.bytes, price.cycles, tie),
    }
    return order[objective]


def all_placements(operator: Operator) -> list[Embedding]:
    return [
        embedding
        for binding in bindings(operator.main, GEMM.pattern)
        for embedding in placements(operator, GEMM, binding)
    ]


def price_of(embedding: Embedding) -> Costs:
    return evaluate(embedding, rates(embedding.operator, SMALL.instructions["gemm"], SMALL))


def is_best_of_all(operator: Operator) -> None:
    everything = [(embedding, price_of(embedding)) for embedding in all_placements(operator)]
    for objective in embed.OBJECTIVES:
        found = embed.best(operator, SMALL, objective=objective, relax="none")
        best = min(rank(objective, price, embedding) for embedding, price in everything)
        assert rank(objective, found.costs, found.embedding) == best
        assert found.status == "OPTIMAL"


@pytest.mark.parametrize("name", OPERATORS)
def test_best_is_the_best_of_all(name: str) -> None:
    is_best_of_all(OPERATORS[name])


@settings(max_examples=20, deadline=None)
@given(quantised(FEW_DIMS))
def test_best_is_the_best_of_all_for_random_operators(operator: Operator) -> None:
    is_best_of_all(operator)


def is_complete(operator: Operator) -> None:
    filled = [embedding for embedding in all_placements(operator) if full(embedding)]
    for dominated, expected in ((True, filled), (False, [one for one in filled if not can_grow(one, filled)])):
        found = written(operator, SMALL, Settings(), dominated, Deadline(60))
        forms = [canonical(solution.embedding) for solution in found]
        assert found.complete
        assert len(set(forms)) == len(forms) == len(found)
        assert set(forms) == set(map(canonical, expected))
        maps = {executed(embedding) for embedding, _ in found.ranked}
        for listed in (embed.alternatives, embed.stream):
            once = [
                executed(solution.embedding) for solution in listed(operator, SMALL, dominated=dominated, time_limit=60)
            ]
            assert len(once) == len(maps)
            assert set(once) == maps


def can_grow(embedding: Embedding, others: list[Embedding]) -> bool:
    """Whether another takes fewer invocations and differs in one lane dim only, where one more dim takes part."""
    return any(grown(embedding, other) for other in others if other.binding == embedding.binding)


def grown(embedding: Embedding, other: Embedding) -> bool:
    changed = [lane for lane in embedding.lanes if runs(embedding, lane) != runs(other, lane)]
    if len(changed) != 1:
        return False
    before, after = embedding.digits_of(changed[0]), other.digits_of(changed[0])
    added = {dim for digit in after for dim in digit.dims} - {dim for digit in before for dim in digit.dims}
    if len(added) != 1:
        return False
    homes = [next((new for new in after if set(old.dims) <= set(new.dims)), None) for old in before]
    if None in homes or len(set(homes)) < len(homes):
        return False
    kept = all(least(embedding, old) <= new.radix for old, new in zip(before, homes, strict=True) if new)
    return kept and other.invocations < embedding.invocations


def runs(embedding: Embedding, lane: str) -> object:
    return [(digit.dims, embedding.steps(digit)) for digit in embedding.digits_of(lane)]


def least(embedding: Embedding, digit: Digit) -> int:
    """The smallest radix with as few runs."""
    return -(-embedding.size(digit) // embedding.steps(digit))


@pytest.mark.parametrize("name", OPERATORS)
def test_alternatives_are_all_placements_that_fill_their_lanes(name: str) -> None:
    is_complete(OPERATORS[name])


@settings(max_examples=20, deadline=None)
@given(operators(FEW_DIMS))
def test_alternatives_are_complete_for_random_operators(operator: Operator) -> None:
    is_complete(operator)


@pytest.mark.parametrize("objective", embed.OBJECTIVES)
def test_alternatives_come_best_first(objective: str) -> None:
    operator = OPERATORS["strided"]
    found = list(embed.alternatives(operator, SMALL, objective=objective, dominated=True))
    ranks = [rank(objective, solution.costs, solution.embedding) for solution in found]
    assert ranks == sorted(ranks)
    assert [solution.status for solution in found[:2]] == ["OPTIMAL", "FEASIBLE"]
    best = embed.best(operator, SMALL, objective=objective)
    assert rank(objective, best.costs, best.embedding) == min(ranks)


@settings(max_examples=15, deadline=None)
@given(quantised(), st.sampled_from(TARGETS), st.sampled_from(tuple(embed.OBJECTIVES)))
def test_the_solver_prices_its_optimum_as_the_layouts_do(operator: Operator, target: Isa, objective: str) -> None:
    order = embed.OBJECTIVES[objective]
    for problem in problems(operator, target):
        found = PricedPlacements(problem).minimise(order, [], Settings(), Deadline(10))
        assert found is not None
        assert found.embedding is not None
        assert found.proven
        verify(found.embedding)
        assert found.values == solver_terms(problem, found.embedding, order)


def solver_terms(problem: Problem, embedding: Embedding, order: tuple[str, ...]) -> list[int]:
    """The objective values by `embed.costs`; traffic is bytes scaled so that dims and digits break ties only."""
    price = evaluate(embedding, problem.rates)
    scale = 1 + 2 * sum(extent > 1 for extent in embedding.extents.values())
    tie = sum(len(digit.dims) + 1 for digit in embedding.digits)
    values = {"cycles": price.cycles, "invocations": price.invocations, "bytes": price.bytes}
    values["traffic"] = scale * price.bytes + tie
    return [values[name] for name in order]


@pytest.mark.parametrize("name", OPERATORS)
def test_the_solver_prices_every_placement_as_the_layouts_do(name: str) -> None:
    operator = OPERATORS[name]
    for binding in bindings(operator.main, GEMM.pattern):
        problem = next(found for found in problems(operator, SMALL) if found.binding == binding)
        everything = list(placements(operator, GEMM, binding))
        for embedding in everything[:: max(1, len(everything) // 12)]:
            priced = PricedPlacements(problem)
            fix(priced, embedding)
            found = priced.minimise(("cycles", "traffic", "invocations"), [], Settings(), Deadline(10))
            assert found is not None
            assert found.values == solver_terms(problem, embedding, ("cycles", "traffic", "invocations"))


def fix(priced: PricedPlacements, embedding: Embedding) -> None:
    """Allow one placement only."""
    digits = {(digit.lane, digit.dims[-1]): digit for digit in embedding.digits}
    for key, members in priced.variables.members.items():
        digit = digits.get(key)
        for dim, literal in members.items():
            priced.proto.add(literal == int(digit is not None and dim in digit.dims))
        priced.proto.add(priced.variables.radix[key] == (digit.radix if digit else 1))


@settings(max_examples=10, deadline=None)
@given(quantised(), st.sampled_from(TARGETS), st.sampled_from(tuple(embed.OBJECTIVES)))
def test_the_same_question_has_the_same_answer(operator: Operator, target: Isa, objective: str) -> None:
    once, again = (embed.best(operator, target, objective=objective) for _ in range(2))
    assert once.embedding == again.embedding
    assert once.costs == again.costs


def test_ties_are_broken_the_same_way_for_alternatives() -> None:
    square = conv2d(c=4, h=5, w=5, k=4, r=2, s=2)
    once, again = ([str(s.embedding) for s in embed.alternatives(square, SMALL)] for _ in range(2))
    assert once == again


def test_no_time_is_no_embedding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "new_solver", solver_with(max_time_in_seconds=0.0))
    with pytest.raises(NoEmbedding, match=r"no embedding of vta in gemm m=5 n=6 k=9 was found within 3 s") as raised:
        embed.best(gemm(m=5, n=6, k=9), SMALL, time_limit=3)
    assert raised.value.exit_code == 1
    assert not embed.alternatives(gemm(m=5, n=6, k=9), SMALL).complete


def test_an_unproven_answer_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "new_solver", solver_with(stop_after_first_solution=True))
    found = embed.best(OPERATORS["convolution"], SMALL)
    assert found.status == "FEASIBLE"
    alternatives = embed.alternatives(OPERATORS["convolution"], SMALL)
    assert [solution.status for solution in alternatives] == ["FEASIBLE"] * len(alternatives)


@pytest.mark.parametrize("solved", range(1, 5))
def test_time_that_runs_out_on_the_way_leaves_an_embedding(monkeypatch: pytest.MonkeyPatch, solved: int) -> None:
    calls = count()
    usual, none = model.new_solver, solver_with(max_time_in_seconds=0.0)
    monkeypatch.setattr(model, "new_solver", lambda *args: (usual if next(calls) % 4 < solved else none)(*args))
    for operator in (conv2d(c=4, h=5, w=5, k=4, r=2, s=2), OPERATORS["Gram matrix"]):
        found = embed.best(operator, SMALL)
        verify(found.embedding)
        assert found.status == ("OPTIMAL" if solved == 4 else "FEASIBLE")


@pytest.mark.parametrize(
    ("operator", "reason"),
    [
        (
            gemm(m=4, n=4, k=4, dtype="f32"),
            r"no instruction of vta computes `out\[m,n\] \+= a\[m,k\] \* b\[k,n\]`: gemm is `acc",
        ),
        (gemm(m=4, n=4, k=4, dtype="u8"), "no instruction of vta computes"),
        (
            Operator("expr", (dataflow.infer("out[i,j] = x[i] * y[j]", {"i": 4, "j": 4}, "i8"),)),
            "no instruction of vta computes",
        ),
        (
            Operator("expr", (dataflow.infer("out[i+j] += x[i,k] * y[j,k]", {"i": 4, "j": 4, "k": 4}, "i8"),)),
            "adds to one element from several points of its output dims",
        ),
    ],
)
def test_what_cannot_be_placed_is_refused_with_the_reason(operator: Operator, reason: str) -> None:
    for search in (embed.best, embed.alternatives):
        with pytest.raises(NoEmbedding, match=reason) as raised:
            search(operator, SMALL)
        assert raised.value.exit_code == 1
        assert "\n" not in str(raised.value)


def test_an_unknown_objective_is_refused_with_those_there_are() -> None:
    for search in (embed.best, embed.alternatives):
        with pytest.raises(UserError, match="objective 'speed' is unknown; there are: cycles, invocations, bytes"):
            search(gemm(m=4, n=4, k=4), SMALL, objective="speed")


@pytest.mark.parametrize(
    ("text", "sizes", "reason"),
    [
        ("out[i,k_o] += x[i,k] * y[k_o,k]", {"i": 4, "k_o": 4, "k": 4}, "'k_o' is named like a loop over tiles"),
        ("out[a,b] += x[a,ab] * y[b,ab]", {"a": 4, "b": 4, "ab": 4}, "several of them read 'ab' in a row"),
    ],
)
def test_dims_whose_loops_would_share_a_name_are_refused(text: str, sizes: dict[str, int], reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        embed.best(Operator("expr", (dataflow.infer(text, sizes, "i8"),)), SMALL)
