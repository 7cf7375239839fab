"""`isa-embed run`: execute an operator, or a bundle that `compile` wrote, and compare with the reference."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.table import Table

import embed
import isa as isa_files
from dataflow import evaluate
from embed.cli.console import new_table, wide_console
from embed.cli.data import read_inputs
from embed.cli.exits import Defect
from embed.cli.files import Array, check_writable, read_bytes, write_array
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
)
from embed.vta import bundle
from embed.vta.executable import VtaKernel
from embed.vta.simulator import TimingReport, simulate

Words = Annotated[
    list[str] | None,
    typer.Argument(metavar="DIR | OPERATOR SIZES...", help="a bundle, or an operator to compile", show_default=False),
]
Ran = tuple[Array, TimingReport, str]
"""A result, its timing, and what it was compared with."""

Output = Annotated[Path | None, typer.Option("--output", metavar="FILE.npy", help="write the result")]


def run_command(
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
    output: Output = None,
) -> None:
    """Execute an operator or a bundle on given or random data, check the result, and show what it took."""
    check_writable(output)
    if expr is None and words and is_bundle(words):
        result, timing, checked = _run_bundle(Path(words[0]), inputs or (), seed)
    else:
        operator = read_operator(words or (), expr=expr, dtype=dtype, epilogue=epilogue)
        target = isa_files.load(isa, read_settings(settings or ()))
        arrays = read_inputs(operator, inputs or (), seed)
        solution = embed.best(operator, target, objective=objective, time_limit=time_limit, seed=seed)
        typer.echo(f"{operator.title}\n{solution.embedding}")
        result, timing, checked = _run_kernel(embed.compile(operator, target, solution), arrays)
    if output:
        write_array(output, result)
    wide_console().print(run_table(timing, checked))


def is_bundle(words: list[str]) -> bool:
    """Whether the words are a path, the place of a bundle, and not an operator."""
    return len(words) == 1 and ("/" in words[0] or Path(words[0]).exists())


def _run_bundle(directory: Path, words: Sequence[str], seed: int) -> Ran:
    """Run the bundle's own bytes on its own data; or, with data given, on that."""
    kernel, program = bundle.load(directory)
    operator = kernel.embedding.operator
    typer.echo(f"{operator.title}\n{kernel.embedding}")
    if words:
        return _run_kernel(kernel, read_inputs(operator, words, seed))
    [(name, data)] = simulate(program, kernel.machine).outputs.items()
    expected = read_bytes(directory / "expected" / f"{name}.bin")
    if not np.array_equal(data, expected):
        raise Defect(f"{directory}: the result differs from expected/{name}.bin")
    return kernel.unpack(data), kernel.timing(), f"equals expected/{name}.bin"


def _run_kernel(kernel: VtaKernel, arrays: dict[str, Array]) -> Ran:
    operator = kernel.embedding.operator
    result = kernel(**arrays)
    if not np.array_equal(result, evaluate(operator, arrays)):
        raise Defect(f"the result of {operator.title} differs from the reference; please report it")
    return result, kernel.timing(), "equals the reference bit for bit"


def run_table(timing: TimingReport, checked: str) -> Table:
    """Cycles, the share of them each engine was busy, and bytes by memory."""
    table = new_table("")
    table.add_row("result", checked)
    table.add_row("cycles, simulated", f"{timing.cycles:,}")
    for engine, spent in timing.engines.items():
        table.add_row(f"{engine.name.lower()} busy", f"{spent.busy / max(1, timing.cycles):.1%}")
    table.add_row("bytes moved", f"{sum(timing.bytes.values()):,}")
    for memory, size in timing.bytes.items():
        table.add_row(f"  {memory}", f"{size:,}")
    return table
