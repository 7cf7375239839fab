"""`isa-embed embed`: the best embedding of one operator, explained."""

from itertools import islice
from pathlib import Path

import embed
import isa as isa_files
from dataflow import Operator
from embed.cli.console import wide_console
from embed.cli.explain import alternatives_table, explain, solved
from embed.cli.files import check_writable, write_json_lines
from embed.cli.operators import read_operator, read_settings
from embed.cli.options import (
    All,
    Dtype,
    EpilogueText,
    Expr,
    IsaName,
    JsonFile,
    Limit,
    Objective,
    Seed,
    Settings,
    TimeLimit,
    Words,
)
from isa.model import Isa


def embed_command(
    words: Words = None,
    expr: Expr = None,
    dtype: Dtype = None,
    epilogue: EpilogueText = "none",
    isa: IsaName = "vta",
    settings: Settings = None,
    objective: Objective = "cycles",
    time_limit: TimeLimit = 10.0,
    seed: Seed = 0,
    every: All = False,
    limit: Limit = 20,
    json: JsonFile = None,
) -> None:
    """Find the best embedding of an operator and explain it: lanes, layouts, costs and what was proven."""
    operator = read_operator(words or (), expr=expr, dtype=dtype, epilogue=epilogue)
    target = isa_files.load(isa, read_settings(settings or ()))
    check_writable(json)
    if every:
        _print_all(operator, target, objective, time_limit, seed, limit, json)
        return
    solution = embed.best(operator, target, objective=objective, time_limit=time_limit, seed=seed)
    if json:
        write_json_lines(json, [solved(operator.title, "", target, objective, solution).to_dict()])
    console = wide_console()
    for piece in explain(operator, target, solution, objective):
        console.print(piece)


def _print_all(
    operator: Operator, target: Isa, objective: str, time_limit: float, seed: int, limit: int, json: Path | None
) -> None:
    found = embed.alternatives(operator, target, objective=objective, time_limit=time_limit, seed=seed)
    solutions = list(islice(found, limit))
    if json:
        write_json_lines(json, [solved(operator.title, "", target, objective, s).to_dict() for s in solutions])
    wide_console().print(alternatives_table(operator, found, solutions))
