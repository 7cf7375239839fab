"""DeepBench x ISA: the suite on every instruction set by the abstract path, a row of means for each."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

import isa
from dataflow import UserError
from deepbench.executor import Executor
from deepbench.journal import open_journal
from deepbench.means import geomean
from deepbench.problems import Problem
from deepbench.run_abstract import run_abstract
from deepbench.suite import FAILED, Settings, Task, fingerprints, resume_hint
from embed.cli.console import new_table
from embed.cli.exits import Interrupted
from embed.cli.record import Record

Results = Mapping[str, Sequence[Record]]

ALL = "all"


@dataclass(frozen=True, slots=True)
class Cell:
    """The record of one problem on one instruction set, by the name or path it was asked by."""

    isa: str
    record: Record


def asked_isas(text: str) -> list[str]:
    """The instruction sets of `--isa`: `all` the shipped ones, or names and files with commas between."""
    names = list(isa.names()) if text == ALL else [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise UserError("--isa: name an instruction set, or all")
    return names


def run_cell(task: Task) -> Cell:
    """One problem on one instruction set."""
    return Cell(task.settings.isa, run_abstract(task))


def run_every(
    problems: Sequence[Problem],
    settings: Sequence[Settings],
    executor: Executor,
    out: Path,
    observe: Callable[[Record], object],
) -> tuple[dict[str, list[Record]], float]:
    """All problems on all instruction sets, those with the most work first; records by ISA, and the seconds it took.

    Finished cells are kept in `out`, so that an interrupted run goes on. Raises Interrupted on Ctrl-C.
    """
    start = time.monotonic()
    keys = {(each.isa, name): key for each in settings for name, key in fingerprints(problems, each).items()}
    with open_journal(out) as journal:
        known = {place: journal.finished[key] for place, key in keys.items() if key in journal.finished}
        for record in known.values():
            observe(record)
        tasks = [Task(problem, each) for problem in problems for each in settings]
        tasks = [task for task in tasks if (task.settings.isa, task.problem.name) not in known]
        try:
            with closing(executor.run(run_cell, tasks)) as cells:
                for cell in cells:
                    place = cell.isa, cell.record.problem
                    known[place] = cell.record
                    if cell.record.status != FAILED:
                        journal.add(keys[place], cell.record)
                    observe(cell.record)
        except KeyboardInterrupt:
            raise Interrupted(resume_hint(len(known), len(keys), journal.path)) from None
        journal.discard()
    found = {each.isa: [known[each.isa, problem.name] for problem in problems] for each in settings}
    return found, time.monotonic() - start


def print_every(console: Console, results: Results, wall: float) -> None:
    """The table DeepBench x ISA, and what went wrong."""
    titles = ("problems", "optimal", "checked", "in full", "util", "worst", "invocations", "cycles", "bytes")
    table = new_table("DeepBench x ISA: geometric means", "isa", "instructions", *titles, right=titles)
    for name, records in results.items():
        table.add_row(name, ", ".join(_instructions(records)), *_cells(records))
    console.print(table)
    count = sum(map(len, results.values()))
    console.print(
        f"{count} cells in {wall:.0f} s; those not executed in full ran on a reduced problem", highlight=False
    )
    for name, records in results.items():
        for record in records:
            if record.error or not record.checked:
                said = record.error or "the result differs from the reference"
                console.print(f"{name} {record.problem}: {said}", highlight=False, markup=False)


def _instructions(records: Sequence[Record]) -> list[str]:
    """Names of the instructions chosen, the most frequent first."""
    names = [record.embedding.partition("(")[0] for record in records if record.embedding]
    return sorted(dict.fromkeys(names), key=lambda name: -names.count(name))


def _cells(records: Sequence[Record]) -> list[str]:
    shares = [record.utilisation for record in records if record.utilisation]
    means = (geomean(getattr(record, name) for record in records) for name in ("invocations", "cycles", "bytes"))
    return [
        str(len(records)),
        str(sum(record.status == "OPTIMAL" for record in records)),
        str(sum(record.checked is True for record in records)),
        str(sum(record.executed == "full" for record in records)),
        _share(geomean(shares)),
        _share(min(shares, default=None)),
        *("-" if mean is None else f"{mean:,.0f}" for mean in means),
    ]


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
