"""Times several programs beside each other: a little of each, again and again, so that all meet the same clock."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Run = Callable[[], object]
Rates = dict[str, float]

_ROUNDS = 5
_LEAST_ROUNDS = 2
_MOST_ROUNDS = 20
_NEAR = 1.02
"""A time that came twice is no accident: times so near are the same."""

_PROBE_SECONDS = 0.006


@dataclass(frozen=True, slots=True)
class Turn:
    """The shortest time of a runner in one turn, and what the probes read just before and after it, the higher."""

    seconds: float
    rates: Rates


@dataclass(frozen=True, slots=True)
class Race:
    """The turns of each runner."""

    turns: dict[str, list[Turn]]

    def seconds(self, name: str) -> float:
        """The shortest time of a runner."""
        return min(turn.seconds for turn in self.turns[name])

    @property
    def settled(self) -> bool:
        """Whether every runner's shortest time came twice, so that no interruption made it."""
        shortest = (sorted(turn.seconds for turn in turns)[:_LEAST_ROUNDS] for turns in self.turns.values())
        return all(len(each) == _LEAST_ROUNDS and each[-1] <= _NEAR * each[0] for each in shortest)

    def share(self, name: str, work: float, probe: str) -> float:
        """What a runner that does `work` reaches of what the probe reads: its best time against the best reading.

        Picking the best turn over its own probe would favour turns whose probe was interrupted; this never gains from
        one, and counts against long runs where the clock drifts.
        """
        return work / self.seconds(name) / self.rates(probe)[1]

    def rates(self, probe: str) -> tuple[float, float]:
        """The lowest and the highest rate that a probe read."""
        found = [turn.rates[probe] for turns in self.turns.values() for turn in turns]
        return min(found), max(found)


def race(runners: Mapping[str, Run], probes: Mapping[str, Callable[[float], float]], seconds: float) -> Race:
    """Run every runner in turns, and all probes between them, for about `seconds` in all, but each runner twice.

    A race that has not settled by then goes on, four times as long at most. A probe takes the time it may use and
    returns a rate.
    """
    turns: dict[str, list[Turn]] = {name: [] for name in runners}
    share = seconds / (_ROUNDS * max(1, len(runners)))
    start = time.perf_counter()
    found = Race(turns)
    before = _read(probes)
    for number in range(_MOST_ROUNDS):
        if number >= _LEAST_ROUNDS and _over(found, number, (time.perf_counter() - start) / seconds):
            break
        for name, run in runners.items():
            spent = fastest(run, share)
            after = _read(probes)
            turns[name].append(Turn(spent, {key: max(rate, before[key]) for key, rate in after.items()}))
            before = after
    return found


def _over(found: Race, rounds: int, spent: float) -> bool:
    """Whether a race of so many rounds, which took `spent` of its time, is at its end."""
    patience = 1 if found.settled else _MOST_ROUNDS // _ROUNDS
    return rounds >= patience * _ROUNDS or spent > patience


def fastest(run: Run, seconds: float) -> float:
    """The shortest of the runs that fit in `seconds`, at least one."""
    clock = time.perf_counter
    start = clock()
    end = start + seconds
    run()
    best = clock() - start
    while True:
        start = clock()
        if start >= end:
            return best
        run()
        best = min(best, clock() - start)


def _read(probes: Mapping[str, Callable[[float], float]]) -> Rates:
    return {name: probe(_PROBE_SECONDS) for name, probe in probes.items()}
