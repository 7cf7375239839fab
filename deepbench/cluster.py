"""Where problems run: the workers of a Dask cluster, instead of processes of this machine."""

from collections.abc import Callable, Generator, Sequence
from typing import Any

from dataflow import UserError
from deepbench.executor import Result, Task
from deepbench.journal import code_digest

_PATIENCE = "10s"
"""How long the scheduler may take to answer."""


class DaskCluster:
    """The workers of the scheduler at an address such as tcp://10.0.0.1:8786, with the same sources as this process.

    A task whose worker dies runs again on another one. Raises UserError where the cluster cannot be used.
    """

    def __init__(self, scheduler: str) -> None:
        self.scheduler = scheduler

    def run(self, function: Callable[[Task], Result], tasks: Sequence[Task]) -> Generator[Result, None, None]:
        distributed = _library()
        client = self._connected(distributed)
        futures: list[Any] = []
        try:
            self._check(client)
            futures = client.map(function, tasks, pure=False)
            for future in distributed.as_completed(futures, loop=client.loop):
                yield future.result()
        except distributed.KilledWorker as error:
            raise UserError(
                f"--scheduler: one problem killed several workers, perhaps out of memory: {error}"
            ) from None
        except (distributed.CancelledError, distributed.comm.CommClosedError):
            raise UserError(
                f"--scheduler {self.scheduler}: the scheduler is gone; run the same command again to go on"
            ) from None
        finally:
            client.cancel(futures)
            client.close()

    def _connected(self, distributed: Any) -> Any:
        try:
            return distributed.Client(self.scheduler, timeout=_PATIENCE, set_as_default=False)
        except (OSError, ValueError):
            raise UserError(
                f"--scheduler {self.scheduler}: no Dask scheduler answers there; `dask scheduler` starts one"
            ) from None

    def _check(self, client: Any) -> None:
        """Raise UserError where there are no workers or one has other sources: it would compute something else."""
        if not client.scheduler_info()["workers"]:
            raise UserError(
                f"--scheduler {self.scheduler}: it has no workers; "
                f"`dask worker {self.scheduler} --nworkers auto --nthreads 1` starts some"
            )
        try:
            found = client.run(code_digest)
        except ImportError:
            raise UserError(f"--scheduler {self.scheduler}: isa-embed is not installed on its workers") from None
        others = [worker for worker, digest in found.items() if digest != code_digest()]
        if others:
            raise UserError(f"--scheduler {self.scheduler}: another version of isa-embed runs on {', '.join(others)}")


def _library() -> Any:
    try:
        import distributed
    except ImportError:
        raise UserError("--scheduler needs Dask: pip install 'isa-embed[dask]'") from None
    return distributed
