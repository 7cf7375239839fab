"""The timed simulator: fetch and three engines, driven by events, sharing one read bus."""

import heapq
from collections import Counter, deque
from collections.abc import Mapping
from enum import IntEnum

import numpy as np

from embed.vta.engines import Engine, Queue, Step, steps
from embed.vta.machine import Machine
from embed.vta.program import Program
from embed.vta.simulator.bus import Bus
from embed.vta.simulator.costs import Cost, Traffic, cost_of, traffic_of
from embed.vta.simulator.dma import shape_of
from embed.vta.simulator.errors import SimulationError
from embed.vta.simulator.indices import loops_of
from embed.vta.simulator.report import BUS, END, FETCH, EngineTime, TimingReport
from embed.vta.simulator.timing import TimingModel


def time_program(program: Program, machine: Machine, model: TimingModel) -> TimingReport:
    """Run a program for its cycles alone; its data are not looked at.

    Raises SimulationError on what the hardware lacks, on deadlock (tokens or full instruction queues),
    on a lost token and on work that is left when FINISH ends.
    """
    return _Clockwork(steps(program.instructions), machine, model).run()


class _Event(IntEnum):
    DONE = 0
    FETCHED = 1
    DELIVER = 2
    REQUEST = 3


class _Lane:
    """One engine: its instruction queue (the running instruction stays at the head until it ends)."""

    def __init__(self) -> None:
        self.queue: deque[int] = deque()
        self.running = False
        self.free = 0
        self.busy = 0
        self.waiting: Counter[str] = Counter()


class _Clockwork:
    def __init__(self, program: list[Step], machine: Machine, model: TimingModel) -> None:
        self._steps = program
        self._model = model
        for step in program:
            _require_hardware(step)
        sizes = machine.element_bytes
        self._costs = [cost_of(step, sizes, model) for step in program]
        self._bytes = _bytes(program, self._costs, sizes, model)
        self._bus = Bus(model)
        self._lanes = {engine: _Lane() for engine in Engine}
        self._pushed: dict[Queue, list[int]] = {queue: [] for queue in Queue}
        self._popped = dict.fromkeys(Queue, 0)
        self._start = [-1] * len(program)
        self._end = [-1] * len(program)
        self._delivered = [-1] * len(program)
        self._next = 0
        self._chunk_end = 0
        self._blocked: Engine | None = None
        self._beats = 0
        self._events: list[tuple[int, int, int]] = []

    def run(self) -> TimingReport:
        self._fetch(0)
        events = self._events
        handlers = {
            _Event.DONE: self._done,
            _Event.FETCHED: self._fetched,
            _Event.DELIVER: self._deliver,
            _Event.REQUEST: self._request,
        }
        while True:
            granted = self._bus.advance(events[0][0] if events else float("inf"))
            if granted:
                self._received(*granted)
            elif events:
                time, kind, item = heapq.heappop(events)
                handlers[_Event(kind)](time, item)
            else:
                return self._report()

    def _fetch(self, time: int) -> None:
        """Ask for the next chunk of instructions, if any is left."""
        if self._next < len(self._steps):
            self._chunk_end = min(self._next + self._model.fetch_chunk, len(self._steps))
            self._post(time + self._model.fetch_overhead, _Event.REQUEST, -1)

    def _fetched(self, time: int, _: int) -> None:
        self._post(time + 1, _Event.DELIVER, 0)

    def _deliver(self, time: int, _: int) -> None:
        """Hand one instruction to its engine, or wait until the engine's queue has room."""
        step = self._steps[self._next]
        lane = self._lanes[step.engine]
        if len(lane.queue) >= self._model.queue_entries:
            self._blocked = step.engine
            return
        lane.queue.append(step.index)
        self._delivered[step.index] = time
        self._next += 1
        if self._next < self._chunk_end:
            self._post(time + 1, _Event.DELIVER, 0)
        else:
            self._fetch(time)
        self._try_start(step.engine, time)

    def _request(self, time: int, item: int) -> None:
        if item < 0:
            traffic = _instruction_traffic(self._chunk_end - self._next, self._model)
            client = "fetch"
        else:
            cost = self._costs[item]
            assert cost.traffic is not None
            traffic, client = cost.traffic, cost.client
        self._beats += traffic.beats
        self._bus.request(client, time, traffic)

    def _received(self, client: str, time: int) -> None:
        """All bursts of a client's transfer are granted; its last beat ends at `time`."""
        if client == "fetch":
            self._post(time, _Event.FETCHED, 0)
            return
        engine = Engine.LOAD if client in ("inp", "wgt") else Engine.COMPUTE
        index = self._lanes[engine].queue[0]
        self._post(max(time, self._start[index] + self._costs[index].floor), _Event.DONE, index)

    def _try_start(self, engine: Engine, time: int) -> None:
        lane = self._lanes[engine]
        if lane.running or not lane.queue:
            return
        index = lane.queue[0]
        pops = self._steps[index].pops
        if any(self._popped[queue] >= len(self._pushed[queue]) for queue in pops):
            return
        self._account(lane, index, time)
        for queue in pops:
            self._popped[queue] += 1
        lane.running = True
        self._start[index] = time
        cost = self._costs[index]
        if cost.traffic is None:
            self._post(time + cost.cycles, _Event.DONE, index)
        else:
            self._post(time + cost.lead, _Event.REQUEST, index)

    def _account(self, lane: _Lane, index: int, time: int) -> None:
        """Say what the engine waited for since it was free: first its instruction, then each token as it came."""
        since = max(lane.free, self._delivered[index])
        lane.waiting[FETCH] += since - lane.free
        arrivals = sorted((self._pushed[queue][self._popped[queue]], queue) for queue in self._steps[index].pops)
        for arrival, queue in arrivals:
            if arrival > since:
                lane.waiting[queue.label] += arrival - since
                since = arrival
        assert since == time

    def _done(self, time: int, index: int) -> None:
        step, cost = self._steps[index], self._costs[index]
        lane = self._lanes[step.engine]
        lane.queue.popleft()
        lane.running, lane.free = False, time
        self._end[index] = time
        lane.busy += cost.cycles
        lane.waiting[BUS] += time - self._start[index] - cost.cycles
        for queue in step.pushes:
            self._push(queue, time, index)
        if self._blocked is step.engine:
            self._blocked = None
            self._post(time, _Event.DELIVER, 0)
        self._try_start(step.engine, time)

    def _push(self, queue: Queue, time: int, index: int) -> None:
        self._pushed[queue].append(time)
        self._try_start(queue.consumer, time)
        limit = self._model.token_limit
        if len(self._pushed[queue]) - self._popped[queue] > limit:
            raise SimulationError(index, f"a token is lost: {queue.label} counts to {limit} only")

    def _post(self, time: int, kind: _Event, item: int) -> None:
        heapq.heappush(self._events, (time, kind, item))

    def _report(self) -> TimingReport:
        if any(end < 0 for end in self._end):
            raise self._deadlock()
        finishes = [step.index for step in self._steps if step.name == "finish"]
        if not finishes:
            raise SimulationError(len(self._steps), "the program ends without FINISH")
        cycles = self._end[finishes[0]]
        late = next((index for index, end in enumerate(self._end) if end > cycles), None)
        if late is not None:
            raise SimulationError(late, f"{self._steps[late].name} ends after FINISH")
        engines = {engine: self._engine_time(engine, cycles) for engine in Engine}
        counts = dict(Counter(step.name for step in self._steps))
        start, end = np.array(self._start, np.int64), np.array(self._end, np.int64)
        return TimingReport(cycles, engines, self._bytes, counts, self._beats, start, end)

    def _engine_time(self, engine: Engine, cycles: int) -> EngineTime:
        lane = self._lanes[engine]
        waiting = {cause: count for cause, count in lane.waiting.items() if count}
        if cycles > lane.free:
            waiting[END] = cycles - lane.free
        instructions = sum(step.engine is engine for step in self._steps)
        return EngineTime(instructions, lane.busy, waiting)

    def _deadlock(self) -> SimulationError:
        waits = []
        for engine, lane in self._lanes.items():
            if lane.queue:
                step = self._steps[lane.queue[0]]
                missing = [queue for queue in step.pops if self._popped[queue] >= len(self._pushed[queue])]
                labels = ", ".join(queue.label for queue in missing)
                waits.append((step.index, f"{engine.label} waits for {labels} at instruction {step.index}"))
        texts = [text for _, text in waits]
        if self._blocked is not None:
            texts.append(f"fetch waits for the full {self._blocked.label} queue at instruction {self._next}")
        return SimulationError(min(waits)[0], "deadlock: " + "; ".join(texts))


def _require_hardware(step: Step) -> None:
    if step.illegal:
        raise SimulationError(step.index, f"the {step.engine.label} engine has no {', '.join(step.illegal)}")
    if step.name.startswith("alu_mul") or step.name == "load_acc8":
        raise SimulationError(step.index, f"the hardware has no {step.name}")
    loops = step.name.startswith(("gemm", "alu"))
    if loops and not loops_of(step.instruction).iterations:
        raise SimulationError(step.index, "an empty loop runs away on the hardware; every extent must be at least 1")
    if not loops and step.instruction["x_size"] and not shape_of(step.instruction).rows:
        raise SimulationError(step.index, "y_size 0 hangs the hardware; the smallest y_size is 1")


def _instruction_traffic(count: int, model: TimingModel) -> Traffic:
    size = count * model.instruction_bytes
    return Traffic(-(-size // model.bus_bytes), -(-size // model.burst_bytes), size)


def _bytes(
    program: list[Step], costs: list[Cost], element_bytes: Mapping[str, int], model: TimingModel
) -> dict[str, int]:
    """DRAM bytes by memory."""
    total = dict.fromkeys(("insn", "uop", "inp", "wgt", "acc", "out"), 0)
    total["insn"] = len(program) * model.instruction_bytes
    for step, cost in zip(program, costs, strict=True):
        if cost.client:
            traffic = cost.traffic or traffic_of(step, element_bytes, model)
            total[cost.client] += traffic.bytes
    return total
