"""`isa-embed run`: execute an operator, or a bundle that `compile` wrote, and compare with the reference."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.table import Table

import embed
import isa as isa_files
from dataflow import Operator, UserError, evaluate
from embed.cli.console import wide_console
from embed.cli.data import read_inputs
from embed.cli.exits import Defect
from embed.cli.files import Array, check_writable, write_array
from embed.cli.operators import read_operator, read_settings
from embed.cli.options import (
    Dtype,
    EpilogueText,
    Expr,
    Inputs,
    IsaName,
    Objective,
    ObjectiveOption,
    Seed,
    Settings,
    TimeLimit,
)

Words = Annotated[
    list[str] | None,
    typer.Argument(metavar="DIR | OPERATOR SIZES...", help="a bundle, or an operator to compile", show_default=False),
]
Output = Annotated[Path | None, typer.Option("--output", metavar="FILE.npy", help="write the result")]


def run_command(
    words: Words = None,
    expr: Expr = None,
    dtype: Dtype = None,
    epilogue: EpilogueText = "none",
    isa: IsaName = "vta",
    settings: Settings = None,
    objective: ObjectiveOption = Objective.CYCLES,
    time_limit: TimeLimit = 10.0,
    seed: Seed = 0,
    inputs: Inputs = None,
    output: Output = None,
) -> None:
    """Execute an operator or a bundle on given or random data, check the result, and show what it took."""
    check_writable(output)
    if expr is None and words and _is_bundle(words):
        return
    operator = read_operator(words or (), expr=expr, dtype=dtype, epilogue=epilogue)
    target = isa_files.load(isa, read_settings(settings or ()))
    arrays = read_inputs(operator, inputs or (), seed)
    solution = embed.best(operator, target, objective=objective.value, time_limit=time_limit, seed=seed)
    kernel = embed.compile(operator, target, solution)
