"""The functional simulator: what a program leaves in external memory, bit for bit."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from embed.vta.engines import Engine, Queue
from embed.vta.machine import Machine
from embed.vta.program import Program
from embed.vta.roles import Job
from embed.vta.simulator.alu import AluUnit
from embed.vta.simulator.dma import load, store
from embed.vta.simulator.dram import Dram
from embed.vta.simulator.errors import SimulationError
from embed.vta.simulator.gemm import GemmUnit
from embed.vta.simulator.semantics import FSIM, Semantics
from embed.vta.simulator.state import Counters, State
from embed.vta.steps import Step, by_engine, steps

Action = Callable[[State, Step], None]


@dataclass(frozen=True, slots=True)
class Execution:
    """The bytes of every segment after the run, what the program itself wrote, and the work done."""

    memory: dict[str, npt.NDArray[np.uint8]]
    outputs: dict[str, npt.NDArray[np.uint8]]
    counters: Counters
    tokens_left: dict[Queue, int]


def simulate(
    program: Program,
    machine: Machine,
    *,
    start_engine: Engine = Engine.COMPUTE,
    semantics: Semantics = FSIM,
    sram_seed: int | None = None,
) -> Execution:
    """Run a program to its FINISH.

    The engines take turns from `start_engine`, each running as far as its tokens allow: a correct program
    gives the same bytes whichever starts, under both `semantics`, and whatever the scratchpads hold at
    first (zeros, or random from `sram_seed`). Raises SimulationError where VTA would hang, fault or lose work.
    """
    state = State(machine, Dram(program.segments), semantics, sram_seed)
    scheduler = _Scheduler(steps(program.instructions, machine.roles), state)
    scheduler.run(start_engine)
    memory = state.dram.contents()
    outputs = {segment.name: memory[segment.name] for segment in program.outputs}
    return Execution(memory, outputs, state.counters, dict(zip(Queue, scheduler.tokens, strict=True)))


class _Scheduler:
    """Runs the three instruction queues in an order that the tokens allow."""

    def __init__(self, program: list[Step], state: State) -> None:
        self.tokens = [0] * len(Queue)
        self._state = state
        self._queues = by_engine(program)
        self._next = dict.fromkeys(Engine, 0)
        self._length = len(program)
        self._finished: int | None = None
        self._actions = _actions(state)
        for step in program:
            if step.illegal:
                text = f"the {step.engine.label} engine has no {', '.join(step.illegal)}"
                raise SimulationError(step.index, text)

    def run(self, start: Engine) -> None:
        order = [Engine((start + turn) % len(Engine)) for turn in range(len(Engine))]
        progress = [True]
        while any(progress):
            progress = [self._run_engine(engine) for engine in order]
        if any(self._next[engine] < len(self._queues[engine]) for engine in Engine):
            raise self._deadlock()
        if self._finished is None:
            raise SimulationError(self._length, "the program ends without FINISH")

    def _run_engine(self, engine: Engine) -> bool:
        """Run one engine until its next instruction lacks a token; says whether anything ran."""
        queue, first = self._queues[engine], self._next[engine]
        position, tokens = first, self.tokens
        while position < len(queue):
            step = queue[position]
            if not all(tokens[pop] for pop in step.pops):
                break
            for pop in step.pops:
                tokens[pop] -= 1
            self._actions[step.role.job](self._state, step)
            for push in step.pushes:
                tokens[push] += 1
            position += 1
            self._next[engine] = position
            if step.role.job is Job.FINISH:
                self._finish(step)
        return position > first

    def _finish(self, step: Step) -> None:
        left = [queue[self._next[engine]] for engine, queue in self._queues.items() if self._next[engine] < len(queue)]
        if left:
            late = min(left, key=lambda other: other.index)
            raise SimulationError(late.index, f"{late.name} had not run when FINISH (instruction {step.index}) did")
        self._finished = step.index

    def _deadlock(self) -> SimulationError:
        waits = []
        for engine, queue in self._queues.items():
            if self._next[engine] < len(queue):
                step = queue[self._next[engine]]
                missing = ", ".join(pop.label for pop in step.pops if not self.tokens[pop])
                waits.append((step.index, f"{engine.label} waits for {missing} at instruction {step.index}"))
        return SimulationError(min(waits)[0], "deadlock: " + "; ".join(text for _, text in waits))


def _actions(state: State) -> dict[Job, Action]:
    gemm, alu = GemmUnit(state.machine), AluUnit()
    return {
        Job.LOAD: load,
        Job.STORE: store,
        Job.GEMM: gemm.run,
        Job.RESET: gemm.run,
        Job.ALU: alu.run,
        Job.FINISH: _nothing,
    }


def _nothing(_state: State, _step: Step) -> None:
    """FINISH changes no memory."""
