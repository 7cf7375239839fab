"""Options and arguments that several commands share."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Objective(StrEnum):
    """What the best embedding has least of."""

    CYCLES = "cycles"
    INVOCATIONS = "invocations"
    BYTES = "bytes"


Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="OPERATOR SIZES...", help="e.g. conv2d c=3 h=224 w=224 k=64 r=7 s=7 stride=2 pad=3", show_default=False
    ),
]
Expr = Annotated[
    str | None,
    typer.Option(
        "--expr", metavar="TEXT", help='the operator as an expression, e.g. "out[i,j] += a[i,k]*b[k,j]" i=64 j=64 k=64'
    ),
]
Dtype = Annotated[
    str | None, typer.Option("--dtype", metavar="NAME", help="type of the inputs (i8 unless given)", show_default=False)
]
EpilogueText = Annotated[
    str, typer.Option("--epilogue", metavar="LIST", help="int8 epilogue: shift=8,bias,relu,low=-128,high=127, or none")
]
IsaName = Annotated[
    str, typer.Option("--isa", metavar="NAME|FILE", help="instruction set: a shipped name or a .toml file")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="override a parameter of the ISA", show_default=False),
]
ObjectiveOption = Annotated[Objective, typer.Option("--objective", help="what the best embedding has least of")]
TimeLimit = Annotated[
    float, typer.Option("--time-limit", metavar="SECONDS", min=0.001, help="longest time for the solver")
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="seed of the random data and of the solver")]
Inputs = Annotated[
    list[str] | None,
    typer.Option(
        "--input", metavar="NAME=FILE.npy", help="data for an input; random where not given", show_default=False
    ),
]
JsonFile = Annotated[
    Path | None,
    typer.Option(
        "--json", metavar="FILE", help="write what the table shows, one JSON object per line", show_default=False
    ),
]
