"""Options of the commands that run suites."""

import os
from pathlib import Path
from typing import Annotated

import typer

from deepbench.problems import OPS, SUITES
from embed.cli.options import positive

CORES = os.cpu_count() or 1

Suites = Annotated[
    list[str] | None,
    typer.Option("--suite", help=f"{', '.join(SUITES)}; if not given, those of inference, in an emulator the device's"),
]
Ops = Annotated[list[str] | None, typer.Option("--op", help=f"{' or '.join(OPS)}; both if not given")]
Only = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="PATTERN", help="problems with this in their name (* and ? allowed)"),
]
Quick = Annotated[bool, typer.Option("--quick", help="a few problems of each group, in under a minute")]
Jobs = Annotated[int, typer.Option("--jobs", callback=positive, help="worker processes")]
CsvFile = Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="write a CSV file")]
Threads = Annotated[str, typer.Option("--threads", metavar="N,N", help="on a CPU: threads, one run for each number")]
Peers = Annotated[
    bool, typer.Option("--peers", help="on a CPU: time PyTorch, onnxruntime and OpenBLAS beside it (isa-embed[peers])")
]
Seconds = Annotated[
    float, typer.Option("--seconds", callback=positive, help="on a CPU: how long each problem is timed, and each peer")
]
HtmlFile = Annotated[Path | None, typer.Option("--html", metavar="FILE", help="write a page with pictures")]
CompileTime = Annotated[
    bool,
    typer.Option(
        "--compile-time", help="on a CPU: how long kernels take to make, beside LLVM -O3 (isa-embed[llvm]); runs none"
    ),
]
EveryIsa = Annotated[
    bool,
    typer.Option("--table", help="one row for each ISA of --isa (all, or names with commas), from its file alone"),
]
Reference = Annotated[
    bool, typer.Option("--reference", help="on VTA: time TVM's fixed strategy on the same simulator beside it")
]
Export = Annotated[
    Path | None, typer.Option("--export", metavar="DIR", help="on VTA: write every problem as a bundle into DIR")
]
Out = Annotated[
    Path, typer.Option("--out", metavar="DIR", help="where results go, and where an interrupted run goes on")
]
