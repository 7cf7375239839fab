"""A suite: its problems as tasks, run by an executor, each finished one kept in the journal."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import isa
from deepbench.executor import Executor
from deepbench.journal import Journal, code_digest, fingerprint
from deepbench.problems import Problem
from embed.cli.exits import Interrupted
from embed.cli.record import JsonRecord


@dataclass(frozen=True, slots=True)
class Settings:
    """What is asked about every problem; on VTA also whether TVM's strategy is timed too, and where bundles go."""

    isa: str
    parameters: tuple[tuple[str, int], ...] = ()
    objective: str = "cycles"
    time_limit: float = 10.0
    seed: int = 0
    reference: bool = False
    export: str = ""


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
    """Run the problems that the journal lacks, the largest first, and return all records in the order of `problems`.

    `observe` sees every record once, those from the journal first. Raises Interrupted on Ctrl-C.
    """
    keys = fingerprints(problems, settings)
    known = {name: journal.finished[key] for name, key in keys.items() if key in journal.finished}
    for record in known.values():
        observe(record)
    tasks = [Task(problem, settings) for problem in problems if problem.name not in known]
    tasks.sort(key=lambda task: -task.problem.macs)
    try:
        with closing(executor.run(runner, tasks)) as records:
            for record in records:
                known[record.problem] = record
                if record.status != FAILED:
                    journal.add(keys[record.problem], record)
                observe(record)
    except KeyboardInterrupt:
        raise Interrupted(resume_hint(len(known), len(problems), journal.path)) from None
    return [known[problem.name] for problem in problems]


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
