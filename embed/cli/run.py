"""`isa-embed run`: execute an operator, or what `compile` wrote, and compare with the reference."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.table import Table

import embed
from dataflow import Operator, UserError, evaluate
from embed.abstract.kernel import AbstractKernel
from embed.cli.asked import AskedEmbedding, AskedIsa, AskedKernel, AskedOperator, refuse
from embed.cli.console import new_table, wide_console
from embed.cli.data import read_inputs
from embed.cli.exits import Defect
from embed.cli.files import Array, check_writable, read_bytes, write_array
from embed.cli.groups import grouped
from embed.cli.machines import compile_for_cpu, run_abstract, run_on_cpu, show_packings, written_or_best
from embed.cli.options import Inputs, Written
from embed.cli.plans import plan_of, run_plan
from embed.cli.trace import check_ending, write_trace
from embed.cpu import archive
from embed.cpu.kernel import CpuKernel
from embed.embedding import Embedding
from embed.kernel import Machine
from embed.nodes.kernel import PlanKernel
from embed.parse import read_embedding
from embed.vta import bundle_reader
from embed.vta.executable import VtaKernel
from embed.vta.simulator import TimingReport, simulate
from isa.model import Isa

Words = Annotated[
    list[str] | None,
    typer.Argument(metavar="PATH | OPERATOR SIZES...", help="a bundle or kernel, or an operator", show_default=False),
]
Trace = Annotated[
    Path | None,
    typer.Option("--trace", metavar="FILE", help="on VTA: draw the engines over time, .html; or .json for Perfetto"),
]
Output = Annotated[Path | None, typer.Option("--output", metavar="FILE.npy", help="write the result")]


@dataclass(frozen=True, slots=True)
class _AskedRun(AskedOperator):
    """An operator, or what `compile` wrote."""

    words: Words = None


@grouped
def run_command(
    operator: _AskedRun,
    isa: AskedIsa,
    search: AskedEmbedding,
    cpu: AskedKernel,
    inputs: Inputs = None,
    output: Output = None,
    trace: Trace = None,
    embedding: Written = None,
) -> None:
    """Execute an operator, a bundle or a kernel on given or random data, check the result, and show what it took."""
    check_writable(output, trace)
    check_ending(trace)
    words: Sequence[str] = operator.words or ()
    if operator.expr is None and is_saved(words):
        _refuse_asked(operator, isa, search, {**cpu.given, "--embedding": embedding})
        result, table = _run_saved(Path(words[0]), inputs or (), search.seed, trace)
    else:
        asked, target = operator.read(), isa.load()
        chosen = read_embedding(embedding, asked, target) if embedding is not None else None
        result, table = _run_operator(asked, target, search, cpu, inputs or (), trace, chosen)
    if output:
        write_array(output, result)
    wide_console().print(table)


def _refuse_asked(operator: AskedOperator, isa: AskedIsa, search: AskedEmbedding, given: Mapping[str, object]) -> None:
    """Raise UserError for an option that says how to compile, given with what is compiled."""
    options = {
        "--dtype": operator.dtype,
        "--epilogue": operator.epilogue != "none",
        "--isa": isa.isa != AskedIsa().isa,
        "--set": isa.settings,
        "--layout": search.layout,
        "--demand": search.demand,
        "--relax": search.relax,
        **given,
    }
    for option in (option for option, value in options.items() if value):
        raise UserError(f"{option}: what `compile` wrote is run as it is; name an operator to compile another")


def _run_operator(
    operator: Operator,
    target: Isa,
    search: AskedEmbedding,
    cpu: AskedKernel,
    inputs: Sequence[str],
    trace: Path | None,
    chosen: Embedding | None,
) -> tuple[Array, Table]:
    arrays = read_inputs(operator, inputs, search.seed)
    settings = search.read()
    plan = None if chosen else plan_of(operator, target, settings)
    if plan is not None:
        refuse("run", target, {**cpu.given, "--trace": trace})
        typer.echo(f"{operator.title}\n{plan}")
        return run_plan(plan, arrays)
    if Machine.of(target) is Machine.CPU:
        refuse("run", target, {"--trace": trace})
        return _run_cpu(compile_for_cpu(operator, target, search, cpu, (), chosen), arrays)
    refuse("run", target, cpu.given)
    chosen = written_or_best(operator, target, search, chosen)
    typer.echo(f"{operator.title}\n{chosen}")
    return _run_compiled(embed.compile(operator, target, chosen, layouts=search.layouts), arrays, trace)


def _run_compiled(
    kernel: VtaKernel | CpuKernel | AbstractKernel | PlanKernel, arrays: dict[str, Array], trace: Path | None
) -> tuple[Array, Table]:
    if isinstance(kernel, AbstractKernel):
        refuse("run", kernel.target, {"--trace": trace})
        return run_abstract(kernel, arrays)
    assert not isinstance(kernel, PlanKernel)
    return _run_kernel(kernel, arrays, trace)


def _run_saved(path: Path, words: Sequence[str], seed: int, trace: Path | None) -> tuple[Array, Table]:
    if not path.exists():
        raise UserError(f"{path}: there is no such bundle or kernel; `isa-embed compile` writes them")
    if not path.is_file():
        return _run_bundle(path, words, seed, trace)
    kernel = archive.load(path)
    refuse("run", kernel.target, {"--trace": trace})
    return _run_cpu(kernel, read_inputs(kernel.operator, words, seed))


def _run_cpu(kernel: CpuKernel, arrays: dict[str, Array]) -> tuple[Array, Table]:
    typer.echo(f"{kernel.operator.title}\n{kernel.embedding}")
    return run_on_cpu(kernel, arrays)


def is_saved(words: Sequence[str]) -> bool:
    """Whether the words are a path, the place of a bundle or kernel, and not an operator."""
    return len(words) == 1 and ("/" in words[0] or Path(words[0]).exists())


def _run_bundle(directory: Path, words: Sequence[str], seed: int, trace: Path | None) -> tuple[Array, Table]:
    """Run the bundle's own bytes on its own data; or, with data given, on that."""
    kernel, program = bundle_reader.load(directory)
    operator = kernel.held.own
    typer.echo(f"{operator.title}\n{kernel.embedding}")
    if words:
        return _run_kernel(kernel, read_inputs(operator, words, seed), trace)
    [(name, data)] = simulate(program, kernel.machine).outputs.items()
    expected = read_bytes(directory / "expected" / f"{name}.bin")
    if not np.array_equal(data, expected):
        raise Defect(f"{directory}: the result differs from expected/{name}.bin")
    timing = _timed(replace(kernel, code=program), trace)
    return kernel.held.plain(kernel.unpack(data)), run_table(timing, f"equals expected/{name}.bin")


def _timed(kernel: VtaKernel, trace: Path | None) -> TimingReport:
    """A timed run, drawn where asked for."""
    timing = kernel.timing()
    if trace:
        title = f"{kernel.embedding.operator.title} on {kernel.target.name}"
        write_trace(trace, title, kernel.code, kernel.machine, timing)
    return timing


def _run_kernel(kernel: VtaKernel | CpuKernel, arrays: dict[str, Array], trace: Path | None) -> tuple[Array, Table]:
    assert not isinstance(kernel, CpuKernel)
    operator = kernel.held.own
    result = kernel.held.plain(kernel(**kernel.held.lying(arrays)))
    if not np.array_equal(result, evaluate(operator, arrays)):
        raise Defect(f"the result of {operator.title} differs from the reference; please report it")
    table = run_table(_timed(kernel, trace), "equals the reference bit for bit")
    show_packings(table, kernel)
    return result, table


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
