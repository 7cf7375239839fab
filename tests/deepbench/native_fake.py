"""Records of CPU runs that are made up, and a runner that makes them."""

from dataclasses import replace

import pytest

import isa
from deepbench.native.record import NativeRecord
from deepbench.native.run import group_of
from deepbench.problems import Problem
from deepbench.suite import DONE, NativeSettings, Task


def record(problem: Problem, threads: int = 1, **changes: object) -> NativeRecord:
    found = NativeRecord(
        problem=problem.name,
        suite=problem.suite,
        op=problem.operator().title,
        isa="avx512",
        parameters={},
        status=DONE,
        dtype="f32",
        threads=threads,
        group=group_of(problem),
        embedding="vfmadd231ps(a->a, b->b) l=m:16",
        macs=problem.macs,
        bytes=1000,
        weight_bytes=500,
        compile_s=0.02,
        seconds=1e-3,
        prepare_s=1e-5,
        gflops=100.0,
        peak_gflops=200.0,
        peak_lowest=180.0,
        share=0.5,
        bandwidth=2e10,
        level="L2",
        bytes_per_s=1e10,
        bandwidth_share=0.5,
        losses={"memory": 1.0, "idle lanes": 0.8, "edges": 0.7},
        peers=[
            {"name": "swift", "seconds": 5e-4, "gflops": 200.0, "share": 0.95, "checked": True, "note": ""},
            {"name": "absent", "seconds": None, "gflops": None, "share": None, "checked": None, "note": "not here"},
        ],
        best_peer="swift",
        best_peer_share=0.95,
        ratio=0.5,
        checked=True,
        executed="full",
    )
    return replace(found, **changes)  # type: ignore[arg-type]


def run(task: Task) -> NativeRecord:
    assert isinstance(task.settings, NativeSettings)
    return record(task.problem, task.settings.threads)


def needs(name: str) -> None:
    """Skip a test where this machine's CPU lacks what an ISA needs."""
    missing = isa.load(name).missing_features()
    if missing:
        pytest.skip(f"this CPU lacks {', '.join(missing)}")
