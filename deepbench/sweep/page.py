"""A sweep as one page that needs no network: utilisation and cycles against the MACs of each shape, and a heat map."""

from collections.abc import Callable, Iterator, Sequence
from html import escape
from pathlib import Path

from deepbench.means import geomean
from deepbench.overview import MEANS, means
from deepbench.pages.chart import HEIGHT, MARGIN, WIDTH, Axis, figure, grid
from deepbench.pages.heatmap import heatmap
from deepbench.problems import Problem
from deepbench.sweep.run import Results, relative
from deepbench.sweep.shapes import Shape
from deepbench.table import shown_share
from embed.cli.files import write_whole
from embed.cli.record import Record
from embed.html import document, hint, legend, sorted_table

_COLOURS = ("#2563eb", "#059669", "#d97706", "#7c3aed", "#dc2626", "#0891b2", "#be185d", "#4d7c0f")

_SAID = (
    "Each point is one shape of the array; lines join shapes that differ in the first parameter. Further to the right "
    "there are more multipliers: the first picture says how many of them are used, the second how long problems take."
)

Points = dict[str, list[tuple[Shape, float]]]
"""The shapes of each series, each with its value."""


def write_sweep(path: Path, problems: Sequence[Problem], results: Results) -> None:
    """Write the page, whole."""
    write_whole(path, page(problems, results))


def page(problems: Sequence[Problem], results: Results) -> str:
    """The text of the page."""
    name = next(iter(results)).settings.isa
    across = "multiply-accumulates of an instruction, per cycle"
    shares = _points(results, lambda records: geomean(record.utilisation for record in records))
    cycles = _points(results, lambda records: geomean(record.cycles for record in records))
    pictures = [
        figure("Utilisation, geometric mean: higher is better", across, "utilisation", list(_lines(shares, ".3f")))
    ]
    if cycles:
        pictures.append(
            figure("Cycles, geometric mean: lower is better", across, "cycles", list(_lines(cycles, ",.0f")))
        )
    parts = [
        hint(_SAID),
        legend({name: _COLOURS[place % len(_COLOURS)] for place, name in enumerate(shares) if name}),
        *pictures,
        "<h2>Shapes</h2>",
        _table(results),
        "<h2>Utilisation of every problem</h2>",
        *heatmap(problems, {shape.name: records for shape, records in results.items() if not shape.refusal}),
    ]
    return document(f"DeepBench on shapes of {name}", parts)


def _points(results: Results, mean: Callable[[Sequence[Record]], float | None]) -> Points:
    """The means that there are, by series."""
    found: Points = {}
    for shape, records in results.items():
        value = mean(records)
        if value:
            found.setdefault(shape.series, []).append((shape, value))
    return found


def _lines(series: Points, form: str) -> Iterator[str]:
    """A line through the shapes of each series, and a point for each, which names it."""
    points = [point for some in series.values() for point in some]
    x = Axis.over([shape.macs for shape, _ in points], MARGIN + 30, WIDTH - 30, base=2)
    y = Axis.over([value for _, value in points], HEIGHT - MARGIN, 10, base=2, form=form)
    yield from grid(x, y)
    for place, some in enumerate(series.values()):
        colour = _COLOURS[place % len(_COLOURS)]
        ordered = sorted(some, key=lambda point: point[0].macs)
        line = " ".join(f"{x(shape.macs):.1f},{y(value):.1f}" for shape, value in ordered)
        yield f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-opacity=".5"/>'
        for shape, value in ordered:
            label = escape(f"{shape.name}: {value:{form}}, {shape.macs:g} MACs")
            where = f'cx="{x(shape.macs):.1f}" cy="{y(value):.1f}"'
            yield f'<circle {where} r="5" fill="{colour}" fill-opacity=".8"><title>{label}</title></circle>'


def _table(results: Results) -> str:
    ratios = relative(results)
    heads = ["shape", "MACs", *MEANS, "cycles / first", "note"]
    cells = [
        [shape.name, f"{shape.macs:.12g}", *means(records), shown_share(ratios[shape]), shape.refusal]
        for shape, records in results.items()
    ]
    return sorted_table(heads, cells, range(1, len(heads) - 1))
