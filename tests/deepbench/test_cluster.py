"""A sweep on a Dask cluster of worker processes: one is killed on the way, nothing is lost, and what cannot be used."""

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import fake
import pytest

from dataflow import UserError
from deepbench import cluster
from deepbench.cluster import DaskCluster
from deepbench.executor import InThisProcess
from deepbench.problems import select
from deepbench.suite import Settings, Task
from deepbench.sweep.run import Results, run_sweep
from deepbench.sweep.shapes import read_axes, shapes
from embed.cli.record import Record

distributed = pytest.importorskip("distributed", reason="Dask is not installed")

PROBLEMS = select(only=["inference_device/gemm/007", "inference_device/gemm/003"])
SHAPES = shapes(Settings("vta"), read_axes(["block_in=16,32", "batch=1,4"]))


@pytest.fixture(scope="module")
def three() -> Iterator[Any]:
    options = {"n_workers": 3, "threads_per_worker": 1, "processes": True, "dashboard_address": ":0"}
    with distributed.LocalCluster(**options) as found:
        yield found


def untimed(results: Results) -> dict[str, list[Record]]:
    return {
        shape.name: [replace(record, solve_s=None, compile_s=None) for record in records]
        for shape, records in results.items()
    }


def test_a_worker_is_killed_and_nothing_is_lost(three: Any, tmp_path: Path) -> None:
    killed: list[str] = []

    def kill_one(record: Record) -> None:
        if killed:
            return
        with distributed.Client(three.scheduler_address, set_as_default=False) as client:
            busy = next(address for address, tasks in client.processing().items() if tasks)
        [worker] = [nanny for nanny in three.workers.values() if nanny.worker_address == busy]
        os.kill(worker.pid, signal.SIGKILL)
        killed.append(busy)

    (tmp_path / "far").mkdir()
    found, _ = run_sweep(PROBLEMS, SHAPES, DaskCluster(three.scheduler_address), tmp_path / "far", kill_one)
    assert killed
    local, _ = run_sweep(PROBLEMS, SHAPES, InThisProcess(), tmp_path, lambda _: None)
    assert untimed(found) == untimed(local)
    assert all(record.checked for records in found.values() for record in records)


def test_what_kills_every_worker_is_one_clear_line(three: Any) -> None:
    with distributed.Client(three.scheduler_address, set_as_default=False) as client:
        client.wait_for_workers(3)
    with pytest.raises(UserError, match="killed several workers"):
        list(DaskCluster(three.scheduler_address).run(fake.die, [Task(PROBLEMS[0], Settings("vta"))]))


def test_workers_with_other_sources(three: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "code_digest", fake.digest)
    with pytest.raises(UserError, match="another version of isa-embed runs on tcp://"):
        list(DaskCluster(three.scheduler_address).run(fake.run, []))


def test_a_scheduler_without_workers(tmp_path: Path) -> None:
    with (
        distributed.LocalCluster(n_workers=0, processes=False, dashboard_address=":0") as none,
        pytest.raises(UserError, match="it has no workers; `dask worker"),
    ):
        list(DaskCluster(none.scheduler_address).run(fake.run, []))


def test_no_scheduler_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_PATIENCE", "100ms")
    with pytest.raises(UserError, match="no Dask scheduler answers there"):
        list(DaskCluster("tcp://127.0.0.1:9").run(fake.run, []))


def test_without_dask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(UserError, match=r"needs Dask: pip install 'isa-embed\[dask\]'"):
        list(DaskCluster("tcp://127.0.0.1:9").run(fake.run, []))
