"""The report of a run on a CPU as one page that needs no network: means, roofline, ratios, a sortable table."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from statistics import median

from deepbench.means import geomean
from deepbench.native.causes import cause
from deepbench.native.record import NativeRecord
from deepbench.native.table import worst
from deepbench.pages.chart import HEIGHT, MARGIN, WIDTH, Axis, figure, grid, note, ticks
from embed.cli.files import write_whole
from embed.html import document, hint, legend, sorted_table

_COLOURS = {"conv": "#2563eb", "gemm n>=700": "#059669", "gemm n<=4": "#d97706", "gemm other": "#7c3aed"}
_OTHER = "#6b7280"
_PEER_COLOUR = "#9ca3af"
_LOSS = "#dc2626"
_ROOF = (
    "Each point is a problem; point at it for its name. The line is what this machine allows: under its slope memory "
    "limits, under the flat part the multipliers. Distance below it is time lost; the tables say to what."
)


def write_html(path: Path, records: Sequence[NativeRecord]) -> None:
    """Write the page, whole."""
    write_whole(path, page(records))


def page(records: Sequence[NativeRecord]) -> str:
    """The text of the page."""
    first = records[0]
    title = f"DeepBench on {first.isa}, {first.dtype or 'no results'}"
    parts = [_means(records)]
    for threads in dict.fromkeys(record.threads for record in records):
        some = [record for record in records if record.threads == threads and record.share is not None]
        if some:
            parts.append(f"<h2>{threads} thread{'s' * (threads > 1)}</h2>")
            parts += [legend(_COLOURS), roofline(some), ratios(some)]
    parts += ["<h2>The twenty worst</h2>", _worst_rows(records), "<h2>All problems</h2>", _all_rows(records)]
    return document(title, parts)


def roofline(records: Sequence[NativeRecord]) -> str:
    """GFLOP/s over operations per byte, both logarithmic, under the median peak and read bandwidth of the groups."""
    peak = median([record.peak_gflops or 0.0 for record in records])
    far = median([record.bandwidth or 0.0 for record in sorted(records, key=lambda r: -r.bytes)[:5]]) / 1e9
    rates = [record.gflops or 1e-3 for record in records]
    x = Axis.over([record.intensity for record in records], MARGIN, WIDTH - 10)
    y = Axis.over([*rates, peak * 1.5], HEIGHT - MARGIN, 10)
    knee = peak / far if far else x.high
    top = min(peak, x.high * far)
    roof = [(x.low, min(top, x.low * far)), (min(max(knee, x.low), x.high), top), (x.high, top)]
    line = " ".join(f"{x(a):.1f},{y(max(b, y.low)):.1f}" for a, b in roof)
    shapes = [f'<polyline points="{line}" class="line"/>', *grid(x, y)]
    for record, rate in zip(records, rates, strict=True):
        label = escape(f"{record.problem}: {record.op}, {rate:.1f} GFLOP/s, {record.intensity:.1f} op/byte")
        place = f'cx="{x(record.intensity):.1f}" cy="{y(rate):.1f}"'
        colour = _COLOURS.get(record.group, _OTHER)
        shapes.append(f'<circle {place} r="4" fill="{colour}" fill-opacity=".7"><title>{label}</title></circle>')
    said = f"Roofline: peak {peak:.0f} GFLOP/s, reads of the largest problems {far:.0f} GB/s"
    return figure(said, "operations per byte of the tensors", "GFLOP/s", shapes) + hint(_ROOF)


def ratios(records: Sequence[NativeRecord]) -> str:
    """Our speed over the best peer's, sorted, wins and losses alike; empty without peers."""
    found = sorted((r for r in records if r.ratio), key=lambda r: r.ratio or 0.0)
    if not found:
        return ""
    y = Axis.over([*(r.ratio or 1.0 for r in found), 0.5, 2.0], HEIGHT - MARGIN, 10)
    step = (WIDTH - MARGIN - 10) / len(found)
    shapes = []
    for place, record in enumerate(found):
        ratio = record.ratio or 1.0
        top, bottom = sorted((y(ratio), y(1.0)))
        label = escape(f"{record.problem}: {ratio:.2f} x {record.best_peer}; {record.op}")
        box = f'x="{MARGIN + place * step:.1f}" y="{top:.1f}" width="{step * 0.8:.2f}"'
        box += f' height="{bottom - top + 0.5:.1f}"'
        colour = _COLOURS.get(record.group, _OTHER) if ratio >= 1 else _LOSS
        shapes.append(f'<rect {box} fill="{colour}"><title>{label}</title></rect>')
    equal = f'x1="{MARGIN}" x2="{WIDTH - 10}" y1="{y(1.0):.1f}" y2="{y(1.0):.1f}"'
    shapes += [f'<line {equal} class="line"/>', note(MARGIN + 4, y(1.0) + 15, "as fast as the best peer"), *ticks(y)]
    wins = sum((record.ratio or 0) >= 1 for record in found)
    said = f"Our speed / the best peer's, sorted: {wins} wins, {len(found) - wins} losses (red)"
    return figure(said, "problems, sorted", "times as fast", shapes)


def _means(records: Sequence[NativeRecord]) -> str:
    rows = []
    for suite, group, threads in dict.fromkeys((r.suite, r.group, r.threads) for r in records):
        some = [r for r in records if (r.suite, r.group, r.threads) == (suite, group, threads)]
        ratios_ = [r.ratio for r in some if r.ratio]
        rows.append([
            suite, group, str(threads), f"{sum(r.checked is True for r in some)}/{len(some)}",
            _percent(geomean(r.share for r in some)),
            _percent(geomean(r.bandwidth_share for r in some)) if group == "gemm n<=4" else "",
            _two(geomean(r.speedup for r in some)),
            _percent(geomean(r.best_peer_share for r in some)), _two(geomean(ratios_)),
            str(sum(ratio >= 1 for ratio in ratios_)), str(sum(ratio < 1 for ratio in ratios_)),
        ])  # fmt: skip
    heads = ["suite", "group", "threads", "right", "share of peak", "of read bandwidth", "speed-up",
             "best peer", "ratio", "wins", "losses"]  # fmt: skip
    return "<h2>Geometric means</h2>" + sorted_table(heads, rows, range(2, 11))


def _worst_rows(records: Sequence[NativeRecord]) -> str:
    rows = [[r.problem, r.op, str(r.threads), _percent(r.share), _two(r.ratio), cause(r)] for r in worst(records)]
    heads = ["problem", "operator", "threads", "share", "ratio", "share that each cause allows"]
    return sorted_table(heads, rows, (2, 3, 4))


def _all_rows(records: Sequence[NativeRecord]) -> str:
    heads = ["problem", "operator", "threads", "GFLOP/s", "share", "ours above, best peer below", "best peer",
             "its share", "ratio", "GB/s", "level", "right", "compile ms", "embedding"]  # fmt: skip
    rows = [[
        escape(r.problem), escape(r.op), str(r.threads), _one(r.gflops), _percent(r.share), _bars(r),
        escape(r.best_peer), _percent(r.best_peer_share), _two(r.ratio),
        _one(r.bytes_per_s and r.bytes_per_s / 1e9), r.level,
        {True: r.executed, False: "WRONG", None: escape(r.error) or "-"}[r.checked],
        _one(r.compile_s and r.compile_s * 1000), escape(f"{r.embedding} {r.schedule}"),
    ] for r in records]  # fmt: skip
    return sorted_table(heads, rows, (2, 3, 4, 7, 8, 9, 12), markup=True)


def _bars(record: NativeRecord) -> str:
    pairs = ((record.share, _COLOURS.get(record.group, _OTHER)), (record.best_peer_share, _PEER_COLOUR))
    drawn = "".join(
        f'<i style="width:{min(100.0, (share or 0) * 100):.1f}%;background:{colour}"></i>' for share, colour in pairs
    )
    return f'<div class="bar">{drawn}</div>'


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value * 100:.1f}"


def _one(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _two(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
