"""`isa-embed inspect`: the alternatives as a page to look at."""

import shlex
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

import isa as isa_files
from embed.cli.files import check_writable, write_whole
from embed.cli.operators import compile_line, read_operator, read_settings
from embed.cli.options import (
    Demands,
    Dominated,
    Dtype,
    EpilogueText,
    Expr,
    IsaName,
    Objective,
    Pareto,
    Seed,
    Settings,
    TimeLimit,
    Words,
)
from embed.demands import Demand
from embed.inspect.data import page_data
from embed.inspect.page import page
from embed.solver import settings as solver
from embed.solver.search import alternatives

Page = Annotated[Path, typer.Option("--html", metavar="FILE", help="the page to write; it needs no network")]
Limit = Annotated[int, typer.Option("--limit", min=1, help="how many of the best to show")]


def inspect_command(
    html: Page,
    words: Words = None,
    expr: Expr = None,
    dtype: Dtype = None,
    epilogue: EpilogueText = "none",
    isa: IsaName = "vta",
    settings: Settings = None,
    objective: Objective = "cycles",
    time_limit: TimeLimit = 10.0,
    seed: Seed = 0,
    pareto: Pareto = False,
    dominated: Dominated = False,
    demand: Demands = None,
    limit: Limit = 60,
) -> None:
    """Write a page with every embedding: their costs, and where each lane of an invocation reads and writes."""
    operator = read_operator(words or (), expr=expr, dtype=dtype, epilogue=epilogue)
    target = isa_files.load(isa, read_settings(settings or ()))
    check_writable(html)
    demands = tuple(map(Demand.read, demand or ()))
    search = solver.Settings(objective, time_limit, 1, seed, demands=demands)
    found = alternatives(operator, target, search, dominated)
    listed = found.pareto() if pareto else found
    shown = list(islice(listed, limit))
    asked = compile_line(words or (), expr, dtype, epilogue, isa, settings or ())
    commands = [f"{asked} --embedding {shlex.quote(str(one.embedding))} --out DIR" for one in shown]
    write_whole(html, page(page_data(listed, shown, commands)))
    typer.echo(f"{operator.title}: {len(shown)} of {len(listed)} embeddings in {html}")
