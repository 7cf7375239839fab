"""The read bus: bursts of five clients, granted by priority into a queue of bounded length, one beat per cycle."""

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

from embed.vta.roles import Scratchpad
from embed.vta.simulator.costs import Traffic
from embed.vta.simulator.report import FETCH
from embed.vta.simulator.timing import TimingModel

CLIENTS = (FETCH, Scratchpad.UOP, Scratchpad.INP, Scratchpad.WGT, Scratchpad.ACC)
"""Who reads, highest priority first (tvm-vta Chisel: the read arbiter of the memory engine)."""


@dataclass(slots=True)
class _Request:
    arrival: int
    beats: int
    bursts: int
    granted: int = 0

    def sent(self, bursts: int) -> int:
        """Beats of the first so many bursts."""
        return bursts * self.beats // self.bursts


class BusState(NamedTuple):
    """What a bus does from some cycle on, in cycles from then: transfers under way and ends of bursts outstanding."""

    waiting: tuple[tuple[int, int, int] | None, ...]
    ends: tuple[int, ...]
    next_grant: int
    free: int


class Bus:
    """Grants bursts in order of time; the owner tells it up to when no new request can arrive.

    A burst is granted when a place among the outstanding ones is free, at most one per cycle, to the
    first waiting client by priority. Its beats follow those granted before, no earlier than the memory
    latency after the grant.
    """

    def __init__(self, model: TimingModel) -> None:
        self._latency = model.memory_latency
        self._waiting: list[_Request | None] = [None] * len(CLIENTS)
        self._places = model.outstanding_bursts
        self._ends: deque[int] = deque([0] * self._places, self._places)
        self._next_grant = 0
        self._free = 0

    def request(self, client: str, time: int, traffic: Traffic) -> None:
        """Ask for a transfer; a client has one at a time."""
        place = CLIENTS.index(client)
        assert self._waiting[place] is None, f"{client} already has a transfer"
        self._waiting[place] = _Request(time, traffic.beats, traffic.bursts)

    def advance(self, horizon: float) -> tuple[str, int] | None:
        """Grant bursts at times before `horizon` until a transfer is granted in full: its client and its last cycle."""
        for place, request in enumerate(self._waiting):
            if request is None:
                continue
            self._grant(request, horizon)
            if request.granted < request.bursts:
                return None
            self._waiting[place] = None
            return CLIENTS[place], self._free
        return None

    def state(self, now: int) -> "BusState":
        """All that decides what happens from `now` on, relative to it; every grant before `now` has been made."""
        waiting = tuple((each.granted, each.beats, each.bursts) if each else None for each in self._waiting)
        ends = tuple(end - now if end > now else 0 for end in self._ends)
        return BusState(waiting, ends, max(self._next_grant - now, 0), max(self._free - now, 0))

    def shift(self, cycles: int) -> None:
        """Move everything to a later time."""
        for request in self._waiting:
            if request is not None:
                request.arrival += cycles
        self._ends = deque((end + cycles for end in self._ends), self._places)
        self._next_grant += cycles
        self._free += cycles

    def _grant(self, request: _Request, horizon: float) -> None:
        """Grant bursts of one request before `horizon`."""
        latency, ends, free = self._latency, self._ends, self._free
        time = max(self._next_grant, request.arrival)
        sent, chained = request.sent(request.granted), 0
        while request.granted < request.bursts:
            if chained == self._places and time <= ends[0] and self._streams(request):
                self._free, self._next_grant = free, time
                self._stream(request, horizon)
                return
            time = max(time, ends[0])
            if time >= horizon:
                break
            request.granted += 1
            total = request.sent(request.granted)
            chained = chained + 1 if free >= time + latency else 0
            free = max(free, time + latency) + total - sent
            sent = total
            ends.append(free)
            time += 1
        self._free = free
        if request.granted:
            self._next_grant = time

    def _streams(self, request: _Request) -> bool:
        """Whether beats follow beats as long as all places are taken: each burst has one, and they hide the latency."""
        hidden = (self._places - 1) * request.beats // request.bursts >= self._latency
        return hidden and request.beats >= request.bursts

    def _stream(self, request: _Request, horizon: float) -> None:
        """Grant all bursts before `horizon` at once, each when the one `places` before it ends.

        The bursts outstanding are the request's own, and their beats have followed one another: so will the others'.
        """
        places, first = self._places, self._free - request.sent(request.granted)
        last = request.bursts
        if horizon < float("inf"):
            last = min(last, places + ((int(horizon) - first) * request.bursts - 1) // request.beats)
        if last <= request.granted:
            return
        request.granted = last
        self._ends = deque((first + request.sent(n) for n in range(last - places + 1, last + 1)), places)
        self._free = self._ends[-1]
        self._next_grant = first + request.sent(last - places) + 1
