"""A timed run drawn: the three engines over time, as a page of its own or as Chrome trace events."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from dataflow.errors import UserError
from embed.cli.files import write_whole
from embed.vta.engines import Engine, steps
from embed.vta.program import Program
from embed.vta.simulator import TimingReport
from isa.machine import MachineInstruction

_WIDTH, _ROW, _LEFT = 1400, 34, 80
_COLOURS = {
    "load": "#2563eb",
    "gemm": "#059669",
    "reset": "#a3e635",
    "alu": "#d97706",
    "store": "#7c3aed",
    "finish": "#111",
}
_OWN_LOAD = "#93c5fd"
_NARROWEST = 0.4
"""Pixels; neighbours of one colour are drawn together until they are that wide."""


@dataclass(frozen=True, slots=True)
class Span:
    """One instruction on its engine, in cycles."""

    index: int
    engine: Engine
    instruction: MachineInstruction
    start: int
    end: int


def spans(program: Program, report: TimingReport) -> list[Span]:
    """Every instruction with its engine and its time, in program order."""
    return [
        Span(step.index, step.engine, step.instruction, int(report.start[step.index]), int(report.end[step.index]))
        for step in steps(program.instructions)
    ]


def check_ending(path: Path | None) -> None:
    """Raise UserError for a name that says neither page nor trace events."""
    if path is not None and path.suffix not in _MAKERS:
        raise UserError(f"--trace: {path} does not end in {' or '.join(_MAKERS)}")


def write_trace(path: Path, title: str, program: Program, report: TimingReport) -> None:
    """Write a page (.html) or trace events (.json)."""
    write_whole(path, _MAKERS[path.suffix](title, spans(program, report), report))


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
    style = "body{font:14px system-ui,sans-serif;margin:2em;color:#111}td,th{padding:3px 10px;text-align:right}"
    style += "td:first-child,th:first-child{text-align:left}svg text{font:11px system-ui,sans-serif}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{report.cycles:,} cycles, {len(found):,} instructions; hold the pointer over a bar to see which</p>",
        timeline(found, report.cycles),
        _legend(),
        "<h2>Engines</h2>",
        _engines(report),
        "<h2>Bytes moved</h2>",
        _table(["memory", "bytes"], [[name, f"{size:,}"] for name, size in report.bytes.items()]),
    ]
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{style}</style>'
    return f"<!doctype html>\n<html lang=en><head>{head}</head><body>\n" + "\n".join(parts) + "\n</body></html>\n"


def timeline(found: Sequence[Span], cycles: int) -> str:
    """The three engines as rows of bars."""
    rows = {engine: place for place, engine in enumerate((Engine.LOAD, Engine.COMPUTE, Engine.STORE))}
    scale = (_WIDTH - _LEFT) / max(1, cycles)
    shapes = []
    for engine, row in rows.items():
        top = row * _ROW + 4
        shapes.append(f'<text x="0" y="{top + 18}">{engine.label}</text>')
        for first, last, colour, said in _merged([span for span in found if span.engine is engine], scale):
            width = max(0.2, (last - first) * scale)
            box = f'x="{_LEFT + first * scale:.2f}" y="{top}" width="{width:.2f}" height="{_ROW - 8}"'
            shapes.append(f'<rect {box} fill="{colour}"><title>{escape(said)}</title></rect>')
    bottom = len(rows) * _ROW
    for tenth in range(11):
        at = _LEFT + tenth * (_WIDTH - _LEFT) / 10
        anchor = "end" if tenth == 10 else "middle"
        shapes.append(f'<text x="{at:.1f}" y="{bottom + 16}" text-anchor="{anchor}">{cycles * tenth // 10:,}</text>')
    return f'<svg viewBox="0 0 {_WIDTH} {bottom + 24}" width="100%">{"".join(shapes)}</svg>'


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
    name = span.instruction.name
    if name.startswith("load") and span.engine is Engine.COMPUTE:
        return _OWN_LOAD
    kind = "reset" if name.endswith("reset") else name.partition("_")[0]
    return _COLOURS.get(kind, "#111")


def _legend() -> str:
    kinds = {**_COLOURS, "load by the compute unit": _OWN_LOAD}
    return (
        "<p>"
        + " &nbsp; ".join(f'<span style="color:{c}">&#9632; {escape(k)}</span>' for k, c in kinds.items())
        + "</p>"
    )


def _engines(report: TimingReport) -> str:
    causes = list(dict.fromkeys(cause for spent in report.engines.values() for cause in spent.waiting))
    rows = [
        [engine.label, f"{spent.instructions:,}", f"{spent.busy / max(1, report.cycles):.1%}",
         *(f"{spent.waiting.get(cause, 0):,}" for cause in causes)]
        for engine, spent in report.engines.items()
    ]  # fmt: skip
    return _table(["engine", "instructions", "busy", *(f"waits: {cause}" for cause in causes)], rows)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


_MAKERS = {".html": page, ".json": chrome}
