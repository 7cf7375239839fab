"""The command `isa-embed sweep`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from deepbench.cluster import DaskCluster
from deepbench.executor import LocalProcesses
from deepbench.options import AskedFiles, AskedProblems, Out
from deepbench.outcome import exit_code
from deepbench.progress import progress_bar
from deepbench.results import write_rows
from deepbench.suite import Settings
from deepbench.sweep.page import write_sweep
from deepbench.sweep.run import print_sweep, rows, run_sweep
from deepbench.sweep.shapes import read_axes, shapes
from embed.cli.asked import AskedIsa, AskedSearch
from embed.cli.console import wide_console
from embed.cli.files import write_json_lines
from embed.cli.groups import grouped

AxisOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=N,N,...",
        help="values of a parameter of the ISA, or formulas over those before it; several times: all combinations",
        show_default=False,
    ),
]
Scheduler = Annotated[
    str,
    typer.Option(
        "--scheduler",
        metavar="ADDRESS",
        help="run on the workers of this Dask scheduler, not in processes of this machine (isa-embed\\[dask])",
        show_default=False,
    ),
]


@dataclass(frozen=True, slots=True)
class _AskedShapes(AskedIsa):
    """An instruction set in several shapes."""

    settings: AxisOption = None


@dataclass(frozen=True, slots=True)
class _AskedFiles(AskedFiles):
    out: Out = Path("sweep-results")


@grouped
def sweep_command(
    isa: _AskedShapes,
    chosen: AskedProblems,
    search: AskedSearch,
    results: _AskedFiles,
    scheduler: Scheduler = "",
) -> int:
    """Run DeepBench's problems in several shapes of one instruction set: what would a larger array bring?"""
    axes = read_axes(isa.settings or ())
    common = Settings(isa.isa, (), search.objective, search.time_limit, search.seed, relax=search.relaxations)
    asked = shapes(common, axes)
    problems, files = chosen.read(), results.open()
    executor = DaskCluster(scheduler) if scheduler else LocalProcesses(chosen.jobs)
    total = len(problems) * sum(not shape.refusal for shape in asked)
    with progress_bar() as progress:
        bar = progress.add_task("sweep", total=total, problem="")
        found, wall = run_sweep(
            problems, asked, executor, files.out,
            lambda r: progress.update(bar, advance=1, problem=r.problem),
        )  # fmt: skip
    lines = list(rows(found))
    for path in filter(None, (files.out / "results.jsonl", files.json)):
        write_json_lines(path, lines)
    for path in filter(None, (files.out / "results.csv", files.csv)):
        write_rows(path, lines)
    if files.html:
        write_sweep(files.html, problems, found)
    print_sweep(wide_console(least=160), found, wall)
    return exit_code([record for records in found.values() for record in records])
