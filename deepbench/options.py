"""Options of the commands that run suites: which problems, where results go, what is timed."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from deepbench.problems import OPS, SUITES, Problem, select
from deepbench.results import Files
from embed.cli.files import check_writable, make_directory
from embed.cli.options import JsonFile, positive

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
    bool,
    typer.Option("--peers", help="on a CPU: time PyTorch, onnxruntime and OpenBLAS beside it (isa-embed\\[peers])"),
]
Seconds = Annotated[
    float, typer.Option("--seconds", callback=positive, help="on a CPU: how long each problem is timed, and each peer")
]
HtmlFile = Annotated[Path | None, typer.Option("--html", metavar="FILE", help="write a page with pictures")]
CompileTime = Annotated[
    bool,
    typer.Option(
        "--compile-time", help="on a CPU: how long kernels take to make, beside LLVM -O3 (isa-embed\\[llvm]); runs none"
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


@dataclass(frozen=True, slots=True)
class AskedProblems:
    """Which problems of the suites, and how many at a time."""

    suite: Suites = None
    op: Ops = None
    only: Only = None
    quick: Quick = False
    jobs: Jobs = CORES

    def read(self, usual: Sequence[str] = SUITES[:2]) -> list[Problem]:
        """The problems, of the suites `usual` if none is named; raises UserError where none is left."""
        return select(self.suite or usual, self.op or OPS, self.only or (), self.quick)


@dataclass(frozen=True, slots=True)
class AskedFiles:
    """Where results go besides the screen."""

    json: JsonFile = None
    csv: CsvFile = None
    html: HtmlFile = None
    out: Out = Path("deepbench-results")

    def open(self) -> Files:
        """The files, which can be written, and the directory, which is there; raises UserError where that fails."""
        check_writable(self.json, self.csv, self.html)
        make_directory(self.out)
        return Files(self.out, self.json, self.csv, self.html)


@dataclass(frozen=True, slots=True)
class AskedTimes:
    """What is timed on a CPU, and what it is compared with."""

    threads: Threads = "1"
    peers: Peers = False
    seconds: Seconds = 0.3
    compile_time: CompileTime = False

    @property
    def given(self) -> list[str]:
        """The options that were given."""
        asked = {"--peers": self.peers, "--threads": self.threads != "1", "--compile-time": self.compile_time}
        return [option for option, value in asked.items() if value]
