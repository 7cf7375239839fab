"""The command `isa-embed deepbench`, and the program `isa-embed` with all its commands."""

import gc
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from dataflow import UserError
from deepbench.abstract.every_isa import ALL, asked_isas, print_every, run_every
from deepbench.abstract.run import run_abstract
from deepbench.emulated import page as emulated_page
from deepbench.emulated.record import EmulatedRecord
from deepbench.emulated.run import run_emulated
from deepbench.emulated.table import print_emulated
from deepbench.executor import Executor, LocalProcesses
from deepbench.journal import open_journal
from deepbench.native.compile_time import measure, print_compile_times
from deepbench.native.suite import read_threads, report, run_on_cpu
from deepbench.options import AskedFiles, AskedProblems, AskedTimes, EveryIsa, Export, Reference
from deepbench.outcome import exit_code
from deepbench.pages.heatmap import write_heatmap
from deepbench.problems import SUITES, Problem
from deepbench.progress import progress_bar
from deepbench.report import print_report
from deepbench.results import Files, write_records
from deepbench.suite import Kind, NativeSettings, Settings, Task, run_suite
from deepbench.sweep.command import sweep_command
from deepbench.vta import page as vta_page
from deepbench.vta.run import run_one
from embed.cli.app import app, run
from embed.cli.asked import AskedIsa, AskedSearch
from embed.cli.console import wide_console
from embed.cli.groups import grouped
from embed.cli.machines import check_search
from embed.cli.record import Record
from embed.cpu.runner.machine import check_runs
from embed.kernel import Machine
from embed.vta.roles import roles_of
from isa.model import Isa

app.command("sweep")(sweep_command)


@app.command()
@grouped
def deepbench(
    isa: AskedIsa,
    chosen: AskedProblems,
    search: AskedSearch,
    results: AskedFiles,
    times: AskedTimes,
    table: EveryIsa = False,
    reference: Reference = False,
    export: Export = None,
) -> int:
    """Run DeepBench's problems on an instruction set: embed, compile, execute, check, and show what it costs."""
    exported = str(export.resolve()) if export else ""
    asked = Settings(*_common(isa, search), reference, exported, search.relaxations)
    if table:
        return _table(chosen, asked, results, times)
    if isa.isa == ALL or "," in isa.isa:
        raise UserError(f"--isa {isa.isa}: several instruction sets make a table: add --table")
    target = isa.load()
    cpu = Machine.of(target) is Machine.CPU
    emulated = cpu and not target.is_x86
    if cpu:
        check_search(target, search)
    problems = chosen.read(SUITES[1:2] if emulated and not times.compile_time else SUITES[:2])
    if Machine.of(target) is not Machine.MICRO_OPERATIONS and (reference or export):
        raise UserError(f"--reference and --export are for VTA, not for {target.name}")
    if times.compile_time and cpu:
        return _compile_times(problems, target, results.open())
    if cpu and not emulated:
        native = NativeSettings(*_common(isa, search), peers=times.peers, seconds=times.seconds)
        return _on_cpu(problems, native, read_threads(times.threads), results.open(), target)
    if times.given:
        raise UserError(f"{', '.join(times.given)}: only for a CPU that runs here, not for {target.name}")
    executor = LocalProcesses(min(chosen.jobs, len(problems)))
    return (_emulated if emulated else _simulated)(problems, asked, executor, results.open(), target)


def _common(isa: AskedIsa, search: AskedSearch) -> tuple[str, tuple[tuple[str, int], ...], str, float, int]:
    """What every record depends on, in the order of Settings."""
    return isa.isa, tuple(isa.parameters.items()), search.objective, search.time_limit, search.seed


def main() -> None:
    """The program `isa-embed`."""
    gc.freeze()  # what was imported stays: full collections need not look at it
    sys.exit(run(app))


def _table(chosen: AskedProblems, asked: Settings, results: AskedFiles, times: AskedTimes) -> int:
    """The suite on several instruction sets; raises UserError if options for CPUs are given."""
    if times.given:
        raise UserError("--table runs ISA files, not CPUs: it takes no --peers, --threads or --compile-time")
    relaxations = asked.relax or ()
    settings = [replace(asked, isa=name, relax=relaxations) for name in asked_isas(asked.isa)]
    problems, files = chosen.read(), results.open()
    executor = LocalProcesses(min(chosen.jobs, len(problems)))
    with progress_bar() as progress:
        bar = progress.add_task("DeepBench x ISA", total=len(problems) * len(settings), problem="")
        found, wall = run_every(
            problems, settings, executor, files.out, lambda r: progress.update(bar, advance=1, problem=r.problem)
        )
    write_records([record for row in found.values() for record in row], files)
    if files.html:
        write_heatmap(files.html, problems, found)
    print_every(wide_console(least=160), found, wall, relaxations)
    return exit_code([record for row in found.values() for record in row])


def _simulated(problems: list[Problem], asked: Settings, executor: Executor, files: Files, target: Isa) -> int:
    """On VTA's simulator, or as an abstract program."""
    runner = run_abstract
    if Machine.of(target) is Machine.MICRO_OPERATIONS:
        roles_of(target)  # a file that lacks one is refused once, not with every problem
        runner = run_one
    records, wall = _run(problems, asked, executor, files.out, runner, Record)
    write_records(records, files)
    if files.html:
        vta_page.write_html(files.html, records)
    print_report(wide_console(least=160), problems, records, wall)
    return exit_code(records)


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
        emulated_page.write_html(files.html, rows, wall)
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
