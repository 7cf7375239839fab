"""One problem from start to end: embedded, compiled, executed, compared with the reference bit for bit."""

import zlib
from dataclasses import replace

import numpy as np

import embed
import isa
from dataflow import Operator, evaluate
from deepbench.problems import Problem
from deepbench.suite import FAILED, Settings, Task
from embed.cli.data import random_arrays
from embed.cli.explain import solved
from embed.cli.record import Record
from embed.errors import NoEmbedding

FULL_MACS = 1_000_000_000
"""Matrix products above it are executed on a slice of output tiles; convolutions never are."""


def run_one(task: Task) -> Record:
    """The record of one problem; what goes wrong is in the record, so that the other problems still run."""
    problem, settings = task.problem, task.settings
    operator = problem.operator()
    try:
        return _run(problem, operator, settings)
    except NoEmbedding as error:
        return _failure(problem, operator, settings, "NONE", str(error))
    except Exception as error:
        return _failure(problem, operator, settings, FAILED, f"{type(error).__name__}: {error}")


def executed_share(problem: Problem) -> str:
    """Whether a problem is executed in "full" or on a "slice"."""
    return "slice" if problem.op == "gemm" and problem.macs > FULL_MACS else "full"


def _run(problem: Problem, operator: Operator, settings: Settings) -> Record:
    target = isa.load(settings.isa, dict(settings.parameters))
    limits = {"time_limit": settings.time_limit, "seed": settings.seed}
    solution = embed.best(operator, target, objective=settings.objective, **limits)
    fullest = embed.best(operator, target, objective="invocations", **limits)
    kernel = embed.compile(operator, target, solution)
    share = executed_share(problem)
    checked = _check(kernel, operator, share, zlib.crc32(problem.name.encode()) + settings.seed)
    timing = kernel.timing()
    return replace(
        solved(problem.name, problem.suite, target, settings.objective, solution),
        utilisation_best=fullest.costs.utilisation,
        modelled_cycles_at_best=fullest.costs.cycles,
        cycles=timing.cycles,
        bytes=sum(timing.bytes.values()),
        checked=checked,
        executed=share,
    )


def _check(kernel: embed.Kernel, operator: Operator, share: str, seed: int) -> bool:
    """Whether what the kernel computes from random inputs is what the reference computes."""
    arrays = random_arrays(operator, seed)
    if share == "slice":
        part, arrays, result = kernel.run_slice(arrays)
        return np.array_equal(result, evaluate(part, arrays))
    return np.array_equal(kernel(**arrays), evaluate(operator, arrays))


def _failure(problem: Problem, operator: Operator, settings: Settings, status: str, message: str) -> Record:
    return Record(
        problem=problem.name,
        suite=problem.suite,
        op=operator.title,
        isa=settings.isa,
        parameters=dict(settings.parameters),
        objective=settings.objective,
        embedding="",
        status=status,
        error=" ".join(message.split()),
    )
