"""Interleaved timing with a clock that is made up: what counts is order and arithmetic, not how long anything takes."""

import itertools

import pytest

from deepbench.native import race as module
from deepbench.native.race import Race, Turn, fastest, race


class Clock:
    """Time that passes only where a runner says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def run(self, *seconds: float) -> "Run":
        return Run(self, seconds)


class Run:
    def __init__(self, clock: Clock, seconds: tuple[float, ...]) -> None:
        self.clock, self.seconds, self.calls = clock, itertools.cycle(seconds), 0

    def __call__(self) -> None:
        self.calls += 1
        self.clock.now += next(self.seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(module, "time", found)
    return found


def test_the_shortest_run_counts(clock: Clock) -> None:
    assert fastest(clock.run(3.0, 1.0, 2.0), 10.0) == 1.0


def test_a_long_run_happens_once(clock: Clock) -> None:
    run = clock.run(100.0)
    assert fastest(run, 1.0) == 100.0
    assert run.calls == 1


def test_every_runner_has_two_turns_at_least_with_probes_between(clock: Clock) -> None:
    order: list[str] = []

    def runner(name: str) -> Run:
        run = clock.run(50.0)
        return lambda: (order.append(name), run())  # type: ignore[return-value]

    def probe(_: float) -> float:
        order.append("probe")
        return 10.0

    found = race({"a": runner("a"), "b": runner("b")}, {"peak": probe}, 1.0)
    assert order == ["probe", *["a", "probe", "b", "probe"] * 2]
    assert found.seconds("a") == 50.0
    assert len(found.turns["b"]) == 2


def test_a_race_goes_on_until_the_shortest_times_came_twice(clock: Clock) -> None:
    interrupted = clock.run(9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 3.0)
    found = race({"a": interrupted}, {}, 10.0)
    assert [turn.seconds for turn in found.turns["a"]] == [9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0]
    assert not found.settled
    steady = race({"a": clock.run(3.0)}, {}, 10.0)
    assert steady.settled
    assert len(steady.turns["a"]) == 4


def test_an_interrupted_probe_raises_no_share() -> None:
    found = Race({"a": [Turn(1.0, {"peak": 100.0}), Turn(1.0, {"peak": 5.0})]})
    assert found.share("a", 60.0, "peak") == pytest.approx(0.6)
    assert found.rates("peak") == (5.0, 100.0)


def test_all_runners_are_shares_of_the_same_probe() -> None:
    turns = {"a": [Turn(1.0, {"peak": 50.0})], "b": [Turn(2.0, {"peak": 100.0})]}
    assert Race(turns).share("a", 60.0, "peak") == pytest.approx(0.6)
    assert Race(turns).share("b", 60.0, "peak") == pytest.approx(0.3)
