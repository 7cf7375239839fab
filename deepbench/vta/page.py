"""The report of a run on VTA as one page that needs no network: bounds, roofline, TVM beside it, all problems."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from deepbench.means import geomean
from deepbench.pages.chart import HEIGHT, MARGIN, WIDTH, Axis, figure, grid, note, ticks
from deepbench.vta.speed import bound_ratio, causes, worst
from embed.cli.files import write_whole
from embed.cli.record import Record
from embed.html import document, hint, legend, sorted_table

_COLOURS = {"conv": "#2563eb", "gemm": "#059669"}
_OTHER = "#6b7280"
_LOSS = "#dc2626"

_ROOF = (
    "Each point is a problem; point at it for its name. On the roof's slope it takes as long as the bus needs to read "
    "every tensor once, on the flat part as long as its multiplications. What is below the roof is time for the "
    "epilogue, idle lanes, and waiting."
)
_LOST = (
    "The bound is the longer of what the compute unit takes at full speed and of what the bus takes to read every "
    "packed input once. Causes are shares of all cycles. Stores have a channel of their own and are not in the bound."
)


def write_html(path: Path, records: Sequence[Record]) -> None:
    """Write the page, whole."""
    write_whole(path, page(records))


def page(records: Sequence[Record]) -> str:
    """The text of the page."""
    timed = [record for record in records if bound_ratio(record)]
    shape = " ".join(f"{name}={value}" for name, value in records[0].parameters.items())
    parts = [f"<p>{escape(shape)}</p>", _means(timed)]
    if timed:
        parts += [roofline(timed), speedups(timed)]
    parts += ["<h2>The twenty worst</h2>", hint(_LOST), _worst_rows(timed), "<h2>All problems</h2>", _all_rows(records)]
    return document(f"DeepBench on {records[0].isa}", parts)


def roofline(records: Sequence[Record]) -> str:
    """The share of the peak over the work of a bus cycle, both logarithmic, under min(1, x).

    x is compute cycles at full use of all lanes for each cycle of the bus that reads every tensor once.
    """
    points = [(record, work / max(1, record.bus_bound or 0), work / (record.cycles or 1))
              for record in records if (work := _work(record))]  # fmt: skip
    x = Axis.over([*(across for _, across, _ in points), 1.0], MARGIN, WIDTH - 10)
    low = Axis.over([*(up for _, _, up in points), 1.0], 0, 1).low
    y = Axis(low, 1.6, HEIGHT - MARGIN, 10, form=".4g")
    roof = [(max(x.low, y.low), max(x.low, y.low)), (1.0, 1.0), (x.high, 1.0)]
    line = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in roof)
    shapes = [*grid(x, y), f'<polyline points="{line}" class="line"/>']
    for record, across, up in points:
        label = escape(f"{record.problem}: {record.op}, {up:.1%} of the peak, {bound_ratio(record):.3f} x its bound")
        place = f'cx="{x(across):.1f}" cy="{y(up):.1f}"'
        colour = _COLOURS.get(record.problem.split("/")[1], _OTHER)
        shapes.append(f'<circle {place} r="4" fill="{colour}" fill-opacity=".7"><title>{label}</title></circle>')
    shapes += [note(x(x.high) - 4, y(1.0) - 6, "every lane busy in every cycle", "end")]
    said = "Roofline: multiply-accumulates of the operator, as a share of the peak"
    below = "compute cycles for each bus cycle: left of 1 the bus limits, right of it the lanes"
    return figure(said, below, "share of the peak", shapes) + _legend(records) + hint(_ROOF)


def speedups(records: Sequence[Record]) -> str:
    """How many times fewer cycles than TVM's strategy, sorted; empty where it was not timed."""
    ratios = ((r.reference_cycles / r.cycles, r) for r in records if r.reference_cycles and r.cycles)
    found = sorted(ratios, key=lambda pair: pair[0])
    if not found:
        return ""
    high = Axis.over([found[-1][0], 2.0], 0, 1).high
    y = Axis(0.8 * min(1.0, found[0][0]), high, HEIGHT - MARGIN, 10)
    step = (WIDTH - MARGIN - 10) / len(found)
    shapes = list(ticks(y))
    for place, (ratio, record) in enumerate(found):
        top, bottom = sorted((y(ratio), y(1.0)))
        label = escape(f"{record.problem}: {ratio:.2f} x; {record.op}")
        box = (
            f'x="{MARGIN + place * step:.1f}" y="{top:.1f}" width="{step * 0.8:.2f}" height="{bottom - top + 0.5:.1f}"'
        )
        colour = _COLOURS.get(record.problem.split("/")[1], _OTHER) if ratio >= 1 else _LOSS
        shapes.append(f'<rect {box} fill="{colour}"><title>{label}</title></rect>')
    equal = f'x1="{MARGIN}" x2="{WIDTH - 10}" y1="{y(1.0):.1f}" y2="{y(1.0):.1f}"'
    shapes += [f'<line {equal} class="line"/>', note(MARGIN + 4, y(1.0) + 15, "as fast as TVM's strategy")]
    said = f"Times faster than TVM's fixed strategy: geometric mean {geomean(r for r, _ in found):.2f}"
    return figure(said, "problems, sorted", "times faster", shapes) + _legend(records)


def _legend(records: Sequence[Record]) -> str:
    ops = dict.fromkeys(record.problem.split("/")[1] for record in records)
    return legend({op: _COLOURS.get(op, _OTHER) for op in ops})


def _work(record: Record) -> float:
    """Compute cycles of the operator with every lane in use."""
    return (record.invocations or 0) * (record.utilisation or 0.0)


def _means(records: Sequence[Record]) -> str:
    rows = []
    for suite, op in dict.fromkeys((r.suite, r.problem.split("/")[1]) for r in records):
        some = [r for r in records if (r.suite, r.problem.split("/")[1]) == (suite, op)]
        ratios = [bound_ratio(r) for r in some]
        against = [r.reference_cycles / r.cycles for r in some if r.reference_cycles and r.cycles]
        cells = (geomean(ratios), max(r or 0 for r in ratios), geomean(against))
        right = f"{sum(r.checked is True for r in some)}/{len(some)}"
        rows.append([suite, op, right, *("-" if value is None else f"{value:.3f}" for value in cells)])
    heads = ["suite", "operator", "right", "cycles / bound", "worst", "faster than TVM's strategy"]
    return "<h2>Geometric means</h2>" + sorted_table(heads, rows, (2, 3, 4, 5))


def _worst_rows(records: Sequence[Record]) -> str:
    rows = [[r.problem, r.op, f"{bound_ratio(r):.3f}", causes(r)] for r in worst(records)]
    return sorted_table(["problem", "operator", "cycles / bound", "where the rest goes"], rows, (2,))


def _all_rows(records: Sequence[Record]) -> str:
    heads = ["problem", "operator", "utilisation", "cycles", "compute bound", "bus bound", "/ bound", "TVM's strategy",
             "right", "embedding"]  # fmt: skip
    rows = [[
        r.problem, r.op, f"{r.utilisation or 0:.3f}", f"{r.cycles or 0:,}", f"{r.compute_bound or 0:,}",
        f"{r.bus_bound or 0:,}", f"{bound_ratio(r) or 0:.3f}", f"{r.reference_cycles:,}" if r.reference_cycles else "-",
        {True: r.executed, False: "WRONG", None: r.error or "-"}[r.checked], r.embedding,
    ] for r in records]  # fmt: skip
    return sorted_table(heads, rows, (2, 3, 4, 5, 6, 7))
