"""DeepBench x ISA as one page that needs no network: a row for each problem, utilisation as colour."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from deepbench.html import document
from deepbench.means import geomean
from deepbench.problems import Problem
from embed.cli.files import write_whole
from embed.cli.record import Record

_LOW, _HIGH = (247, 251, 255), (8, 48, 107)
_FAILED = "#dc2626"
_DARK = 0.55


def write_heatmap(path: Path, problems: Sequence[Problem], results: Mapping[str, Sequence[Record]]) -> None:
    """Write the page, whole."""
    write_whole(path, page(problems, results))


def page(problems: Sequence[Problem], results: Mapping[str, Sequence[Record]]) -> str:
    """The text of the page."""
    return document("DeepBench x ISA", heatmap(problems, results))


def heatmap(problems: Sequence[Problem], results: Mapping[str, Sequence[Record]]) -> list[str]:
    """What the colours mean, and a table with a column for each name of `results` and a row for each problem."""
    names = list(results)
    head = "".join(f"<th class=n>{escape(name)}</th>" for name in names)
    means = "".join(_cell(geomean(r.utilisation for r in results[name]), "geometric mean") for name in names)
    rows = [f"<tr><td><b>geometric mean</b></td><td></td>{means}</tr>"]
    for place, problem in enumerate(problems):
        cells = "".join(_record(results[name][place]) for name in names)
        rows.append(f"<tr><td>{escape(problem.name)}</td><td>{escape(_sizes(problem))}</td>{cells}</tr>")
    body = "\n".join(rows)
    table = (
        f'<table class="sorted"><thead><tr><th>problem</th><th>sizes</th>{head}</tr></thead>'
        f"<tbody>\n{body}\n</tbody></table>"
    )
    said = "<p>Utilisation: useful multiply-accumulates over those paid for. Point at a cell for its embedding.</p>"
    return [said, table]


def _record(record: Record) -> str:
    if not record.checked:
        return f'<td class="n" style="background:{_FAILED}" title="{escape(record.error or "wrong")}">-</td>'
    executed = "executed in full" if record.executed == "full" else "executed on a reduced problem"
    said = (
        f"{record.embedding}\n{record.invocations:,} invocations, {record.bytes:,} bytes; {record.status}, {executed}"
    )
    return _cell(record.utilisation, said)


def _cell(share: float | None, said: str) -> str:
    if share is None:
        return '<td class="n">-</td>'
    mixed = ",".join(str(round(low + (high - low) * share)) for low, high in zip(_LOW, _HIGH, strict=True))
    text = "#fff" if share > _DARK else "#111"
    return (
        f'<td class="n" style="background:rgb({mixed});color:{text}" title="{escape(said)}" '
        f'data-value="{share:.4f}">{share:.2f}</td>'
    )


def _sizes(problem: Problem) -> str:
    return " ".join(f"{key}={value}" for key, value in problem.sizes if value not in (False, (0, 0)))
