"""Leaps in time: a program that repeats itself brings the machine back to a state it was in, and the rest follows.

What happens from a request for instructions on follows from the state of fetch, engines, tokens and bus, in cycles from
then, and from the instructions to come. If the state is one of before, and the instructions between come again k times,
then the next k periods pass like the last: every count grows by as much, every time by as many cycles.
"""

import heapq
from array import array
from collections import deque
from dataclasses import dataclass

import numpy as np

from embed.vta.engines import Queue
from embed.vta.simulator.clockwork import Clockwork, Lane

_AHEAD = 128
"""Coming instructions by which states are told apart when they are looked up."""

_Key = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class _LaneState:
    """A lane's counters; `free` and `delivered` (of its first instruction) are times that only its accounts need."""

    head: int
    tail: int
    running: bool
    free: int
    delivered: int
    busy: int
    waiting: tuple[int, ...]

    @property
    def started(self) -> int:
        return self.head + self.running


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """The machine at a request for instructions; the next to be fetched is number `next`."""

    time: int
    next: int
    beats: int
    lanes: tuple[_LaneState, ...]
    popped: tuple[int, ...]
    arrivals: tuple[tuple[int, ...], ...]


class Repeats:
    """Remembers the machine at every request for instructions, and lets it leap where it repeats itself."""

    def __init__(self, clock: Clockwork) -> None:
        self._clock = clock
        self._seen: dict[_Key, _Snapshot] = {}

    def leap(self) -> None:
        """Skip the whole periods that are sure to pass like the last one; the next event is a request to fetch."""
        now = self._snapshot()
        key = self._key(now)
        before = self._seen.get(key)
        self._seen[key] = now
        if before is None or not self._alike(before, now):
            return
        count = self._coming(before, now)
        if count:
            self._skip(before, now, count)
            after = self._snapshot()
            self._seen[self._key(after)] = after

    def _snapshot(self) -> _Snapshot:
        clock = self._clock
        arrivals = tuple(map(tuple, clock.pushed))
        lanes = tuple(map(_lane_state, clock.lanes))
        return _Snapshot(clock.events[0][0], clock.next, clock.beats, lanes, tuple(clock.popped), arrivals)

    def _key(self, now: _Snapshot) -> _Key:
        """What decides how the machine goes on, but for the instructions in the queues, which `_alike` compares."""
        clock, time = self._clock, now.time
        engines = {lane.places[lane.head]: number for number, lane in enumerate(clock.lanes) if lane.running}
        events = tuple((at - time, event, engines.get(item)) for at, event, item in sorted(clock.events))
        running = tuple(lane.start[lane.head] - time if lane.running else None for lane in clock.lanes)
        queued = tuple(lane.tail - lane.head for lane in clock.lanes)
        ahead = clock.numbers[now.next : now.next + _AHEAD].tobytes()
        return events, clock.bus.state(time), running, queued, tuple(map(len, now.arrivals)), ahead

    def _alike(self, before: _Snapshot, now: _Snapshot) -> bool:
        """Whether the queues hold the same instructions, and what has been accounted for will be again.

        An engine that did nothing meanwhile, or a queue nobody took from, stays as it is until it does.
        """
        clock = self._clock
        for lane, old, new in zip(clock.lanes, before.lanes, now.lanes, strict=True):
            idle = (old.started, old.tail) == (new.started, new.tail)
            if not idle and not _same_lane(clock, lane, (before, old), (now, new)):
                return False
        return all(
            before.popped[queue] == now.popped[queue]
            or [at - before.time for at in before.arrivals[queue]] == [at - now.time for at in now.arrivals[queue]]
            for queue in Queue
        )

    def _coming(self, before: _Snapshot, now: _Snapshot) -> int:
        """Whole periods for which the instructions to come are those of the last; something is left to fetch then."""
        numbers, period = self._clock.numbers, now.next - before.next
        same, most, block = 0, len(numbers) - 1 - now.next, _AHEAD
        while same < most:
            first, block = now.next + same, min(2 * block, most - same)
            differ = numbers[first : first + block] != numbers[first - period : first - period + block]
            if differ.any():
                return (same + int(differ.argmax())) // period
            same += block
        return same // period

    def _skip(self, before: _Snapshot, now: _Snapshot, count: int) -> None:
        clock, period = self._clock, now.time - before.time
        cycles = count * period
        running = {lane.places[lane.head]: lane for lane in clock.lanes if lane.running}
        for lane, old, new in zip(clock.lanes, before.lanes, now.lanes, strict=True):
            _skip_lane(lane, old, new, count, period)
        clock.beats += count * (now.beats - before.beats)
        for queue in Queue:
            taken = now.popped[queue] - before.popped[queue]
            clock.popped[queue] += count * taken
            if taken:
                clock.pushed[queue] = deque(at + cycles for at in clock.pushed[queue])
        lanes = [running.get(item) for _, _, item in clock.events]
        moved = zip(clock.events, lanes, strict=True)
        clock.events = [(at + cycles, event, lane.places[lane.head] if lane else -1) for (at, event, _), lane in moved]
        heapq.heapify(clock.events)
        clock.bus.shift(cycles)
        clock.fetch_from(now.next + count * (now.next - before.next))


def _lane_state(lane: Lane) -> _LaneState:
    delivered = lane.delivered[lane.head] if lane.tail > lane.head else 0
    return _LaneState(lane.head, lane.tail, lane.running, lane.free, delivered, lane.busy, tuple(lane.waiting))


def _same_lane(
    clock: Clockwork, lane: Lane, before: tuple[_Snapshot, _LaneState], now: tuple[_Snapshot, _LaneState]
) -> bool:
    """Whether a queue holds the same instructions, as far back in the program, and its accounts stand alike."""
    queues, accounts = [], []
    for moment, state in (before, now):
        places = np.array(lane.places[state.head : state.tail], np.int64)
        queues.append((places - moment.next, clock.numbers[places]))
        waits = state.tail > state.head and not state.running
        accounts.append((not state.running and state.free - moment.time, waits and state.delivered - moment.time))
    (back, kinds), (back_now, kinds_now) = queues
    return accounts[0] == accounts[1] and np.array_equal(back, back_now) and np.array_equal(kinds, kinds_now)


def _skip_lane(lane: Lane, old: _LaneState, new: _LaneState, count: int, period: int) -> None:
    each = new.started - old.started
    if not each:
        return
    _continue(lane.delivered, old.tail, new.tail, count, period)
    _continue(lane.start, old.started, new.started, count, period)
    _continue(lane.end, old.head, new.head, count, period)
    lane.head += count * each
    lane.tail += count * each
    lane.free += count * period
    lane.busy += count * (new.busy - old.busy)
    lane.waiting = [n + count * (n - o) for o, n in zip(old.waiting, new.waiting, strict=True)]


def _continue(times: "array[int]", first: int, last: int, count: int, period: int) -> None:
    """Write `count` more periods after times[first:last], each `period` later than the one before."""
    view = np.frombuffer(times, np.int64)
    size = last - first
    later = period * np.arange(1, count + 1)[:, None]
    view[last : last + count * size] = (view[first:last] + later).reshape(-1)
