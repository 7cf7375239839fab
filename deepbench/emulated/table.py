"""The tables of a run in an emulator: every problem, geometric means of each group, and what to know about the run."""

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Console
from rich.table import Table

from deepbench.emulated.record import EmulatedRecord
from deepbench.means import geomean
from deepbench.problems import Problem
from deepbench.table import compile_times, complaint, milliseconds, shown_check, shown_share, sizes
from embed.cli.console import new_table

Rows = Sequence[tuple[Problem, EmulatedRecord]]

Cells = tuple[list[str], list[list[str]]]
"""The headings of a table, and its rows."""

TEXTS = ("group", "#", "sizes", "embedding")
"""The columns that are text; the others are numbers."""

_COUNTS = ("instr/MAC", "MAC share", "loads/MAC instr")
_CAPTION = (
    "instr/MAC: all instructions over the problem's multiply-accumulates; MAC share: multiply-accumulates among the "
    "instructions of the innermost loops; loads/MAC instr: loads there for each of them"
)


def print_emulated(console: Console, rows: Rows, wall: float) -> None:
    """A table for each suite and group, the means, then lines about the run."""
    groups = grouped(rows)
    cores = cores_of(rows)
    for title, group in groups.items():
        for name, cells in tables(title, group, cores).items():
            console.print(_table(name, cells))
    console.print(_table("geometric means", mean_cells(groups, cores)))
    for line in summary([record for _, record in rows], wall):
        console.print(line, highlight=False, markup=False)


def cores_of(rows: Rows) -> list[str]:
    """The cores of which there are estimates."""
    return list(dict.fromkeys(core for _, record in rows for core in record.cycles))


def grouped(rows: Rows) -> dict[str, Rows]:
    """Rows by title: suite and group."""
    found: dict[str, list[tuple[Problem, EmulatedRecord]]] = {}
    for problem, record in rows:
        found.setdefault(f"{record.suite} {record.group}", []).append((problem, record))
    return dict(found)


def count_cells(rows: Rows) -> Cells:
    """One group: what was compiled, what it executes, and whether it is right."""
    found = []
    for problem, record in rows:
        text = f"{record.embedding} {record.schedule}".strip() or record.error
        counts = (record.instructions_per_mac, record.hot_share, record.loads_per_sum)
        cells = [*map(shown_share, counts), shown_check(record), milliseconds(record.compile_s)]
        found.append([_number_of(problem), sizes(problem), text, *cells])
    return ["#", "sizes", "embedding", *_COUNTS, "checked", "compile ms"], found


def estimate_cells(rows: Rows, cores: Sequence[str]) -> Cells:
    """One group: each core's estimated time and rate, and the time of a machine with such cores where one is known."""
    timed = [core for core in cores if any(core in record.published for _, record in rows)]
    estimated = [heading for core in cores for heading in (f"{core} ms", "GFLOP/s")]
    known = [heading for core in timed for heading in (f"published {core} ms", "GOP/s a core")]
    found = []
    for problem, record in rows:
        cells = [_number_of(problem), sizes(problem)]
        for core in cores:
            cells += [_figures(milliseconds_on(record, core)), _figures(record.gflops.get(core))]
        for core in timed:
            cells += _published(record, core)
        found.append(cells)
    return ["#", "sizes", *estimated, *known], found


def mean_cells(groups: Mapping[str, Rows], cores: Sequence[str]) -> Cells:
    """Geometric means of the counts and of the estimated cycles and rates."""
    estimated = [heading for core in cores for heading in (f"{core} Mcycles", "GFLOP/s")]
    found = []
    for title, rows in groups.items():
        records = [record for _, record in rows]
        cells = [
            title,
            str(len(records)),
            str(sum(record.checked is True for record in records)),
            str(sum(record.checked is True and record.executed == "full" for record in records)),
            shown_share(geomean(record.instructions_per_mac for record in records)),
            shown_share(geomean(record.hot_share for record in records)),
            shown_share(geomean(record.loads_per_sum for record in records)),
        ]
        for core in cores:
            cells.append(_figures(geomean(record.cycles.get(core, 0) / 1e6 or None for record in records)))
            cells.append(_figures(geomean(record.gflops.get(core) for record in records)))
        found.append(cells)
    return ["group", "problems", "checked", "in full", *_COUNTS, *estimated], found


def tables(title: str, rows: Rows, cores: Sequence[str]) -> dict[str, Cells]:
    """The tables of one group by title; the second is left out where no core has an estimate."""
    estimated = {f"{title}: estimates": estimate_cells(rows, cores)} if cores else {}
    return {title: count_cells(rows), **estimated}


def _table(title: str, cells: Cells) -> Table:
    heads, rows = cells
    table = new_table(title, *heads, right=[head for head in heads if head not in TEXTS])
    for row in rows:
        table.add_row(*row)
    return table


def summary(records: Sequence[EmulatedRecord], wall: float) -> Iterator[str]:
    """What the columns mean, how much was executed, what failed."""
    yield _CAPTION
    yield (
        "ms, GFLOP/s and cycles are estimates for one core from the ISA file's timing sections, not measurements: "
        "issue, units and chains of results, and reading the tensors once where the file knows the bandwidth"
    )
    if any(record.published for record in records):
        how = sorted({str(known["how"]) for record in records for known in record.published.values()})
        devices = sorted({str(known["device"]) for record in records for known in record.published.values()})
        yield (
            f"published: {', '.join(devices)}, {', '.join(how)}, on all cores, of matrix products only: the program "
            "that timed its convolutions swaps C and N"
        )
    yield from compile_times(records)
    full = sum(record.executed == "full" for record in records)
    yield f"{len(records)} problems in {wall:.0f} s; {full} executed and compared in full"
    for record in records:
        if complaint(record):
            yield complaint(record)
        elif record.tiles_run < record.tiles:
            yield f"{record.problem}: {record.tiles_run} of {record.tiles} outermost tiles executed; counts are of all"
        elif record.executed != "full":
            yield f"{record.problem}: executed in full, compared in a sample of its columns"


def milliseconds_on(record: EmulatedRecord, core: str) -> float | None:
    """The estimated time at the core's clock; None where there is no estimate or no clock."""
    rate = record.gflops.get(core)
    return 2 * record.macs / rate / 1e6 if rate else None


def _number_of(problem: Problem) -> str:
    return problem.name.rpartition("/")[2]


def _published(record: EmulatedRecord, core: str) -> list[str]:
    """The time, and operations a second and core, for a rate that can stand beside that of one core."""
    known = record.published.get(core)
    if known is None:
        return ["-", "-"]
    time, cores = float(str(known["ms"])), int(str(known["cores"]))
    return [_figures(time), _figures(2 * record.macs / time / 1e6 / cores)]


def _figures(value: float | None) -> str:
    """Three figures."""
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:#.3g}"
