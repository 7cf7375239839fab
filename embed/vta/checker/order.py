"""The order that tokens and queues impose: one possible execution, and for each instruction what precedes it."""

from collections import deque
from dataclasses import dataclass

import numpy as np

from embed.vta.checker.violation import PROGRAM, Findings
from embed.vta.engines import Engine, Queue
from embed.vta.roles import Job
from embed.vta.steps import Step

TOKEN_LIMIT = 255
"""Tokens that a queue's 8-bit counter holds (Chisel)."""

QUEUE_ENTRIES = 512
"""Instructions in the queue of one engine, the running one included (Chisel)."""

Clock = tuple[int, int, int]
"""How many instructions of each engine are known to be done, in the order of Engine."""


@dataclass(frozen=True, slots=True)
class Order:
    """A valid execution order of a program.

    `clocks[index]` counts the instructions of each engine that end before instruction `index` starts
    in every execution, itself included; `pushes` and `pops` list instructions, each once per token.
    """

    sequence: list[Step]
    clocks: dict[int, Clock]
    pushes: dict[Queue, list[Step]]
    pops: dict[Queue, list[Step]]


def find_order(program: list[Step], findings: Findings) -> Order:
    """Execute the tokens of a program; reports deadlocks and returns what could run."""
    run = _Run(QUEUE_ENTRIES)
    stuck = run.execute(program)
    if stuck is not None:
        entries = f"the {stuck.engine.label} queue of {QUEUE_ENTRIES} entries is full"
        unbounded = _Run(None)
        unbounded.execute(program)
        if len(unbounded.sequence) == len(program):
            text = f"{entries}, and what it waits for is not fetched before it has room"
            findings.add(stuck.index, "queue-depth", text)
        run = unbounded
    for waiting in run.heads():
        missing = ", ".join(pop.label for pop in waiting.pops if not run.tokens[pop])
        findings.add(waiting.index, "deadlock", f"no token ever comes on {missing}")
    return Order(run.sequence, run.clocks, run.pushes, run.pops)


def check_tokens(order: Order, complete: bool, findings: Findings) -> None:
    """Check how many tokens can gather in a queue, and that none is left."""
    for queue in Queue:
        pushes, pops = order.pushes[queue], order.pops[queue]
        if complete and len(pushes) > len(pops):
            left = len(pushes) - len(pops)
            findings.add(pushes[-1].index, "token-balance", f"{left} tokens are left on {queue.label}")
        late = _first_overflow(order, queue)
        if late is not None:
            text = f"more than {TOKEN_LIMIT} tokens can be on {queue.label}"
            findings.add(late.index, "token-limit", text)


def check_finish(program: list[Step], order: Order, findings: Findings) -> None:
    """Check that FINISH is there once, last, and after everything."""
    finishes = [step for step in program if step.role.job is Job.FINISH]
    if not finishes:
        findings.add(PROGRAM, "finish", "there is no FINISH")
        return
    for extra in finishes[1:]:
        findings.add(extra.index, "finish", "FINISH comes more than once")
    finish = finishes[-1]
    if finish is not program[-1]:
        findings.add(finish.index, "finish", "FINISH is not the last instruction")
    clock = order.clocks.get(finish.index)
    for engine in Engine:
        others = [step for step in program if step.engine is engine and step is not finish]
        if clock and others and clock[engine] < len(others):
            loose = others[clock[engine]]
            text = f"FINISH does not wait for {loose.name} (instruction {loose.index})"
            findings.add(finish.index, "finish-order", text)


def _first_overflow(order: Order, queue: Queue) -> Step | None:
    """The first push that may find the counter full: all pushes not ordered after a pop may come before it."""
    pushes, pops = order.pushes[queue], order.pops[queue]
    consumer = queue.consumer
    seen = np.array([order.clocks[step.index][consumer] for step in pushes], np.int64)
    places = np.array([order.clocks[step.index][consumer] - 1 for step in pops], np.int64)
    before = np.append(np.searchsorted(seen, places, side="right"), len(pushes))
    over = np.flatnonzero(before - np.arange(len(before)) > TOKEN_LIMIT)
    return pushes[int(over[0]) + TOKEN_LIMIT] if len(over) else None


class _Run:
    """Executes tokens only: fetch in program order into queues, engines as far as they get."""

    def __init__(self, entries: int | None) -> None:
        self.sequence: list[Step] = []
        self.clocks: dict[int, Clock] = {}
        self.tokens = dict.fromkeys(Queue, 0)
        self.pushes: dict[Queue, list[Step]] = {queue: [] for queue in Queue}
        self.pops: dict[Queue, list[Step]] = {queue: [] for queue in Queue}
        self._entries = entries
        self._queues: list[deque[Step]] = [deque() for _ in Engine]
        self._engine_clocks: list[list[int]] = [[0, 0, 0] for _ in Engine]

    def execute(self, program: list[Step]) -> Step | None:
        """Run the program; returns the instruction that found a full queue for good, if any."""
        for step in program:
            queue = self._queues[step.engine]
            if len(queue) == self._entries:
                return step
            queue.append(step)
            self._advance()
        return None

    def heads(self) -> list[Step]:
        """The instructions at which engines are stuck."""
        return [queue[0] for queue in self._queues if queue]

    def _advance(self) -> None:
        """Run what can run, in program order as far as the tokens allow."""
        while True:
            ready = [queue[0] for queue in self._queues if queue and self._has_tokens(queue[0])]
            if not ready:
                return
            first = min(ready, key=_index)
            self._queues[first.engine].popleft()
            self._execute(first)

    def _has_tokens(self, step: Step) -> bool:
        return all(self.tokens[pop] for pop in step.pops)

    def _execute(self, step: Step) -> None:
        clock = self._engine_clocks[step.engine]
        for queue in step.pops:
            self.tokens[queue] -= 1
            producer = self.pushes[queue][len(self.pops[queue])]
            self.pops[queue].append(step)
            clock[:] = map(max, clock, self.clocks[producer.index])
        clock[step.engine] += 1
        self.clocks[step.index] = (clock[0], clock[1], clock[2])
        for queue in step.pushes:
            self.tokens[queue] += 1
            self.pushes[queue].append(step)
        self.sequence.append(step)


def _index(step: Step) -> int:
    return step.index
