"""The tables at the end of a suite: every problem, geometric means of each group, and what to know about the run."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import median

from rich.console import Console
from rich.table import Table

from deepbench.means import geomean
from deepbench.problems import Problem
from deepbench.table import complaints, milliseconds, shown_check, shown_count, shown_share, sizes
from deepbench.vta.speed import bound_ratio, speed_tables
from embed.cli.console import new_table
from embed.cli.record import Record

Group = tuple[str, str]
Column = tuple[str, Callable[[Record], str], Callable[[Sequence[Record]], str]]


def print_report(console: Console, problems: Sequence[Problem], records: Sequence[Record], wall: float) -> None:
    """One table for each group, the table of groups, and the summary lines. `wall` is in seconds."""
    by_group: dict[Group, list[tuple[Problem, Record]]] = {}
    for problem, record in zip(problems, records, strict=True):
        by_group.setdefault(problem.group, []).append((problem, record))
    for group, rows in by_group.items():
        console.print(problem_table(group, rows))
    groups = {group: [record for _, record in rows] for group, rows in by_group.items()}
    for table in (*speed_tables(groups), group_table(groups)):
        console.print(table)
    for line in summary(records, wall):
        console.print(line, highlight=False, markup=False)


def problem_table(group: Group, rows: Sequence[tuple[Problem, Record]]) -> Table:
    """The problems of one suite and operator, geometric means in the last row."""
    records = [record for _, record in rows]
    columns = [*_columns(), *(_plain_columns() if any(record.plain_cycles for record in records) else ())]
    titles = [title for title, _, _ in columns]
    table = new_table(" ".join(group), "#", "sizes", "embedding", *titles, right=titles, footer=True)
    for column, (_, _, mean) in zip(table.columns[3:], columns, strict=True):
        column.footer = mean(records)
    table.columns[0].footer = "geomean"
    for problem, record in rows:
        cells = [show(record) for _, show, _ in columns]
        table.add_row(problem.name.rpartition("/")[2], sizes(problem), record.embedding or record.error, *cells)
    return table


def group_table(groups: Mapping[Group, Sequence[Record]]) -> Table:
    """One row of geometric means for each group."""
    titles = ("problems", "optimal", "checked", "util", "fixed", "util / fixed", "invocations", "cycles", "bytes")
    table = new_table("geometric means", "suite", "op", *titles, right=titles)
    for group, records in groups.items():
        table.add_row(*group, *_group_cells(records))
    return table


def summary(records: Sequence[Record], wall: float) -> Iterator[str]:
    """Lines about the run: solve and compile times, what was executed on a slice, what failed."""
    times = sorted(record.solve_s for record in records if record.solve_s is not None)
    if times:
        yield f"solve time: median {median(times) * 1000:.1f} ms, max {times[-1] * 1000:.0f} ms"
    made = sorted(record.compile_s for record in records if record.compile_s is not None)
    if made:
        yield f"embedding, schedule and code: median {median(made):.2f} s of processor time, max {made[-1]:.1f} s"
    yield f"{len(records)} problems in {wall:.0f} s; {sum(r.executed == 'full' for r in records)} executed in full"
    if any(record.executed == "reduced" for record in records):
        yield "the others were executed on a reduced problem under the same embedding; cycles and bytes are modelled"
    slices = [record.problem.rpartition("/") for record in records if record.executed == "slice"]
    for group in dict.fromkeys(group for group, _, _ in slices):
        numbers = [number for other, _, number in slices if other == group]
        yield f"executed on a slice of output tiles, {len(numbers)} of {group}: {' '.join(numbers)}"
    yield from complaints(records)


def _columns() -> list[Column]:
    return [
        ("status", lambda r: r.status, lambda rs: f"{sum(r.status == 'OPTIMAL' for r in rs)} opt"),
        ("solve ms", lambda r: milliseconds(r.solve_s), lambda rs: milliseconds(geomean(r.solve_s for r in rs))),
        ("util", lambda r: shown_share(r.utilisation), lambda rs: shown_share(geomean(r.utilisation for r in rs))),
        (
            "fixed",
            lambda r: shown_share(r.utilisation_fixed),
            lambda rs: shown_share(geomean(r.utilisation_fixed for r in rs)),
        ),
        ("given up for", _trade, lambda _: ""),
        (
            "invocations",
            lambda r: shown_count(r.invocations),
            lambda rs: shown_count(geomean(r.invocations for r in rs)),
        ),
        ("cycles", lambda r: shown_count(r.cycles), lambda rs: shown_count(geomean(r.cycles for r in rs))),
        ("/ bound", lambda r: shown_share(bound_ratio(r)), lambda rs: shown_share(geomean(map(bound_ratio, rs)))),
        ("bytes", lambda r: shown_count(r.bytes), lambda rs: shown_count(geomean(r.bytes for r in rs))),
        ("checked", shown_check, lambda rs: f"{sum(r.checked is True for r in rs)}/{len(rs)}"),
    ]


def _plain_columns() -> list[Column]:
    """What embedding without relaxations reaches, where one was taken."""

    def utilisation(record: Record) -> float | None:
        return record.plain_utilisation or record.utilisation

    def cycles(record: Record) -> int | None:
        return record.plain_cycles or record.cycles

    return [
        ("plain util", lambda r: shown_share(utilisation(r)), lambda rs: shown_share(geomean(map(utilisation, rs)))),
        ("plain cycles", lambda r: shown_count(cycles(r)), lambda rs: shown_count(geomean(map(cycles, rs)))),
    ]


def _group_cells(records: Sequence[Record]) -> Iterator[str]:
    yield str(len(records))
    yield str(sum(record.status == "OPTIMAL" for record in records))
    yield str(sum(record.checked is True for record in records))
    util, fixed = geomean(r.utilisation for r in records), geomean(r.utilisation_fixed for r in records)
    yield shown_share(util)
    yield shown_share(fixed)
    yield f"{util / fixed:.2f}" if util and fixed else "-"
    for values in ([r.invocations for r in records], [r.cycles for r in records], [r.bytes for r in records]):
        yield shown_count(geomean(values))


def _trade(record: Record) -> str:
    """What utilisation was given up, and the cycles it saves: `-0.021: cycles -12%`."""
    if not (
        record.utilisation and record.utilisation_best and record.modelled_cycles and record.modelled_cycles_at_best
    ):
        return ""
    lost = record.utilisation_best - record.utilisation
    if lost < 0.0005:
        return ""
    return f"-{lost:.3f}: cycles {record.modelled_cycles / record.modelled_cycles_at_best - 1:+.1%}"
