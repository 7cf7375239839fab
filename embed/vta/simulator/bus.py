"""The read bus: bursts of five clients, granted by priority into a queue of bounded length, one beat per cycle."""

from collections import deque
from dataclasses import dataclass

from embed.vta.simulator.costs import Traffic
from embed.vta.simulator.timing import TimingModel

CLIENTS = ("fetch", "uop", "inp", "wgt", "acc")
"""Who reads, highest priority first (tvm-vta Chisel: the read arbiter of the memory engine)."""


@dataclass(slots=True)
class _Request:
    arrival: int
    beats: int
    bursts: int
    granted: int = 0


class Bus:
    """Grants bursts in order of time; the owner tells it up to when no new request can arrive.

    A burst is granted when a place among the outstanding ones is free, at most one per cycle, to the
    first waiting client by priority. Its beats follow those granted before, no earlier than the memory
    latency after the grant.
    """

    def __init__(self, model: TimingModel) -> None:
        self._latency = model.memory_latency
        self._waiting: list[_Request | None] = [None] * len(CLIENTS)
        self._ends: deque[int] = deque([0] * model.outstanding_bursts, model.outstanding_bursts)
        self._next_grant = 0
        self._free = 0

    def request(self, client: str, time: int, traffic: Traffic) -> None:
        """Ask for a transfer; a client has one at a time."""
        place = CLIENTS.index(client)
        assert self._waiting[place] is None, f"{client} already has a transfer"
        self._waiting[place] = _Request(time, traffic.beats, traffic.bursts)

    def advance(self, horizon: float) -> tuple[str, int] | None:
        """Grant bursts at times before `horizon` until a transfer is granted in full: its client and its last cycle."""
        while True:
            place = next((place for place, request in enumerate(self._waiting) if request), None)
            if place is None:
                return None
            request = self._waiting[place]
            assert request is not None
            if not self._grant(request, horizon):
                return None
            if request.granted == request.bursts:
                self._waiting[place] = None
                return CLIENTS[place], self._free

    def _grant(self, request: _Request, horizon: float) -> bool:
        """Grant bursts of one request before `horizon`; says whether it got them all."""
        latency, ends, free, time = self._latency, self._ends, self._free, self._next_grant
        beats, bursts, granted = request.beats, request.bursts, request.granted
        sent = granted * beats // bursts
        time = max(time, request.arrival)
        while granted < bursts:
            if ends[0] > time:
                time = ends[0]
            if time >= horizon:
                break
            granted += 1
            total = granted * beats // bursts
            free = (free if free > time + latency else time + latency) + total - sent
            sent = total
            ends.append(free)
            time += 1
        request.granted, self._free = granted, free
        if granted > 0:
            self._next_grant = time
        return granted == bursts
