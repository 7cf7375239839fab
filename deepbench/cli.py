"""The command `isa-embed deepbench`, and the program `isa-embed` with all its commands."""

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from dataflow import UserError
from deepbench import emulated_html, vta_html
from deepbench.compile_time import measure, print_compile_times
from deepbench.emulated import run_emulated
from deepbench.emulated_table import print_emulated
from deepbench.every_isa import asked_isas, print_every, run_every
from deepbench.executor import Executor, LocalProcesses
from deepbench.heatmap import write_heatmap
from deepbench.journal import open_journal
from deepbench.native_run import Files, read_threads, report, run_on_cpu, write_records
from deepbench.options import (
    CORES,
    CompileTime,
    CsvFile,
    EveryIsa,
    Export,
    HtmlFile,
    Jobs,
    Only,
    Ops,
    Out,
    Peers,
    Quick,
    Reference,
    Seconds,
    Suites,
    Threads,
)
from deepbench.outcome import exit_code
from deepbench.problems import OPS, SUITES, Problem, select
from deepbench.progress import progress_bar
from deepbench.record import EmulatedRecord
from deepbench.run_abstract import run_abstract
from deepbench.run_one import run_one
from deepbench.suite import Kind, NativeSettings, Settings, Task, run_suite
from deepbench.sweep_cli import sweep_command
from deepbench.table import print_report
from embed.cli.app import app, run
from embed.cli.console import wide_console
from embed.cli.files import check_writable, make_directory
from embed.cli.operators import read_settings
from embed.cli.options import IsaName, JsonFile, Objective, Seed, TimeLimit
from embed.cli.options import Settings as SetOption
from embed.cli.record import Record
from embed.cpu.machine import check_runs
from embed.kernel import Machine
from isa import load
from isa.model import Isa

app.command("sweep")(sweep_command)


@app.command()
def deepbench(
    isa: IsaName = "vta",
    settings: SetOption = None,
    suite: Suites = None,
    op: Ops = None,
    only: Only = None,
    quick: Quick = False,
    objective: Objective = "cycles",
    time_limit: TimeLimit = 10.0,
    seed: Seed = 0,
    jobs: Jobs = CORES,
    json: JsonFile = None,
    csv: CsvFile = None,
    out: Out = Path("deepbench-results"),
    threads: Threads = "1",
    peers: Peers = False,
    seconds: Seconds = 0.3,
    html: HtmlFile = None,
    compile_time: CompileTime = False,
    table: EveryIsa = False,
    reference: Reference = False,
    export: Export = None,
) -> int:
    """Run DeepBench's problems on an instruction set: embed, compile, execute, check, and show what it costs."""
    parameters = tuple(read_settings(settings or ()).items())
    asked = Settings(isa, parameters, objective, time_limit, seed, reference, str(export.resolve()) if export else "")
    if table:
        given = peers or compile_time or threads != "1"
        return _table(_usual(suite, op, only, quick), asked, jobs, Files(out, json, csv, html), given)
    target = load(isa, dict(asked.parameters))
    cpu = Machine.of(target) is Machine.CPU
    emulated = cpu and not target.is_x86
    usual = SUITES[1:2] if emulated and not compile_time else SUITES[:2]
    problems = select(suite or usual, op or OPS, only or (), quick)
    files = Files(out, json, csv, html)
    check_writable(json, csv, html)
    make_directory(out)
    if Machine.of(target) is not Machine.MICRO_OPERATIONS and (reference or export):
        raise UserError(f"--reference and --export are for VTA, not for {target.name}")
    if compile_time and cpu:
        return _compile_times(problems, target, files)
    if cpu and not emulated:
        native = NativeSettings(isa, parameters, objective, time_limit, seed, peers=peers, seconds=seconds)
        return _on_cpu(problems, native, read_threads(threads), files, target)
    native_only = {"--peers": peers, "--threads": threads != "1", "--compile-time": compile_time}
    _refuse(target, native_only)
    executor = LocalProcesses(min(jobs, len(problems)))
    return (_emulated if emulated else _simulated)(problems, asked, executor, files, target)


def main() -> None:
    """The program `isa-embed`."""
    sys.exit(run(app))


def _usual(suite: list[str] | None, op: list[str] | None, only: list[str] | None, quick: bool) -> list[Problem]:
    return select(suite or SUITES[:2], op or OPS, only or (), quick)


def _table(problems: list[Problem], asked: Settings, jobs: int, files: Files, native: bool) -> int:
    """The suite on several instruction sets; raises UserError if options for CPUs, `native`, are given."""
    if native:
        raise UserError("--table runs ISA files, not CPUs: it takes no --peers, --threads or --compile-time")
    settings = [replace(asked, isa=name) for name in asked_isas(asked.isa)]
    check_writable(files.json, files.csv, files.html)
    make_directory(files.out)
    executor = LocalProcesses(min(jobs, len(problems)))
    with progress_bar() as progress:
        bar = progress.add_task("DeepBench x ISA", total=len(problems) * len(settings), problem="")
        found, wall = run_every(
            problems, settings, executor, files.out, lambda r: progress.update(bar, advance=1, problem=r.problem)
        )
    write_records([record for row in found.values() for record in row], files)
    if files.html:
        write_heatmap(files.html, problems, found)
    print_every(wide_console(least=160), found, wall)
    return exit_code([record for row in found.values() for record in row])


def _simulated(problems: list[Problem], asked: Settings, executor: Executor, files: Files, target: Isa) -> int:
    """On VTA's simulator, or as an abstract program."""
    runner = run_abstract if Machine.of(target) is Machine.ABSTRACT else run_one
    records, wall = _run(problems, asked, executor, files.out, runner, Record)
    write_records(records, files)
    if files.html:
        vta_html.write_html(files.html, records)
    print_report(wide_console(least=160), problems, records, wall)
    return exit_code(records)


def _refuse(target: Isa, options: Mapping[str, object]) -> None:
    """Raise UserError for options that were given and that this machine does not have."""
    given = [name for name, value in options.items() if value]
    if given:
        raise UserError(f"{', '.join(given)}: only for a CPU that runs here, not for {target.name}")


def _run(
    problems: list[Problem],
    asked: Settings,
    executor: Executor,
    out: Path,
    runner: Callable[[Task], Kind],
    kind: type[Kind],
) -> tuple[list[Kind], float]:
    start = time.monotonic()
    with open_journal(out, kind) as journal, progress_bar() as progress:
        bar = progress.add_task("DeepBench", total=len(problems), problem="")
        records = run_suite(
            problems, asked, journal, executor, runner, lambda r: progress.update(bar, advance=1, problem=r.problem)
        )
        journal.discard()
    return records, time.monotonic() - start


def _emulated(problems: list[Problem], asked: Settings, executor: Executor, files: Files, target: Isa) -> int:
    check_runs(target)
    records, wall = _run(problems, asked, executor, files.out, run_emulated, EmulatedRecord)
    write_records(records, files)
    rows = list(zip(problems, records, strict=True))
    if files.html:
        emulated_html.write_html(files.html, rows, wall)
    print_emulated(wide_console(least=240), rows, wall)
    return exit_code(records)


def _on_cpu(problems: list[Problem], asked: NativeSettings, threads: list[int], files: Files, target: Isa) -> int:
    with progress_bar() as progress:
        bar = progress.add_task("DeepBench", total=len(problems) * len(threads), problem="")
        rows, wall = run_on_cpu(
            problems, asked, threads, files.out, target, lambda r: progress.update(bar, advance=1, problem=r.problem)
        )
    records = report(wide_console(least=160), rows, wall, files)
    return exit_code(records)


def _compile_times(problems: list[Problem], target: Isa, files: Files) -> int:
    with progress_bar() as progress:
        bar = progress.add_task("compile time", total=len(problems), problem="")
        records = measure(problems, target, lambda r: progress.update(bar, advance=1, problem=r.problem))
    write_records(records, files)
    print_compile_times(wide_console(least=160), problems, records)
    return exit_code(records)
