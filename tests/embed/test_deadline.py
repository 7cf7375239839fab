"""A search ends by effort: on a machine of any speed it finds the same. What the clock ends says so."""

import random
import time
from collections.abc import Callable

import pytest
from regular import SMALL

import embed
import isa
from dataflow import Operator, conv2d, gemm, requantise
from embed.chain import Chain, plan
from embed.solver import deadline, settings
from embed.solver.deadline import Deadline
from embed.solver.listing import alternatives, written
from embed.solver.search import best
from embed.solver.settings import Settings
from embed.vta.executable import VtaKernel

VTA = isa.load("vta")
CONV = requantise(conv2d(c=6, h=7, w=7, k=6, r=3, s=3), shift=2)
OPERATORS = [
    requantise(conv2d(c=3, h=5, w=5, k=4, r=3, s=3)),
    requantise(gemm(m=9, n=20, k=30), bias=True),
    requantise(conv2d(c=4, h=5, w=5, k=4, r=3, s=3, groups=4)),
]


class Clock:
    """A clock beside which the machine is `rate` times as slow as it is."""

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def perf_counter(self) -> float:
        return self.rate * time.perf_counter()


def slowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Solvers come back late, now more and now less, and the clock runs on three times as fast."""
    chance = random.Random(1)
    solve = settings.Solver.solve

    def late(self: settings.Solver, *arguments: object) -> object:
        time.sleep(chance.uniform(0, 0.01))
        return solve(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(settings.Solver, "solve", late)
    monkeypatch.setattr(deadline, "time", Clock(3.0))


def on_every_machine(search: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """What a search says on this machine, on one that needs no time at all, and on a slow one."""
    said = {search()}
    with monkeypatch.context() as patched:
        patched.setattr(deadline, "time", Clock(0.0))
        said.add(search())
    with monkeypatch.context() as patched:
        slowed(patched)
        said.add(search())
    return said


def compiled(operator: Operator) -> str:
    kernel = embed.compile(operator, VTA)
    assert isinstance(kernel, VtaKernel)
    return f"{kernel.embedding} {kernel.schedule} {kernel.code.instructions} {kernel.code.segment('uops').data}"


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: operator.title)
def test_a_slow_machine_makes_the_same_program(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(on_every_machine(lambda: compiled(operator), monkeypatch)) == 1


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5])
def test_a_slow_machine_leaves_the_same(share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Searches whose effort is a part of what the whole would take."""
    whole = Deadline(10)
    enough = whole.effort
    written(CONV, SMALL, Settings(), True, whole)
    monkeypatch.setattr(deadline, "_EFFORT", share * (enough - whole.effort) / 10)

    def listed() -> str:
        found = alternatives(CONV, SMALL, Settings(), dominated=True)
        assert not found.complete
        return f"{found.progress} {[str(embedding) for embedding, _ in found.ranked]}"

    assert len(on_every_machine(listed, monkeypatch)) == 1


def test_a_slow_machine_proves_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is too little effort for all of the operator's own placements, and none for its rewritings."""
    operator = OPERATORS[2]
    monkeypatch.setattr(deadline, "_EFFORT", 0.0003)

    def searched() -> str:
        found = best(operator, SMALL, Settings())
        assert found.status == "FEASIBLE"
        assert "rewritings of the operator" in found.note
        assert "by the clock" not in found.note
        return f"{found.embedding} {found.status} {found.note}"

    assert len(on_every_machine(searched, monkeypatch)) == 1


def test_the_clock_ends_what_takes_too_long() -> None:
    """A second of the clock for every hour of effort."""
    late = Deadline(10)
    late.effort = 3600.0
    assert not late.passed
    late.end -= 10
    assert late.passed
    assert late.struck
    said = str(written(CONV, SMALL, Settings(), True, late).progress)
    assert "by the clock: another run may come further" in said
    late.spend(3600.0)
    assert not late.struck


def test_a_slow_machine_leaves_the_same_of_a_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too little effort for the kernels of the first operator: what is left is a little for each of the others."""
    layer = conv2d(c=16, h=6, w=6, k=16, r=1, s=1, dtype="f32")
    monkeypatch.setattr(deadline, "_EFFORT", 0.005)
    monkeypatch.setattr(deadline, "_LEAST", 2.0)

    def planned() -> str:
        found = plan(Chain.of([layer, layer]), isa.load("avx512"))
        assert found.left
        return f"{found.cycles} {found.bound} {found.left} {[str(option.embedding) for option in found.options]}"

    assert len(on_every_machine(planned, monkeypatch)) == 1
