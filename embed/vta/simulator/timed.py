"""The timed simulator: what a program takes on a VTA core and its memory, cycle by cycle or in leaps."""

from array import array
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from embed.vta.engines import Engine, Queue
from embed.vta.machine import Machine
from embed.vta.program import Program
from embed.vta.roles import Job, Scratchpad
from embed.vta.simulator.clockwork import BUS_WAIT, FETCH_WAIT, TOKEN_WAIT, Clockwork, Lane
from embed.vta.simulator.errors import SimulationError
from embed.vta.simulator.kinds import KindTable, kinds_of
from embed.vta.simulator.repeats import Repeats
from embed.vta.simulator.report import BUS, END, FETCH, INSTRUCTIONS, EngineTime, TimingReport
from embed.vta.simulator.timing import TimingModel

_CAUSES = {FETCH_WAIT: FETCH, BUS_WAIT: BUS, **{TOKEN_WAIT + queue: queue.label for queue in Queue}}


def time_program(program: Program, machine: Machine, model: TimingModel, *, leaps: bool = True) -> TimingReport:
    """Run a program for its cycles alone; its data are not looked at.

    Where the machine repeats itself it leaps, with the same report; without `leaps` it goes through every event.
    Raises SimulationError on what the hardware lacks, on deadlock (tokens or full instruction queues),
    on a lost token and on work that is left when FINISH ends.
    """
    table = kinds_of(program.instructions, machine, model)
    clock = Clockwork(table, model)
    repeats = Repeats(clock) if leaps else None
    while clock.settle():
        if repeats and clock.fetches:
            repeats.leap()
        clock.step()
    return _report(clock, table)


def _report(clock: Clockwork, table: KindTable) -> TimingReport:
    if any(lane.head < len(lane.places) for lane in clock.lanes):
        raise _deadlock(clock, table)
    start = _in_program_order(clock, [lane.start for lane in clock.lanes])
    end = _in_program_order(clock, [lane.end for lane in clock.lanes])
    names = [kind.name for kind in table.kinds]
    ends = [kind.role.job is Job.FINISH for kind in table.kinds]
    finishes = [index for index in clock.lanes[Engine.COMPUTE].places if ends[table.numbers[index]]]
    if not finishes:
        raise SimulationError(len(end), "the program ends without FINISH")
    cycles = int(end[finishes[0]])
    late = np.flatnonzero(end > cycles)
    if len(late):
        raise SimulationError(int(late[0]), f"{names[table.numbers[late[0]]]} ends after FINISH")
    engines = {engine: _engine_time(lane, cycles) for engine, lane in zip(Engine, clock.lanes, strict=True)}
    counts: Counter[str] = Counter()
    for name, count in zip(names, table.counts, strict=True):
        counts[name] += count
    return TimingReport(cycles, engines, _bytes(table, clock.model), dict(counts), clock.beats, start, end)


def _in_program_order(clock: Clockwork, times: Sequence["array[int]"]) -> npt.NDArray[np.int64]:
    ordered = np.empty(len(clock.numbers), np.int64)
    for lane, column in zip(clock.lanes, times, strict=True):
        ordered[np.array(lane.places, np.int64)] = column
    return ordered


def _engine_time(lane: Lane, cycles: int) -> EngineTime:
    waiting = {_CAUSES[cause]: count for cause, count in enumerate(lane.waiting) if count}
    if cycles > lane.free:
        waiting[END] = cycles - lane.free
    return EngineTime(len(lane.places), lane.busy, waiting)


def _bytes(table: KindTable, model: TimingModel) -> dict[str, int]:
    """DRAM bytes by memory."""
    total: dict[str, int] = {INSTRUCTIONS: len(table.numbers) * model.instruction_bytes, **dict.fromkeys(Scratchpad, 0)}
    for kind, count in zip(table.kinds, table.counts, strict=True):
        if kind.cost.client:
            total[kind.cost.client] += count * kind.bytes
    return total


def _deadlock(clock: Clockwork, table: KindTable) -> SimulationError:
    waits = []
    for engine, lane in zip(Engine, clock.lanes, strict=True):
        if lane.tail > lane.head:
            index = lane.places[lane.head]
            pops = table.kinds[table.numbers[index]].pops
            labels = ", ".join(queue.label for queue in pops if not clock.pushed[queue])
            waits.append((index, f"{engine.label} waits for {labels} at instruction {index}"))
    texts = [text for _, text in waits]
    if clock.blocked is not None:
        texts.append(f"fetch waits for the full {clock.blocked.label} queue at instruction {clock.next}")
    return SimulationError(min(waits)[0], "deadlock: " + "; ".join(texts))
