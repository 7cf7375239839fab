"""A suite on this machine's CPU: one problem at a time, for one number of threads after the other, and its report."""

import platform
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rich.console import Console

from dataflow import UserError
from deepbench.executor import Executor, LocalProcesses
from deepbench.journal import open_journal
from deepbench.native import page, peers
from deepbench.native.record import NativeRecord
from deepbench.native.run import run_native
from deepbench.native.table import Rows, print_native
from deepbench.problems import Problem
from deepbench.results import Files, write_records
from deepbench.suite import NativeSettings, Task, run_suite
from isa.features import require
from isa.model import Isa

_LIBRARIES = ("torch", "onnxruntime", "numpy")
_CPUINFO = Path("/proc/cpuinfo")


def run_on_cpu(
    problems: Sequence[Problem],
    settings: NativeSettings,
    threads: Sequence[int],
    out: Path,
    target: Isa,
    observe: Callable[[NativeRecord], object],
) -> tuple[Rows, float]:
    """Time the problems; returns them with their records, and the seconds it took.

    Raises UserError where the CPU lacks a feature.
    """
    require(f"{target.name} kernels", target.missing_features())
    start = time.monotonic()
    rows: list[tuple[Problem, NativeRecord]] = []
    asked = replace(settings, environment=environment())
    features = {feature for entry in target.instructions.values() for feature in entry.requires}
    for count in threads:
        worker = LocalProcesses(1, peers.settings(features, count))
        rows += timed(problems, replace(asked, threads=count), out, worker, run_native, observe)
    for count in threads:
        shutil.rmtree(_place(out, replace(asked, threads=count)))
    return rows, time.monotonic() - start


def report(console: Console, rows: Rows, wall: float, files: Files) -> list[NativeRecord]:
    """Write the files, print the tables, and return the records."""
    records = [record for _, record in rows]
    write_records(records, files)
    if files.html:
        page.write_html(files.html, records)
    print_native(console, rows, wall)
    return records


def timed(
    problems: Sequence[Problem],
    settings: NativeSettings,
    out: Path,
    executor: Executor,
    runner: Callable[[Task], NativeRecord],
    observe: Callable[[NativeRecord], object],
) -> Rows:
    """The problems with their records; an interrupted run goes on from the journal."""
    place = _place(out, settings)
    place.mkdir(exist_ok=True)
    with open_journal(place, NativeRecord) as journal:
        records = run_suite(problems, settings, journal, executor, runner, observe)
    return list(zip(problems, records, strict=True))


def _place(out: Path, settings: NativeSettings) -> Path:
    """Where the journal is: runs with other threads have their own."""
    return out / f"{Path(settings.isa).stem}-{settings.threads}"


def environment() -> tuple[str, ...]:
    """What times depend on besides the code: the CPU and the libraries."""
    return (_processor(), *(f"{name} {_version(name)}" for name in _LIBRARIES))


def read_threads(text: str) -> list[int]:
    """`1,2` as numbers; raises UserError for anything else."""
    try:
        found = [int(part) for part in text.split(",")]
    except ValueError:
        found = []
    if not found or min(found) < 1:
        raise UserError(f"--threads: '{text}' is not a list of positive numbers such as 1,2")
    return list(dict.fromkeys(found))


def _processor() -> str:
    text = _CPUINFO.read_text(encoding="utf-8", errors="replace") if _CPUINFO.exists() else ""
    names = (line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name"))
    return next(names, platform.processor())


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"
