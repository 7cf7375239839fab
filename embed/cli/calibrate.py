"""`isa-embed isa calibrate`: what this machine's core reaches, beside what the ISA file says of the cores it knows."""

from collections.abc import Callable, Iterator
from typing import Annotated

import typer
from rich.table import Table

import isa as isa_files
from dataflow import UserError
from embed.cli.console import new_table, wide_console
from embed.cli.operators import read_settings
from embed.cli.options import Settings, positive
from embed.cpu.choosing.units import held, unit_sets
from embed.cpu.measuring import probe
from embed.cpu.runner.machine import machine_of
from isa.features import require
from isa.model import Isa, Timing

_LEVELS = {"L1": ("l1_bytes", 32 << 10), "L2": ("l2_bytes", 1 << 20), "L3": ("l3_bytes", 8 << 20)}
"""The constant of a timing section that says how large a cache is, and a size for cores that do not say."""

_MEMORY_BYTES = 1 << 29

Name = Annotated[str, typer.Argument(metavar="NAME|FILE", help="the ISA of this machine's CPU")]
Seconds = Annotated[float, typer.Option("--seconds", callback=positive, help="how long each number is measured")]


def calibrate_command(name: Name = "avx512", settings: Settings = None, seconds: Seconds = 0.2) -> None:
    """Measure this machine's core: multiply-accumulates, latencies, reads of each cache and of memory."""
    target = isa_files.load(name, read_settings(settings or ()))
    if not target.processor or not machine_of(target).native or not probe.compute_entries(target):
        raise UserError(f"{target.name} is not an instruction set of this machine's CPU: nothing to measure")
    require(f"{target.name} probes", target.missing_features())
    hertz = probe.clock(target).burst(seconds)
    wide_console().print(f"clock: {hertz / 1e9:.2f} GHz (dependent additions)", highlight=False)
    wide_console().print(calibration(target, hertz, seconds))


def calibration(target: Isa, hertz: float, seconds: float) -> Table:
    """One row for each number, a column for each core of the file; the ISA's units are per cycle."""
    cores = [timing for timing in target.timings.values() if any(cost.uops for cost in timing.costs.values())]
    names = [timing.name for timing in cores]
    measured = ("measured", "per cycle")
    table = new_table("", "what", *measured, "unit per cycle", *names, right=[*measured, *names])
    for what, rate, unit, expected in _rows(target, hertz, seconds):
        table.add_row(what, rate, *unit, *(expected(timing) for timing in cores))
    return table


_Row = tuple[str, str, tuple[str, str], Callable[[Timing], str]]


def _rows(target: Isa, hertz: float, seconds: float) -> Iterator[_Row]:
    for name in probe.compute_entries(target):
        work = probe.operations(target.instruction(name))
        rate = probe.compute_peak(target, name).burst(seconds)
        cells = (f"{rate / work / hertz:.2f}", "instructions")
        yield name, f"{rate / 1e9:.1f} Gop/s", cells, lambda timing, name=name: throughput(timing, name)  # type: ignore[misc]
        step = 1 / probe.latency(target, name).burst(seconds)
        cells = (f"{step * hertz:.1f}", "cycles")
        yield "  latency", f"{step * 1e9:.2f} ns", cells, lambda timing, name=name: _latency(timing, name)  # type: ignore[misc]
    for level, size in _sizes(target).items():
        rate = probe.read_bandwidth(target, size).burst(seconds)
        constant = f"{level.lower()}_read"
        shown = f"{size >> 10} KiB" if size < 1 << 20 else f"{size >> 20} MiB"
        cells = (f"{rate / hertz:.1f}", "bytes")
        yield (f"reads, {level} ({shown})", f"{rate / 1e9:.1f} GB/s", cells,
               lambda timing, constant=constant: str(timing.constants.get(constant, "-")))  # type: ignore[misc]  # fmt: skip


def throughput(timing: Timing, name: str) -> str:
    """Instructions a cycle that the units of a core take; a dash where its section does not say."""
    cost = timing.costs.get(name)
    if cost is None or not cost.uops:
        return "-"
    return f"{1 / max(held(cost, units) / len(units) for units in unit_sets([cost])):.2f}"


def _latency(timing: Timing, name: str) -> str:
    cost = timing.costs.get(name)
    return "-" if cost is None else str(cost.latency)


def _sizes(target: Isa) -> dict[str, int]:
    """A buffer for each cache, half its size."""
    constants = target.timing.constants if target.timings else {}
    found = {level: constants.get(key, 2 * size) // 2 for level, (key, size) in _LEVELS.items()}
    found["L3"] = max(found["L3"], 4 * found["L2"])  # a core's slice is less than what it can use
    return {**found, "memory": _MEMORY_BYTES}
