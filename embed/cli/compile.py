"""`isa-embed compile`: the best embedding of one operator as a program on disk, with data and expected results."""

from pathlib import Path
from typing import Annotated

import typer

import embed
import isa as isa_files
from embed.cli.data import read_inputs
from embed.cli.operators import read_operator, read_settings
from embed.cli.options import (
    Dtype,
    EpilogueText,
    Expr,
    Inputs,
    IsaName,
    Objective,
    Seed,
    Settings,
    TimeLimit,
    Words,
)
from embed.vta import bundle

Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="where the bundle goes")]


def compile_command(
    out: Out,
    words: Words = None,
    expr: Expr = None,
    dtype: Dtype = None,
    epilogue: EpilogueText = "none",
    isa: IsaName = "vta",
    settings: Settings = None,
    objective: Objective = "cycles",
    time_limit: TimeLimit = 10.0,
    seed: Seed = 0,
    inputs: Inputs = None,
) -> None:
    """Compile an operator to a bundle that any such machine can run: code, packed data, expected result."""
    operator = read_operator(words or (), expr=expr, dtype=dtype, epilogue=epilogue)
    target = isa_files.load(isa, read_settings(settings or ()))
    arrays = read_inputs(operator, inputs or (), seed)
    solution = embed.best(operator, target, objective=objective, time_limit=time_limit, seed=seed)
    kernel = embed.compile(operator, target, solution)
    bundle.save(kernel, out, arrays)
    typer.echo(
        f"{operator.title}\n{solution.embedding}\n{out}: {', '.join(sorted(file.name for file in out.iterdir()))}"
    )
    typer.echo(f"run it with: isa-embed run {out}")
