"""A runner that computes nothing, for tests of everything around it. Worker processes import it by name."""

import os
import time

from deepbench.suite import FAILED, Task
from embed.cli.record import Record


def record(task: Task, **changes: object) -> Record:
    values: dict[str, object] = {
        "problem": task.problem.name,
        "suite": task.problem.suite,
        "op": task.problem.operator().title,
        "isa": task.settings.isa,
        "parameters": {"batch": 1},
        "objective": task.settings.objective,
        "embedding": "gemm(a->inp, b->wgt) o=n:16",
        "status": "OPTIMAL",
        "solve_s": 0.01,
        "utilisation": 0.5,
        "utilisation_fixed": 0.25,
        "utilisation_best": 0.75,
        "invocations": 100,
        "modelled_cycles": 90,
        "modelled_cycles_at_best": 100,
        "cycles": 1000,
        "bytes": 4000,
        "checked": True,
        "executed": "full",
    }
    return Record(**{**values, **changes})  # type: ignore[arg-type]


def run(task: Task) -> Record:
    return record(task)


def fail(task: Task) -> Record:
    return record(task, status=FAILED, checked=None, error="boom")


def interrupt_at_last(task: Task) -> Record:
    """Ctrl-C in the smallest problem, which runs last."""
    if task.problem.name.endswith("/003"):
        raise KeyboardInterrupt
    return record(task)


def process(task: Task) -> tuple[str, str, int]:
    return task.problem.name, os.environ["OPENBLAS_NUM_THREADS"], os.getpid()


def die(task: Task) -> Record:
    os._exit(9)


def digest() -> str:
    """Another one in every process."""
    return str(os.getpid())


def wait_long(seconds: float) -> None:
    """Says that a worker is at work, and stays at it."""
    print("at work", flush=True)
    time.sleep(seconds)
