"""The tables of a run on a CPU: every problem, geometric means of each group, the twenty worst with their causes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import median

from rich.console import Console
from rich.table import Table

from deepbench.means import geomean
from deepbench.native.causes import cause
from deepbench.native.record import NativeRecord
from deepbench.problems import Problem
from deepbench.table import compile_times, complaints, milliseconds, shown_check, shown_share, sizes
from embed.cli.console import new_table

_WORST = 20
Rows = Sequence[tuple[Problem, NativeRecord]]


def print_native(console: Console, rows: Rows, wall: float) -> None:
    """A table for each suite, group and number of threads, then means, the worst, and lines about the run."""
    for title, group in grouped(rows).items():
        console.print(problem_table(title, group))
    records = [record for _, record in rows]
    console.print(mean_table(grouped(rows)))
    peers = peer_table(grouped(rows))
    if peers is not None:
        console.print(peers)
    console.print(worst_table(records))
    for line in summary(records, wall):
        console.print(line, highlight=False, markup=False)


def grouped(rows: Rows) -> dict[str, Rows]:
    """Rows by title: suite, group, threads."""
    found: dict[str, list[tuple[Problem, NativeRecord]]] = {}
    for problem, record in rows:
        threads = "1 thread" if record.threads == 1 else f"{record.threads} threads"
        found.setdefault(f"{record.suite} {record.group}, {threads}", []).append((problem, record))
    return dict(found)


def problem_table(title: str, rows: Rows) -> Table:
    """One group; products of few columns show bytes instead of operations."""
    memory = all(record.group == "gemm n<=4" for _, record in rows)
    numbers = [
        "GFLOP/s",
        "share",
        *(["GB/s", "of read", "of the nearer", "level"] if memory else []),
        "checked",
        "compile ms",
    ]
    threads = ["speed-up"] if any(record.speedup for _, record in rows) else []
    titles = [*numbers, *threads, "best peer", "its share", "ratio"]
    table = new_table(title, "#", "sizes", "embedding", *titles, right=[t for t in titles if t != "best peer"])
    for problem, record in rows:
        bytes_read = _giga(record.bytes_per_s), shown_share(record.bandwidth_share), shown_share(record.reached)
        read = [*bytes_read, record.level] if memory else []
        cells = [_number(record.gflops), shown_share(record.share), *read, shown_check(record)]
        beside = [
            *(_ratio(record.speedup) for _ in threads),
            record.best_peer,
            shown_share(record.best_peer_share),
            _ratio(record.ratio),
        ]
        text = f"{record.embedding} {record.schedule}".strip() or record.error
        number = problem.name.rpartition("/")[2]
        table.add_row(number, sizes(problem), text, *cells, milliseconds(record.compile_s), *beside)
    return table


def mean_table(groups: Mapping[str, Rows]) -> Table:
    """Geometric means; wins and losses against the best peer of each problem."""
    titles = (
        "problems",
        "checked",
        "share",
        "of read",
        "of the nearer",
        "speed-up",
        "best peer",
        "ratio",
        "faster",
        "slower",
        "compile ms",
    )
    table = new_table("geometric means, ratio = our speed / the best peer's", "group", *titles, right=titles)
    for title, rows in groups.items():
        records = [record for _, record in rows]
        ratios = [record.ratio for record in records if record.ratio]
        table.add_row(
            title,
            str(len(records)),
            str(sum(record.checked is True for record in records)),
            shown_share(geomean(record.share for record in records)),
            *_of_limits(records, "n<=4" in title),
            _speedups(record.speedup for record in records),
            shown_share(geomean(record.best_peer_share for record in records)),
            _ratio(geomean(ratios)),
            str(sum(ratio > 1 for ratio in ratios)),
            str(sum(ratio < 1 for ratio in ratios)),
            milliseconds(median([r.compile_s for r in records if r.compile_s is not None] or [0])),
        )
    return table


def peer_table(groups: Mapping[str, Rows]) -> Table | None:
    """Each peer's geometric mean of its share of the peak, and how many problems it ran; None without peers."""
    names = list(dict.fromkeys(str(peer["name"]) for rows in groups.values() for _, r in rows for peer in r.peers))
    if not names:
        return None
    table = new_table("share of the peak by library, (problems where it was right)", "group", "isa-embed", *names)
    for title, rows in groups.items():
        own = _mean_and_count(record.share for _, record in rows)
        table.add_row(title, own, *(_mean_and_count(_shares(rows, name)) for name in names))
    return table


def worst_table(records: Sequence[NativeRecord]) -> Table:
    """The lowest shares of the peak, with the share each cause alone would allow."""
    table = new_table("the twenty worst", "problem", "operator", "share", "ratio", "causes", right=["share", "ratio"])
    for record in worst(records):
        name = record.problem if record.threads == 1 else f"{record.problem} x{record.threads}"
        table.add_row(name, record.op, shown_share(record.share), _ratio(record.ratio), cause(record))
    return table


def worst(records: Sequence[NativeRecord]) -> list[NativeRecord]:
    """Those with the lowest share of the peak, or of the bandwidth where that bounds them."""
    timed = [record for record in records if record.share is not None]
    return sorted(timed, key=lambda record: record.reached or 0.0)[:_WORST]


def summary(records: Sequence[NativeRecord], wall: float) -> Iterator[str]:
    """Compile times, the spread of the probes, what was sampled, what failed, which peers were missing."""
    yield from compile_times(records)
    peaks = [(r.peak_lowest, r.peak_gflops) for r in records if r.peak_gflops and r.peak_lowest]
    if peaks:
        low, high = min(low for low, _ in peaks), max(high for _, high in peaks)
        yield f"peak, best probe of a problem: {min(h for _, h in peaks):.0f} to {high:.0f} GFLOP/s; lowest {low:.0f}"
    above = sum(1 for r in records if max(r.share or 0, r.best_peer_share or 0) > 1)
    if above:
        yield f"{above} rows with a share above 1: padding that is skipped but counted, or a clock that drifts"
    executed = sum(record.executed == "full" for record in records)
    yield f"{len(records)} problems in {wall:.0f} s; {executed} compared in full"
    yield from complaints(records)
    notes: dict[str, list[str]] = {}
    for record in records:
        for peer in record.peers:
            if peer["note"]:
                notes.setdefault(f"{peer['name']}: {peer['note']}", []).append(record.problem)
    for note, problems in notes.items():
        yield f"{note} ({len(problems)} problems, first {problems[0]})"


def _of_limits(records: Sequence[NativeRecord], memory: bool) -> tuple[str, str]:
    """Means of the shares of the read bandwidth and of the nearer limit, where reading may be one."""
    if not memory:
        return "", ""
    read, nearer = (
        geomean(record.bandwidth_share for record in records),
        geomean(record.reached for record in records),
    )
    return shown_share(read), shown_share(nearer)


def _shares(rows: Rows, name: str) -> Iterator[float]:
    for _, record in rows:
        for peer in record.peers:
            if peer["name"] == name and peer["checked"] and isinstance(peer["share"], float):
                yield peer["share"]


def _mean_and_count(values: Iterable[float | None]) -> str:
    found = [value for value in values if value]
    return f"{geomean(found):.3f} ({len(found)})" if found else "-"


def _speedups(values: Iterable[float | None]) -> str:
    """Geometric mean and median of what several threads gain; empty for one thread."""
    found = [value for value in values if value]
    return f"{geomean(found):.2f}, median {median(found):.2f}" if found else ""


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _giga(value: float | None) -> str:
    return _number(None if value is None else value / 1e9)


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
