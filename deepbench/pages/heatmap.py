"""DeepBench x ISA as one page that needs no network: a row for each problem, utilisation as colour."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from deepbench.means import geomean
from deepbench.problems import Problem
from deepbench.table import sizes
from embed.cli.files import write_whole
from embed.cli.record import Record
from embed.html import document, hint, legend

_LOW, _HIGH = (247, 251, 255), (8, 48, 107)
_FAILED = "#dc2626"
_DARK = 0.55
_SAID = (
    "Utilisation: useful multiply-accumulates over those paid for: 1.00 where all lanes of an instruction are in use. "
    "Each row is a problem, each column a machine; point at a cell for its embedding, click a heading to sort."
)


def write_heatmap(path: Path, problems: Sequence[Problem], results: Mapping[str, Sequence[Record]]) -> None:
    """Write the page, whole."""
    write_whole(path, page(problems, results))


def page(problems: Sequence[Problem], results: Mapping[str, Sequence[Record]]) -> str:
    """The text of the page."""
    return document("DeepBench x ISA", heatmap(problems, results))


def heatmap(problems: Sequence[Problem], results: Mapping[str, Sequence[Record]]) -> list[str]:
    """What the colours mean, and a table with a column for each name of `results` and a row for each problem."""
    names = list(results)
    head = "".join(f"<th class=tall>{escape(name)}</th>" for name in names)
    means = "".join(_cell(geomean(r.utilisation for r in results[name]), "geometric mean") for name in names)
    rows = [f"<tr><td><b>geometric mean</b></td>{means}<td></td></tr>"]
    for place, problem in enumerate(problems):
        cells = "".join(_record(results[name][place]) for name in names)
        rows.append(f"<tr><td>{escape(problem.name)}</td>{cells}<td class=line>{escape(sizes(problem))}</td></tr>")
    body = "\n".join(rows)
    table = (
        f'<div class="scroll"><table class="sorted"><thead><tr><th>problem</th>{head}<th>sizes</th></tr></thead>'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )
    return [hint(_SAID), _scale(), table]


def _scale() -> str:
    """The colours from nothing to all."""
    shares = {f"{share / 4:.2f}": _colour(share / 4) for share in range(5)}
    return legend({**shares, "wrong, or no embedding": _FAILED})


def _record(record: Record) -> str:
    if not record.checked:
        return f'<td class="n" style="background:{_FAILED};color:#fff" title="{escape(record.error or "wrong")}">-</td>'
    executed = "executed in full" if record.executed == "full" else "executed on a reduced problem"
    said = (
        f"{record.embedding}\n{record.invocations:,} invocations, {record.bytes:,} bytes; {record.status}, {executed}"
    )
    return _cell(record.utilisation, said)


def _cell(share: float | None, said: str) -> str:
    if share is None:
        return '<td class="n">-</td>'
    text = "#fff" if share > _DARK else "#111"
    return (
        f'<td class="n" style="background:{_colour(share)};color:{text}" title="{escape(said)}" '
        f'data-value="{share:.4f}">{share:.2f}</td>'
    )


def _colour(share: float) -> str:
    """From almost white at 0 to dark blue at 1."""
    mixed = ",".join(str(round(low + (high - low) * share)) for low, high in zip(_LOW, _HIGH, strict=True))
    return f"rgb({mixed})"
