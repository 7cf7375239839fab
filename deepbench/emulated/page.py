"""The report of a run in an emulator as one page: the tables of the terminal, to be sorted."""

from html import escape
from pathlib import Path

from deepbench.emulated.table import TEXTS, Cells, Rows, cores_of, grouped, mean_cells, summary, tables
from embed.cli.files import write_whole
from embed.html import document, sorted_table


def write_html(path: Path, rows: Rows, wall: float) -> None:
    """Write the page, whole; `wall` is in seconds."""
    write_whole(path, page(rows, wall))


def page(rows: Rows, wall: float) -> str:
    """The text of the page."""
    first = rows[0][1]
    cores, groups = cores_of(rows), grouped(rows)
    found = {"Geometric means": mean_cells(groups, cores)}
    for title, group in groups.items():
        found |= tables(title, group, cores)
    parts = [f"<h2>{escape(title)}</h2>{_sorted(cells)}" for title, cells in found.items()]
    parts += [f"<p>{escape(line)}</p>" for line in summary([record for _, record in rows], wall)]
    return document(f"DeepBench on {first.isa}, {first.dtype or 'no results'}", parts)


def _sorted(cells: Cells) -> str:
    heads, rows = cells
    return sorted_table(heads, rows, [place for place, head in enumerate(heads) if head not in TEXTS])
