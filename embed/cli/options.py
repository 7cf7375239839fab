"""Options and arguments that several commands share."""

from math import inf
from pathlib import Path
from typing import Annotated

import typer

from dataflow import UserError
from embed import OBJECTIVES
from embed.demands import FORMS
from embed.relax.steps import RELAXATIONS


def _known_objective(value: str) -> str:
    if value not in OBJECTIVES:
        raise UserError(f"--objective: unknown objective '{value}'; there are: {', '.join(OBJECTIVES)}")
    return value


def positive(option: typer.CallbackParam, value: float) -> float:
    """An option that counts something; raises UserError for 0 and less, and for what is no number."""
    if not 0 < value < inf:
        raise UserError(f"--{str(option.name).replace('_', '-')}: {value:g} is not a positive number")
    return value


def natural(option: typer.CallbackParam, value: int) -> int:
    """An option that is 0 or more; raises UserError for less."""
    if value < 0:
        raise UserError(f"--{option.name}: {value} is negative; it is 0 or more")
    return value


Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="OPERATOR SIZES...", help="e.g. conv2d c=3 h=224 w=224 k=64 r=7 s=7 stride=2 pad=3", show_default=False
    ),
]
Expr = Annotated[
    str | None,
    typer.Option(
        "--expr",
        metavar="TEXT",
        help='as an expression, e.g. "out\\[i,j] += a\\[i,k]*b\\[k,j]" i=64 j=64 k=64',
    ),
]
Dtype = Annotated[
    str | None, typer.Option("--dtype", metavar="NAME", help="type of the inputs (i8 unless given)", show_default=False)
]
EpilogueText = Annotated[
    str,
    typer.Option(
        "--epilogue",
        metavar="LIST",
        help="after the sums: bias,add,relu,high=6 on floats; shift=8,scale,bias,add,relu,dtype=u8 on i32; or none",
    ),
]
IsaName = Annotated[
    str, typer.Option("--isa", metavar="NAME|FILE", help="instruction set: a shipped name or a .toml file")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="override a parameter of the ISA", show_default=False),
]
Objective = Annotated[
    str,
    typer.Option(
        "--objective", metavar="|".join(OBJECTIVES), help="what the best has least of", callback=_known_objective
    ),
]
TimeLimit = Annotated[
    float,
    typer.Option(
        "--time-limit", metavar="SECONDS", callback=positive, help="longest search, by its effort and by the clock"
    ),
]
Seed = Annotated[int, typer.Option("--seed", callback=natural, help="seed of the random data and of the solver")]
All = Annotated[bool, typer.Option("--all", help="list every maximal embedding, best first, instead of explaining one")]
Pareto = Annotated[
    bool, typer.Option("--pareto", help="list those that none beats in cycles, bytes, utilisation and lane strides")
]
First = Annotated[bool, typer.Option("--first", help="explain the first embedding found, not the best")]
Dominated = Annotated[
    bool,
    typer.Option(
        "--dominated", help="with --all, --pareto, --first: also those with lanes idle that a loop could fill"
    ),
]
Show = Annotated[
    int | None, typer.Option("--show", metavar="N", min=1, help="explain number N of the list", show_default=False)
]
Written = Annotated[
    str | None,
    typer.Option("--embedding", metavar="TEXT", help="take this embedding, as --all prints it", show_default=False),
]
Limit = Annotated[int, typer.Option("--limit", min=1, help="with --all and --pareto: how many to show")]
Relax = Annotated[
    str | None,
    typer.Option(
        "--relax",
        metavar="NAMES|all|none",
        help=f"rewritings to try: {', '.join(RELAXATIONS)}; all but sums unless given, on CPUs none; "
        "copies of windows are switched off by --demand no-copies=TENSOR",
        show_default=False,
    ),
]
Demands = Annotated[
    list[str] | None,
    typer.Option(
        "--demand", metavar="DEMAND", help=f"only embeddings that are so: {', '.join(FORMS)}", show_default=False
    ),
]
SolverParameters = Annotated[
    list[str] | None,
    typer.Option("--solver-params", metavar="NAME=VALUE", help="a parameter of CP-SAT", show_default=False),
]
DumpModel = Annotated[
    Path | None,
    typer.Option("--dump-model", metavar="FILE", help="write CP-SAT's model as text", show_default=False),
]
Verbose = Annotated[
    int,
    typer.Option(
        "--verbose",
        "-v",
        count=True,
        help="what is placed where; -vv: each model's solution; -vvv: CP-SAT's log",
        show_default=False,
    ),
]
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
Layouts = Annotated[
    list[str] | None,
    typer.Option(
        "--layout", metavar="NAME=ORDER", help="how a tensor lies, e.g. inp=NHWC or inp=NCHW16c", show_default=False
    ),
]
Threads = Annotated[int, typer.Option("--threads", callback=positive, help="threads of a CPU kernel")]
Tune = Annotated[
    int,
    typer.Option(
        "--tune", metavar="N", callback=natural, help="on a CPU: time the model's N best kernels and keep the fastest"
    ),
]
