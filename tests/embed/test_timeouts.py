"""A search that is cut short says what is proven, held against the optimum, and what is left; without a clock."""

from pathlib import Path

import pytest
from limited import solver_with
from regular import SMALL

import embed
import isa
from dataflow import conv2d, gemm, requantise
from embed.chain import Chain, plan
from embed.cpu.choosing import rank
from embed.demands import Demand
from embed.errors import NoEmbedding
from embed.progress import Progress
from embed.solver import chain as chain_solver
from embed.solver import model
from embed.solver.deadline import Deadline
from embed.solver.listing import alternatives
from embed.solver.model import PricedPlacements
from embed.solver.questions import problems
from embed.solver.search import best
from embed.solver.settings import Settings
from embed.solver.whynot import conflict, explained

CONV = requantise(conv2d(c=6, h=7, w=7, k=6, r=3, s=3), shift=2)
NO_EFFORT = (("max_deterministic_time", 0.0),)


@pytest.mark.parametrize("objective", ["cycles", "invocations", "bytes"])
def test_no_effort_proves_a_bound(objective: str) -> None:
    found = best(CONV, SMALL, Settings(objective)).costs
    optimum = {"cycles": found.cycles, "invocations": found.invocations, "bytes": found.bytes}[objective]
    with pytest.raises(NoEmbedding) as raised:
        best(CONV, SMALL, Settings(objective, parameters=NO_EFFORT))
    progress = raised.value.progress
    assert progress is not None
    assert 0 < (progress.bound or 0) <= optimum
    assert f"none takes less than {progress.bound:,} {objective}" in str(raised.value)
    assert progress.left[:2] == ("gemm(inp->inp, wgt->wgt)", "gemm(wgt->inp, inp->wgt)")
    assert "was found within an effort of 0" in str(raised.value)
    assert "raise the time limit" in str(raised.value)


def test_the_best_so_far_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    optimum = best(CONV, SMALL, Settings()).costs.cycles
    monkeypatch.setattr(model, "new_solver", solver_with(stop_after_first_solution=True))
    found = best(CONV, SMALL, Settings())
    assert found.status == "FEASIBLE"
    assert found.progress is not None
    assert 0 < (found.progress.bound or 0) <= optimum <= found.costs.cycles
    assert "the time limit ended the search: none takes less than" in found.note


def test_nothing_is_noted_where_all_is_proven() -> None:
    found = best(CONV, SMALL, Settings())
    assert (found.status, found.progress, found.note) == ("OPTIMAL", None, "")
    listed = alternatives(CONV, SMALL, Settings())
    assert listed.complete
    assert listed.progress == Progress(2)


def test_a_list_says_what_is_left() -> None:
    listed = alternatives(CONV, SMALL, Settings(parameters=NO_EFFORT))
    assert not listed.complete
    assert len(listed) < len(alternatives(CONV, SMALL, Settings()))
    assert str(listed.progress).startswith(
        "0 of 2 models are searched to the end, left: gemm(inp->inp, wgt->wgt), gemm("
    )


@pytest.mark.parametrize("target", [SMALL, isa.load(str(Path(__file__).parent.parent / "isa_files" / "edge_i4.toml"))])
def test_kernels_carry_the_note(target: isa.Isa, monkeypatch: pytest.MonkeyPatch) -> None:
    operator = gemm(m=9, n=7, k=10, dtype="i4" if target.name != "vta" else "i8")
    assert embed.compile(operator, target).note == ""
    monkeypatch.setattr(model, "new_solver", solver_with(stop_after_first_solution=True))
    assert "none takes less than" in embed.compile(operator, target).note
    monkeypatch.setattr(model, "new_solver", solver_with(max_deterministic_time=0.0))
    with pytest.raises(NoEmbedding, match=r"none takes less than .* cycles; 0 of"):
        embed.compile(operator, target)


def test_a_chain_keeps_the_plan_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = requantise(conv2d(c=8, h=6, w=6, k=8, r=1, s=1), shift=2)
    chain = Chain.of([layer, requantise(conv2d(c=8, h=6, w=6, k=16, r=1, s=1), shift=2)])
    proven = plan(chain, SMALL)
    monkeypatch.setattr(chain_solver, "new_solver", solver_with(max_deterministic_time=0.0))
    cut = plan(chain, SMALL)
    assert cut.status == "FEASIBLE"
    assert 0 < cut.bound <= proven.cycles <= cut.cycles <= cut.greedy
    with pytest.raises(NoEmbedding, match=r"operator 1: .* in conv2d .* within an effort of 0: .* 0 of 2 models"):
        plan(chain, SMALL, settings=Settings(parameters=NO_EFFORT))


def test_a_chain_whose_embeddings_are_not_all_known(monkeypatch: pytest.MonkeyPatch) -> None:
    chain = Chain.of([requantise(conv2d(c=8, h=6, w=6, k=8, r=3, s=3), shift=2)])
    proven = plan(chain, SMALL)
    monkeypatch.setattr(model, "new_solver", solver_with(stop_after_first_solution=True))
    cut = plan(chain, SMALL)
    assert (cut.status, cut.left) == ("FEASIBLE", ("1",))
    assert 0 < cut.bound <= proven.cycles <= cut.cycles


def test_reasons_say_what_was_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list(problems(CONV, SMALL))
    demands = [Demand.read("loop=k"), Demand.read("lane=o:k")]
    monkeypatch.setattr(PricedPlacements, "feasible", lambda *_: None)
    found = conflict(asked, demands, Settings(), Deadline(0))
    assert found.demands == found.untried == tuple(demands)
    said = explained(asked, found, Settings(), Deadline(0))
    assert said.endswith("(the time ran out before it was known whether loop=k, lane=o:k could stay)")


def test_a_cpu_kernel_says_what_is_left() -> None:
    with pytest.raises(NoEmbedding, match=r"6 of 6 placements left, of which none takes less than [\d,]+ cycles"):
        embed.compile(conv2d(c=8, h=6, w=6, k=8, r=3, s=3, dtype="f32"), isa.load("avx2"), time_limit=1e-9)
    assert rank._note([], 6, 1, True) == ""
    assert "2 of 6 placements left, of which none takes less than 70 cycles; this is the best" in rank._note(
        [70.0, 90.0], 6, 1, True
    )
