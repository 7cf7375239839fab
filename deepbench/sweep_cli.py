"""The command `isa-embed sweep`."""

from pathlib import Path
from typing import Annotated

import typer

from deepbench.cluster import DaskCluster
from deepbench.executor import LocalProcesses
from deepbench.options import CORES, CsvFile, HtmlFile, Jobs, Only, Ops, Out, Quick, Suites
from deepbench.outcome import exit_code
from deepbench.problems import OPS, SUITES, select
from deepbench.progress import progress_bar
from deepbench.results import write_rows
from deepbench.shapes import read_axes, shapes
from deepbench.suite import Settings
from deepbench.sweep import print_sweep, rows, run_sweep
from deepbench.sweep_html import write_sweep
from embed.cli.console import wide_console
from embed.cli.files import check_writable, make_directory, write_json_lines
from embed.cli.options import IsaName, JsonFile, Objective, Seed, TimeLimit

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
        help="run on the workers of this Dask scheduler, not in processes of this machine (isa-embed[dask])",
        show_default=False,
    ),
]


def sweep_command(
    isa: IsaName = "vta",
    settings: AxisOption = None,
    suite: Suites = None,
    op: Ops = None,
    only: Only = None,
    quick: Quick = False,
    objective: Objective = "cycles",
    time_limit: TimeLimit = 10.0,
    seed: Seed = 0,
    jobs: Jobs = CORES,
    scheduler: Scheduler = "",
    json: JsonFile = None,
    csv: CsvFile = None,
    html: HtmlFile = None,
    out: Out = Path("sweep-results"),
) -> int:
    """Run DeepBench's problems in several shapes of one instruction set: what would a larger array bring?"""
    axes = read_axes(settings or ())
    asked = shapes(Settings(isa, (), objective, time_limit, seed), axes)
    problems = select(suite or SUITES[:2], op or OPS, only or (), quick)
    check_writable(json, csv, html)
    make_directory(out)
    executor = DaskCluster(scheduler) if scheduler else LocalProcesses(jobs)
    total = len(problems) * sum(not shape.refusal for shape in asked)
    with progress_bar() as progress:
        bar = progress.add_task("sweep", total=total, problem="")
        results, wall = run_sweep(
            problems, asked, executor, out,
            lambda r: progress.update(bar, advance=1, problem=r.problem),
        )  # fmt: skip
    found = list(rows(results))
    for path in filter(None, (out / "results.jsonl", json)):
        write_json_lines(path, found)
    for path in filter(None, (out / "results.csv", csv)):
        write_rows(path, found)
    if html:
        write_sweep(html, problems, results)
    print_sweep(wide_console(least=160), results, wall)
    return exit_code([record for records in results.values() for record in records])
