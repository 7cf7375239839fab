"""A suite: its problems as tasks, run by an executor, each finished one kept in the journal."""

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import isa
from deepbench.executor import Executor
from deepbench.journal import Journal, code_digest, fingerprint, open_journal
from deepbench.problems import Problem
from embed.cli.exits import Interrupted
from embed.cli.record import JsonRecord, Record


@dataclass(frozen=True, slots=True)
class Settings:
    """What is asked about every problem; on VTA also whether TVM's strategy is timed too, and where bundles go.

    `relax` names the relaxations to try, None those that suit the machine.
    """

    isa: str
    parameters: tuple[tuple[str, int], ...] = ()
    objective: str = "cycles"
    time_limit: float = 10.0
    seed: int = 0
    reference: bool = False
    export: str = ""
    relax: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class NativeSettings(Settings):
    """What is asked where problems are timed: `seconds` for each; `environment` is what else a time depends on."""

    threads: int = 1
    peers: bool = False
    seconds: float = 1.0
    environment: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Task:
    """One problem under some settings."""

    problem: Problem
    settings: Settings


Kind = TypeVar("Kind", bound=JsonRecord)

DONE = "OK"
"""Status of a record that holds results."""

FAILED = "ERROR"
"""Status of a record whose problem met an unexpected error; such a record is never used again."""


def run_suite(
    problems: Sequence[Problem],
    settings: Settings,
    journal: Journal[Kind],
    executor: Executor,
    runner: Callable[[Task], Kind],
    observe: Callable[[Kind], object],
) -> list[Kind]:
    """The problems under some settings; otherwise as `run_tasks`."""
    return run_tasks([Task(problem, settings) for problem in problems], journal, executor, runner, observe)


def run_grid(
    problems: Sequence[Problem],
    settings: Sequence[Settings],
    out: Path,
    executor: Executor,
    runner: Callable[[Task], Record],
    observe: Callable[[Record], object],
) -> tuple[dict[Settings, list[Record]], float]:
    """All problems under all settings; their records, and the seconds it took.

    Finished ones are kept in `out` until the last is done, so that an interrupted run goes on.
    """
    start = time.monotonic()
    tasks = [Task(problem, each) for each in settings for problem in problems]
    with open_journal(out) as journal:
        records = iter(run_tasks(tasks, journal, executor, runner, observe))
        journal.discard()
    return {each: [next(records) for _ in problems] for each in settings}, time.monotonic() - start


def run_tasks(
    tasks: Sequence[Task],
    journal: Journal[Kind],
    executor: Executor,
    runner: Callable[[Task], Kind],
    observe: Callable[[Kind], object],
) -> list[Kind]:
    """Run the tasks that the journal lacks, the largest first, and return all records in the order of `tasks`.

    `observe` sees every record once, those from the journal first. Raises Interrupted on Ctrl-C.
    """
    keys = _keys(tasks)
    known = {task: journal.finished[key] for task, key in keys.items() if key in journal.finished}
    for record in known.values():
        observe(record)
    left = sorted((task for task in tasks if task not in known), key=lambda task: -task.problem.macs)
    try:
        with closing(executor.run(partial(_named, runner), left)) as records:
            for task, record in records:
                known[task] = record
                if record.status != FAILED:
                    journal.add(keys[task], record)
                observe(record)
    except KeyboardInterrupt:
        raise Interrupted(resume_hint(len(known), len(tasks), journal.path)) from None
    return [known[task] for task in tasks]


def _named(runner: Callable[[Task], Kind], task: Task) -> tuple[Task, Kind]:
    """The record with its task, since records come in any order."""
    return task, runner(task)


def _keys(tasks: Iterable[Task]) -> dict[Task, str]:
    """The fingerprint of each task."""
    problems: dict[Settings, list[Problem]] = {}
    for task in tasks:
        problems.setdefault(task.settings, []).append(task.problem)
    keys = {settings: fingerprints(some, settings) for settings, some in problems.items()}
    return {Task(p, settings): keys[settings][p.name] for settings, some in problems.items() for p in some}


def fingerprints(problems: Sequence[Problem], settings: Settings) -> dict[str, str]:
    """For each problem, by name, the digest of everything its record depends on."""
    target = isa.load(settings.isa, dict(settings.parameters))
    common = {
        "settings": asdict(settings),
        "parameters": target.parameters,
        "isa": target.path.read_text(encoding="utf-8"),
        "code": code_digest(),
        "libraries": {name: version(name) for name in ("ortools", "numpy")},
    }
    return {
        p.name: fingerprint({**common, "problem": p.name, "operator": str(p.operator()), "sizes": p.sizes})
        for p in problems
    }


def resume_hint(done: int, total: int, path: Path) -> str:
    """What an interrupted run says."""
    return f"interrupted; {done} of {total} problems are done and kept in {path}: run the same command again to go on"
