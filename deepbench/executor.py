"""Where problems run: worker processes on this machine. A cluster only needs another class with the same `run`."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Protocol, TypeVar

from dataflow import UserError

Task = TypeVar("Task")
Result = TypeVar("Result")

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Executor(Protocol):
    """Runs a function on tasks and yields results as they come; closing the iterator stops what still runs."""

    def run(self, function: Callable[[Task], Result], tasks: Sequence[Task]) -> Generator[Result, None, None]: ...


class InThisProcess:
    """One task after the other, without workers."""

    def run(self, function: Callable[[Task], Result], tasks: Sequence[Task]) -> Generator[Result, None, None]:
        for task in tasks:
            yield function(task)


class LocalProcesses:
    """`jobs` worker processes; `environment` is set before they start, one BLAS thread each unless it says else."""

    def __init__(self, jobs: int, environment: Mapping[str, str] | None = None) -> None:
        self.jobs = jobs
        self.environment = environment or {}

    def run(self, function: Callable[[Task], Result], tasks: Sequence[Task]) -> Generator[Result, None, None]:
        others = set(multiprocessing.active_children())
        for name in _THREADS:  # numpy reads these when a worker imports it, before any code of ours runs there
            os.environ.setdefault(name, "1")
        before = {name: os.environ.get(name) for name in self.environment}
        os.environ.update(self.environment)
        pool = ProcessPoolExecutor(self.jobs, multiprocessing.get_context("spawn"), _obey_parent)
        try:
            futures = [pool.submit(function, task) for task in tasks]
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool:
            raise UserError(
                "a worker process died, perhaps out of memory; run the same command again with --jobs 1"
            ) from None
        except BaseException:
            for worker in set(multiprocessing.active_children()) - others:
                worker.terminate()
            raise
        finally:
            pool.shutdown(cancel_futures=True)
            _restore(before)


def _restore(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _obey_parent() -> None:
    """In a worker: interrupts are the parent's to answer, and a worker whose parent was killed ends too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, name="end with parent", daemon=True).start()


def _end_with_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)
