"""One problem from start to end: embedded, compiled, executed, compared with the reference bit for bit."""

import time
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

import isa
from dataflow import Operator, evaluate
from deepbench.attempt import attempt, blank
from deepbench.problems import Problem
from deepbench.suite import Settings, Task
from deepbench.vta.fixed import reference_kernel
from deepbench.vta.speed import LOADS
from embed.cli.data import random_arrays
from embed.cli.explain import solved
from embed.cli.files import Array
from embed.cli.record import Record
from embed.errors import NoEmbedding
from embed.solver.search import best
from embed.solver.settings import Settings as SearchSettings
from embed.vta.engines import Engine, Queue
from embed.vta.executable import VtaKernel, compile_vta
from embed.vta.joint import choose
from embed.vta.simulator import TimingReport
from embed.vta.simulator.report import BUS, END, FETCH
from isa.model import Isa

FULL_MACS = 1_000_000_000
"""Matrix products above it are executed on a slice of output tiles; convolutions never are."""

SLICE_MACS = 200_000_000
"""About how much of a sliced product is executed."""


def run_one(task: Task) -> Record:
    """The record of one problem, whatever happens."""
    problem, settings = task.problem, task.settings
    empty = blank(Record, problem, settings, objective=settings.objective, embedding="")
    return attempt(empty, lambda: _run(problem, problem.operator(), settings))


def executed_share(problem: Problem) -> str:
    """Whether a problem is executed in "full" or on a "slice"."""
    return "slice" if problem.op == "gemm" and problem.macs > FULL_MACS else "full"


def _run(problem: Problem, operator: Operator, settings: Settings) -> Record:
    target = isa.load(settings.isa, dict(settings.parameters))
    wanted = SearchSettings(settings.objective, settings.time_limit, settings.seed, relax=settings.relax)
    start = time.process_time()
    solution, schedule = choose(operator, target, wanted)
    kernel = compile_vta(solution.embedding, target, schedule)
    compile_s = time.process_time() - start
    fullest = best(operator, target, replace(wanted, objective="invocations"))
    plain = _plain(operator, target, wanted) if solution.embedding.relaxed else None
    share = executed_share(problem)
    arrays = random_arrays(operator, zlib.crc32(problem.name.encode()) + settings.seed)
    checked = check_slice(problem, kernel, arrays) if share == "slice" else check_full(operator, kernel, arrays)
    timing = kernel.timing()
    if settings.export:
        kernel.save(Path(settings.export) / problem.name, arrays)
    reference = _reference(problem, solution.embedding.name, target) if settings.reference else None
    return replace(
        solved(problem.name, problem.suite, target, settings.objective, solution),
        utilisation_best=fullest.costs.utilisation,
        modelled_cycles_at_best=fullest.costs.cycles,
        cycles=timing.cycles,
        predicted_cycles=kernel.schedule.cycles or None,
        bytes=sum(timing.bytes.values()),
        compile_s=compile_s,
        lost=lost_cycles(timing, solution.costs.compute),
        store_cycles=timing.engines[Engine.STORE].busy,
        reads=_reads(kernel, timing),
        plain_cycles=plain.timing().cycles if plain else None,
        plain_utilisation=plain.embedding.utilisation if plain else None,
        reference_cycles=reference.timing().cycles if reference else None,
        reference_utilisation=reference.embedding.utilisation if reference else None,
        checked=checked,
        executed=share,
    )


def _plain(operator: Operator, target: Isa, wanted: SearchSettings) -> VtaKernel:
    """The same without relaxations."""
    solution, schedule = choose(operator, target, replace(wanted, relax=()))
    return compile_vta(solution.embedding, target, schedule)


def _reference(problem: Problem, instruction: str, target: Isa) -> VtaKernel | None:
    """TVM's strategy, None where it has no tile that fits."""
    try:
        return reference_kernel(problem, instruction, target)
    except NoEmbedding:
        return None


def lost_cycles(timing: TimingReport, bound: int) -> dict[str, int]:
    """The compute unit's cycles by cause, besides the `bound` ones: instructions that start, and waiting."""
    spent = timing.engines[Engine.COMPUTE]
    causes = {
        FETCH: "first fetch",
        BUS: "its own loads",
        END: "end",
        Queue.LOAD_TO_COMPUTE.label: LOADS,
        Queue.STORE_TO_COMPUTE.label: "waits for stores",
    }
    waits = {causes.get(cause, cause): count for cause, count in spent.waiting.items()}
    return {"instruction starts": spent.busy - bound, **waits}


def _reads(kernel: VtaKernel, timing: TimingReport) -> float:
    """How often the program loads the packed inputs."""
    places = [kernel.plan.places[tensor] for tensor in kernel.embedding.inputs]
    return sum(timing.bytes[place.memory] for place in places) / max(1, sum(place.bytes for place in places))


def check_full(operator: Operator, kernel: VtaKernel, arrays: Mapping[str, Array]) -> bool:
    """Whether the kernel computes what the reference computes."""
    return np.array_equal(kernel(**arrays), evaluate(operator, arrays))


def check_slice(problem: Problem, kernel: VtaKernel, arrays: Mapping[str, Array]) -> bool:
    """The same for whole output tiles: a kernel for the first of them against the reference of the smaller problem."""
    part, covered = kernel.part(SLICE_MACS)
    smaller = replace(problem, sizes=tuple({**dict(problem.sizes), **covered}.items())).operator()
    cut = {tensor.name: _corner(arrays[tensor.name], tensor.shape) for tensor in smaller.inputs}
    return np.array_equal(_corner(part(**arrays), smaller.output.shape), evaluate(smaller, cut))


def _corner(array: Array, shape: tuple[int, ...]) -> Array:
    """The first elements along each axis."""
    return array[tuple(map(slice, shape))]
