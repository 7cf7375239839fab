"""A timed run drawn: the three engines over time, as a page of its own or as Chrome trace events."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from dataflow.errors import UserError
from embed.cli.files import write_whole
from embed.html import document, hint, legend, table
from embed.vta.engines import Engine, Queue
from embed.vta.machine import Machine
from embed.vta.program import Program
from embed.vta.roles import Job, Role, Scratchpad
from embed.vta.simulator import TimingReport
from embed.vta.simulator.report import BUS, END, FETCH, INSTRUCTIONS
from embed.vta.steps import steps
from isa.machine import MachineInstruction

_WIDTH, _ROW, _LEFT = 1100, 40, 76
_COLOURS = {
    Job.LOAD: "#2563eb",
    Job.GEMM: "#059669",
    Job.RESET: "#84cc16",
    Job.ALU: "#d97706",
    Job.STORE: "#7c3aed",
    Job.FINISH: "#6b7280",
}
_MEANS = {
    Job.LOAD: "load: a tile into a scratchpad",
    Job.GEMM: "gemm: multiply and add",
    Job.RESET: "reset: clear accumulators",
    Job.ALU: "alu: shift, bias, clip",
    Job.STORE: "store: results to memory",
    Job.FINISH: "finish",
}
_OWN_LOAD = "#93c5fd"
_NARROWEST = 0.4
"""Pixels; neighbours of one colour are drawn together until they are that wide."""

_PART = 25
"""The first and the last of so many parts of a program are drawn again, enlarged."""

_LEGIBLE = 760
"""Pixels; a timeline that is narrower has letters that are too small."""

_SAID = (
    "One row for each engine of VTA, cycles from left to right; what is empty is waiting. A good program keeps the "
    "compute row full: tiles are loaded before it needs them, and results stored while it goes on. Point at a bar for "
    "its instruction."
)
_WAITS = {
    FETCH: "its instructions",
    BUS: "the bus",
    END: "the end",
    Queue.LOAD_TO_COMPUTE.label: "tiles to be loaded",
    Queue.COMPUTE_TO_LOAD.label: "room for tiles",
    Queue.COMPUTE_TO_STORE.label: "results",
    Queue.STORE_TO_COMPUTE.label: "results to be stored",
}
_MEMORIES = {
    INSTRUCTIONS: "instructions",
    Scratchpad.UOP: "micro-ops",
    Scratchpad.INP: "inputs",
    Scratchpad.WGT: "weights",
    Scratchpad.ACC: "biases",
    Scratchpad.OUT: "results, written",
}


@dataclass(frozen=True, slots=True)
class Span:
    """One instruction on its engine, in cycles."""

    index: int
    role: Role
    instruction: MachineInstruction
    start: int
    end: int

    @property
    def engine(self) -> Engine:
        return self.role.engine


def spans(program: Program, machine: Machine, report: TimingReport) -> list[Span]:
    """Every instruction with its engine and its time, in program order."""
    return [
        Span(step.index, step.role, step.instruction, int(report.start[step.index]), int(report.end[step.index]))
        for step in steps(program.instructions, machine.roles)
    ]


def check_ending(path: Path | None) -> None:
    """Raise UserError for a name that says neither page nor trace events."""
    if path is not None and path.suffix not in _MAKERS:
        raise UserError(f"--trace: {path} does not end in {' or '.join(_MAKERS)}")


def write_trace(path: Path, title: str, program: Program, machine: Machine, report: TimingReport) -> None:
    """Write a page (.html) or trace events (.json)."""
    write_whole(path, _MAKERS[path.suffix](title, spans(program, machine, report), report))


def chrome(title: str, found: Sequence[Span], report: TimingReport) -> str:
    """Chrome trace-event JSON, which Perfetto opens; a microsecond stands for a cycle."""
    names = [
        {"ph": "M", "pid": 1, "tid": engine + 1, "name": "thread_name", "args": {"name": engine.label}}
        for engine in Engine
    ]
    events = [
        {
            "ph": "X", "pid": 1, "tid": span.engine + 1, "name": span.instruction.name, "cat": span.engine.label,
            "ts": span.start, "dur": span.end - span.start, "args": {"index": span.index, **span.instruction.fields},
        }
        for span in found
    ]  # fmt: skip
    data = {"cycles": report.cycles, "operator": title}
    return json.dumps({"traceEvents": [*names, *events], "displayTimeUnit": "ns", "otherData": data})


def page(title: str, found: Sequence[Span], report: TimingReport) -> str:
    """A page without anything from elsewhere: the timeline, and who was busy, waited and moved how much."""
    part = -(-report.cycles // _PART)
    parts = [
        f"<p>{report.cycles:,} cycles, {len(found):,} instructions</p>",
        hint(_SAID),
        legend({_MEANS[job]: colour for job, colour in _COLOURS.items()} | {"load by the compute unit": _OWN_LOAD}),
        "<h2>The whole program</h2>",
        timeline(found, 0, report.cycles),
        f"<h3>How it starts: the first {part:,} cycles</h3>",
        timeline(found, 0, part),
        f"<h3>How it ends: the last {part:,} cycles</h3>",
        timeline(found, report.cycles - part, report.cycles),
        "<h2>Engines</h2>",
        hint("Shares of all cycles, by engine."),
        _engines(report),
        "<h2>Bytes moved</h2>",
        table(["memory", "bytes"], [[_MEMORIES[name], f"{size:,}"] for name, size in report.bytes.items()], (1,)),
    ]
    return document(title, parts)


def timeline(found: Sequence[Span], first: int, last: int) -> str:
    """The three engines as rows of bars, from one cycle to another."""
    rows = {engine: place for place, engine in enumerate((Engine.LOAD, Engine.COMPUTE, Engine.STORE))}
    scale = (_WIDTH - _LEFT) / max(1, last - first)
    bottom = len(rows) * _ROW
    shapes = list(_ticks(first, last, bottom))
    for engine, row in rows.items():
        top = row * _ROW + 4
        shapes.append(f'<text class="note" x="0" y="{top + 21}">{engine.label}</text>')
        seen = [span for span in found if span.engine is engine and span.end > first and span.start < last]
        for start, end, colour, said in _merged(seen, scale):
            left, right = (_LEFT + (min(max(at, first), last) - first) * scale for at in (start, end))
            box = f'x="{left:.2f}" y="{top}" width="{max(0.2, right - left):.2f}" height="{_ROW - 8}"'
            shapes.append(f'<rect {box} fill="{colour}"><title>{escape(said)}</title></rect>')
    size = f'viewBox="0 0 {_WIDTH} {bottom + 26}" style="min-width:{_LEGIBLE}px;width:100%"'
    return f'<div class="scroll"><svg {size} role="img" aria-label="timeline">{"".join(shapes)}</svg></div>'


def _ticks(first: int, last: int, bottom: int) -> Iterator[str]:
    """A line and a number at every fifth of the cycles."""
    for fifth in range(6):
        at = _LEFT + fifth * (_WIDTH - _LEFT) / 5
        said = f"{first + (last - first) * fifth // 5:,}" + " cycles" * (fifth == 5)
        anchor = {0: "start", 5: "end"}.get(fifth, "middle")
        yield f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="0" y2="{bottom + 4}"/>'
        yield f'<text x="{at:.1f}" y="{bottom + 20}" text-anchor="{anchor}">{said}</text>'


def _merged(found: Sequence[Span], scale: float) -> Iterator[tuple[int, int, str, str]]:
    """Bars of one engine (first cycle, last, colour, text): instructions too narrow to see are drawn together."""
    group: list[Span] = []
    for span in found:
        same = group and _colour(span) == _colour(group[0])
        narrow = group and (group[-1].end - group[0].start) * scale < _NARROWEST
        if group and not (same and narrow):
            yield _bar(group)
            group = []
        group.append(span)
    if group:
        yield _bar(group)


def _bar(group: Sequence[Span]) -> tuple[int, int, str, str]:
    first, last = group[0], group[-1]
    said = f"{first.index} {first.instruction.name}" if len(group) == 1 else f"{first.index} to {last.index}"
    return first.start, last.end, _colour(first), f"{said}: cycles {first.start:,} to {last.end:,}"


def _colour(span: Span) -> str:
    own = span.role.job is Job.LOAD and span.engine is Engine.COMPUTE
    return _OWN_LOAD if own else _COLOURS[span.role.job]


def _engines(report: TimingReport) -> str:
    order = (Engine.LOAD, Engine.COMPUTE, Engine.STORE)
    spent = [report.engines[engine] for engine in order]
    causes = [cause for cause in _WAITS if any(each.waiting.get(cause) for each in spent)]
    rows = [["instructions", *(f"{each.instructions:,}" for each in spent)]]
    rows += [["busy", *(_share(each.busy, report) for each in spent)]]
    for cause in causes:
        rows += [[f"waits for {_WAITS[cause]}", *(_share(each.waiting.get(cause, 0), report) for each in spent)]]
    return table(["", *(engine.label for engine in order)], rows, (1, 2, 3))


def _share(cycles: int, report: TimingReport) -> str:
    return f"{cycles / max(1, report.cycles):.1%}" if cycles else "-"


_MAKERS = {".html": page, ".json": chrome}
