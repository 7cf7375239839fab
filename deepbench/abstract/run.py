"""One problem on a machine that is only a file: embedded, priced, and executed by the interpreter, whole or reduced."""

import zlib
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from math import prod

import numpy as np

import isa
from dataflow import Operator, evaluate
from dataflow.accuracy import bounded
from dataflow.dtypes import is_integer
from deepbench.abstract.reduced import reduced
from deepbench.abstract.typed import Typed
from deepbench.attempt import attempt, blank
from deepbench.problems import Problem
from deepbench.suite import Settings, Task
from embed.abstract.joint import choose
from embed.abstract.kernel import AbstractKernel, compile_abstract
from embed.checker import verify
from embed.cli.data import random_arrays
from embed.cli.explain import solved
from embed.cli.files import Array
from embed.cli.record import Record
from embed.solver.settings import Settings as SearchSettings

FULL_WORK = 1_500_000
"""Problems whose invocations read more elements than that are executed on a reduced problem."""

FULL_TURNS = 500
"""And those of more turns: invocations one after the other on the same accumulators."""

_MACS_PER_ELEMENT = 16
"""A product takes about so much less than reading an element does."""


def run_abstract(task: Task) -> Record:
    """The record of one problem, whatever happens."""
    problem, settings = task.problem, task.settings
    empty = blank(Record, problem, settings, objective=settings.objective, embedding="")
    return attempt(empty, lambda: _run(problem, settings))


def _run(problem: Problem, settings: Settings) -> Record:
    typed = _typed(settings.isa, settings.parameters)
    operator = typed.operator(problem)
    wanted = SearchSettings(settings.objective, settings.time_limit, settings.seed, relax=settings.relax)
    solution, kernel = choose(operator, typed.target, wanted)
    seed = zlib.crc32(problem.name.encode()) + settings.seed
    whole = _small(kernel)
    checked = _check(kernel if whole else _smaller(problem, kernel, typed), seed)
    said = kernel.report
    return replace(
        solved(problem.name, problem.suite, typed.target, settings.objective, solution),
        cycles=said.cycles if said.timed else None,
        bytes=said.total_bytes,
        traffic=dict(said.bytes),
        compute_bound=None,
        bus_bound=None,
        checked=checked,
        executed="full" if whole else "reduced",
    )


@cache
def _typed(name: str, parameters: tuple[tuple[str, int], ...]) -> Typed:
    return Typed.of(isa.load(name, dict(parameters)))


def _smaller(problem: Problem, kernel: AbstractKernel, typed: Typed) -> AbstractKernel:
    """The same embedding of the reduced problem."""
    found = kernel.embedding
    embedding = found.on(typed.operator(reduced(problem, found)))
    verify(embedding)
    return compile_abstract(embedding, typed.target)


def _small(kernel: AbstractKernel) -> bool:
    """Whether the whole program can be executed in a fraction of a second."""
    embedding, tiles = kernel.embedding, kernel.schedule.tiles
    results = {loop for axis in kernel.nest.layouts[kernel.nest.output].axes for loop, _ in axis.loops}
    turns = prod(
        -(-loop.extent // tiles[loop.name]) if loop.name in results else loop.extent for loop in embedding.loops
    )
    pattern = embedding.pattern
    each = sum(tensor.size for tensor in pattern.tensors) + pattern.points // _MACS_PER_ELEMENT
    return turns <= FULL_TURNS and embedding.invocations * each <= FULL_WORK


def _check(kernel: AbstractKernel, seed: int) -> bool:
    operator = kernel.embedding.asked
    arrays = random_arrays(operator, seed)
    return holds(operator, arrays, kernel(**arrays))


def holds(operator: Operator, arrays: Mapping[str, Array], out: Array) -> bool:
    """Whether a result is the reference's: integers bit for bit, floats within their error bound."""
    if is_integer(operator.output.dtype):
        return np.array_equal(out, evaluate(operator, arrays))
    exact, bound = bounded(operator, arrays)
    return bool((np.abs(out.astype(np.float64) - exact) <= bound).all())
