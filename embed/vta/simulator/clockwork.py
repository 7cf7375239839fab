"""Fetch and three engines, driven by events, sharing one read bus: the state of a timed run and how it moves on."""

import heapq
from array import array
from collections import deque
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from embed.vta.engines import Engine, Queue
from embed.vta.simulator.bus import Bus
from embed.vta.simulator.costs import Traffic
from embed.vta.simulator.errors import SimulationError
from embed.vta.simulator.kinds import Kind, KindTable
from embed.vta.simulator.report import FETCH
from embed.vta.simulator.timing import TimingModel

FETCH_WAIT, BUS_WAIT, TOKEN_WAIT = 0, 1, 2
"""Places in `Lane.waiting`: no instruction, other readers on the bus, and from TOKEN_WAIT on the token queues."""


class Event(IntEnum):
    """What happens, in the order of events of one cycle."""

    DONE = 0
    FETCHED = 1
    DELIVER = 2
    REQUEST = 3


@dataclass(slots=True)
class Lane:
    """One engine: its instructions `places` in the program, delivered up to `tail`, done up to `head`.

    The running instruction stays at the head until it ends. Cycles by instruction: `delivered`, `start`, `end`, -1
    where it has not come to that.
    """

    places: "array[int]"
    delivered: "array[int]"
    start: "array[int]"
    end: "array[int]"
    head: int = 0
    tail: int = 0
    running: bool = False
    free: int = 0
    busy: int = 0
    waiting: list[int] = field(default_factory=lambda: [0] * (TOKEN_WAIT + len(Queue)))

    @property
    def started(self) -> int:
        return self.head + self.running


class Clockwork:
    """The machine between two cycles. `pushed` are the arrivals of tokens that nobody has popped yet."""

    def __init__(self, table: KindTable, model: TimingModel) -> None:
        self.model = model
        self.numbers = table.numbers
        self.lanes = _lanes(table)
        self.bus = Bus(model)
        self.pushed: list[deque[int]] = [deque() for _ in Queue]
        self.popped = [0] * len(Queue)
        self.next = 0
        self.beats = 0
        self.blocked: Engine | None = None
        self.events: list[tuple[int, int, int]] = []
        self._readers = {kind.cost.client: self.lanes[kind.role.engine] for kind in table.kinds if kind.cost.traffic}
        self._kinds: list[Kind] = [table.kinds[number] for number in table.numbers.tolist()]
        self._chunk_end = 0
        self._fetch(0)

    def settle(self) -> bool:
        """Let the bus grant what comes before the next event; says whether there is one."""
        events = self.events
        while granted := self.bus.advance(events[0][0] if events else float("inf")):
            self._received(*granted)
        return bool(events)

    def step(self) -> None:
        """Handle the next event of a machine that has settled."""
        time, event, item = heapq.heappop(self.events)
        if event == Event.DONE:
            self._done(time, item)
        elif event == Event.REQUEST:
            self._request(time, item)
        elif event == Event.DELIVER:
            self._deliver(time)
        else:
            self._post(time + 1, Event.DELIVER, 0)

    @property
    def fetches(self) -> bool:
        """Whether the next event is a request for instructions: all that were fetched before have been delivered."""
        _, event, item = self.events[0]
        return event == Event.REQUEST and item < 0

    def fetch_from(self, place: int) -> None:
        """Let the request for instructions that comes next ask for others."""
        self.next = place
        self._chunk_end = min(place + self.model.fetch_chunk, len(self._kinds))

    def _fetch(self, time: int) -> None:
        """Ask for the next chunk of instructions, if any is left."""
        if self.next < len(self._kinds):
            self.fetch_from(self.next)
            self._post(time + self.model.fetch_overhead, Event.REQUEST, -1)

    def _deliver(self, time: int) -> None:
        """Hand one instruction to its engine, or wait until the engine's queue has room."""
        engine = self._kinds[self.next].role.engine
        lane = self.lanes[engine]
        if lane.tail - lane.head >= self.model.queue_entries:
            self.blocked = engine
            return
        lane.delivered[lane.tail] = time
        lane.tail += 1
        self.next += 1
        if self.next < self._chunk_end:
            self._post(time + 1, Event.DELIVER, 0)
        else:
            self._fetch(time)
        self._try_start(lane, time)

    def _request(self, time: int, item: int) -> None:
        if item < 0:
            traffic, client = _instruction_traffic(self._chunk_end - self.next, self.model), FETCH
        else:
            cost = self._kinds[item].cost
            assert cost.traffic is not None
            traffic, client = cost.traffic, cost.client
        self.beats += traffic.beats
        self.bus.request(client, time, traffic)

    def _received(self, client: str, time: int) -> None:
        """All bursts of a client's transfer are granted; its last beat ends at `time`."""
        if client == FETCH:
            self._post(time, Event.FETCHED, 0)
            return
        lane = self._readers[client]
        index = lane.places[lane.head]
        floor = lane.start[lane.head] + self._kinds[index].cost.floor
        self._post(max(time, floor), Event.DONE, index)

    def _try_start(self, lane: Lane, time: int) -> None:
        if lane.running or lane.head == lane.tail:
            return
        index = lane.places[lane.head]
        kind = self._kinds[index]
        for queue in kind.pops:
            if not self.pushed[queue]:
                return
        self._account(lane, kind, time)
        for queue in kind.pops:
            self.pushed[queue].popleft()
            self.popped[queue] += 1
        lane.running = True
        lane.start[lane.head] = time
        cost = kind.cost
        if cost.traffic is None:
            self._post(time + cost.cycles, Event.DONE, index)
        else:
            self._post(time + cost.lead, Event.REQUEST, index)

    def _account(self, lane: Lane, kind: Kind, time: int) -> None:
        """Say what the engine waited for since it was free: first its instruction, then each token as it came."""
        since = max(lane.free, lane.delivered[lane.head])
        lane.waiting[FETCH_WAIT] += since - lane.free
        for arrival, queue in sorted((self.pushed[queue][0], queue) for queue in kind.pops):
            if arrival > since:
                lane.waiting[TOKEN_WAIT + queue] += arrival - since
                since = arrival
        assert since == time

    def _done(self, time: int, index: int) -> None:
        kind = self._kinds[index]
        lane = self.lanes[kind.role.engine]
        lane.waiting[BUS_WAIT] += time - lane.start[lane.head] - kind.cost.cycles
        lane.busy += kind.cost.cycles
        lane.end[lane.head] = time
        lane.head += 1
        lane.running, lane.free = False, time
        for queue in kind.pushes:
            self._push(queue, time, index)
        if self.blocked is kind.role.engine:
            self.blocked = None
            self._post(time, Event.DELIVER, 0)
        self._try_start(lane, time)

    def _push(self, queue: Queue, time: int, index: int) -> None:
        self.pushed[queue].append(time)
        self._try_start(self.lanes[queue.consumer], time)
        limit = self.model.token_limit
        if len(self.pushed[queue]) > limit:
            raise SimulationError(index, f"a token is lost: {queue.label} counts to {limit} only")

    def _post(self, time: int, event: Event, item: int) -> None:
        heapq.heappush(self.events, (time, event, item))


def _lanes(table: KindTable) -> list[Lane]:
    """Empty lanes, in the order of `Engine`."""
    engines = np.array([kind.role.engine for kind in table.kinds], np.int64)[table.numbers]
    lanes = []
    for engine in Engine:
        places = array("q", np.flatnonzero(engines == engine).astype(np.int64).tobytes())
        delivered, start, end = (array("q", [-1]) * len(places) for _ in range(3))
        lanes.append(Lane(places, delivered, start, end))
    return lanes


def _instruction_traffic(count: int, model: TimingModel) -> Traffic:
    size = count * model.instruction_bytes
    return Traffic(-(-size // model.bus_bytes), -(-size // model.burst_bytes), size)
