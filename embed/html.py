"""Pages that need no network: a frame for small and dark screens, tables that are sorted by a click, legends."""

from collections.abc import Collection, Mapping, Sequence
from html import escape

_STYLE = """
:root { color-scheme: light dark; --ink: #111827; --paper: #fff; --soft: #4b5563; --line: #e5e7eb; --well: #f3f4f6; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e5e7eb; --paper: #111827; --soft: #9ca3af; --line: #374151; --well: #1f2937; }
}
body { font: 14px/1.45 system-ui, sans-serif; margin: 1.5em auto; max-width: 1200px; padding: 0 1em;
  color: var(--ink); background: var(--paper); }
h1 { font-size: 1.5em; } h2 { font-size: 1.2em; margin-top: 2em; } h3 { font-size: 1em; margin: 1.6em 0 .3em; }
p { max-width: 75ch; } p.hint { color: var(--soft); }
.scroll { overflow-x: auto; margin: .6em 0; }
table { border-collapse: collapse; width: 100%; }
th, td { padding: 3px 8px; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th { background: var(--paper); vertical-align: bottom; } table.sorted th { cursor: pointer; }
td:first-child, td.n, td.line { white-space: nowrap; } td.text { min-width: 13em; }
th.tall { writing-mode: vertical-rl; transform: rotate(180deg); padding: 8px 3px; font-weight: 600; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
.bar { position: relative; width: 200px; height: 16px; background: var(--well); }
.bar i { position: absolute; left: 0; height: 8px; } .bar i + i { top: 8px; }
.legend { display: flex; flex-wrap: wrap; gap: .2em 1.2em; padding: 0; margin: .4em 0; list-style: none; }
.legend i { display: inline-block; width: .8em; height: .8em; margin-right: .4em; border-radius: 2px;
  outline: 1px solid var(--line); }
svg { display: block; } svg text { font: 12px system-ui, sans-serif; fill: var(--soft); }
svg .grid { stroke: var(--line); } svg .line { stroke: var(--ink); fill: none; stroke-width: 1.5; }
svg text.note { fill: var(--ink); }
"""

_SCRIPT = """
document.querySelectorAll("table.sorted th").forEach(head => head.addEventListener("click", () => {
  const body = head.closest("table").tBodies[0], column = head.cellIndex;
  const down = head.dataset.down = head.dataset.down === "1" ? "" : "1";
  const value = row => row.cells[column].dataset.value ?? row.cells[column].textContent.replaceAll(",", "");
  const order = (a, b) => {
    const x = value(a), y = value(b), n = parseFloat(x) - parseFloat(y);
    return isNaN(n) ? x.localeCompare(y) : n;
  };
  [...body.rows].sort((a, b) => down ? order(b, a) : order(a, b)).forEach(row => body.append(row));
}));
"""

_SORTED = 'class="sorted"'
_WIDE = 12
"""A column with longer text than that gets room for several words a line."""


def document(title: str, parts: Sequence[str]) -> str:
    """A page of some parts under its title; it takes the colours and the width of the reader's screen."""
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    head += f"<title>{escape(title)}</title><style>{_STYLE}</style>"
    body = "\n".join([f"<h1>{escape(title)}</h1>", *parts])
    script = f"<script>{_SCRIPT}</script>" if _SORTED in body else ""
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>{body}\n{script}</body></html>\n'


def hint(text: str) -> str:
    """A sentence that says how to read what follows."""
    return f'<p class="hint">{escape(text)}</p>'


def legend(colours: Mapping[str, str]) -> str:
    """What each colour stands for; nothing for none."""
    items = (f'<li><i style="background:{colour}"></i>{escape(name)}</li>' for name, colour in colours.items())
    return f'<ul class="legend">{"".join(items)}</ul>' if colours else ""


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], numeric: Collection[int], markup: bool = False) -> str:
    """A table whose columns `numeric` stand to the right, in a box that scrolls; cells are escaped unless `markup`."""
    return _table("", heads, rows, numeric, markup)


def sorted_table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], numeric: Collection[int], markup: bool = False
) -> str:
    """The same; a click on a heading sorts it."""
    return _table(f" {_SORTED}", heads, rows, numeric, markup)


def _table(
    kind: str, heads: Sequence[str], rows: Sequence[Sequence[str]], numeric: Collection[int], markup: bool
) -> str:
    shown = [[cell if markup else escape(cell) for cell in row] for row in rows]
    kinds = [_kind(place, place in numeric, [row[place] for row in shown]) for place in range(len(heads))]
    head = "".join(f"<th{each}>{escape(text)}</th>" for each, text in zip(kinds, heads, strict=True))
    lines = ("".join(f"<td{each}>{cell}</td>" for each, cell in zip(kinds, row, strict=True)) for row in shown)
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    return f'<div class="scroll"><table{kind}><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>'


def _kind(place: int, right: bool, cells: Sequence[str]) -> str:
    if right:
        return ' class="n"'
    wide = place and any(" " in cell and len(cell) > _WIDE for cell in cells)
    return ' class="text"' if wide else ""
