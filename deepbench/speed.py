"""Simulated cycles beside what no program can beat, the worst with their causes, and TVM's published times."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files

from rich.table import Table

from deepbench.means import geomean
from embed.cli.console import new_table
from embed.cli.record import Record

CLOCK_HZ = 100_000_000
"""The clock of VTA on the Pynq and DE10-Nano boards (apache/tvm-vta, pkg_config)."""

_WORST = 20
_NOTABLE = 0.005


def speed_tables(groups: Mapping[tuple[str, str], Sequence[Record]]) -> Iterable[Table]:
    """Every group against its bounds, the worst of all, and the layers whose times TVM published."""
    timed = {group: [r for r in records if bound_ratio(r)] for group, records in groups.items()}
    if any(timed.values()):
        yield bounds_table({group: records for group, records in timed.items() if records})
        yield worst_table([record for records in timed.values() for record in records])
    layers = timed.get(("resnet18", "conv"), [])
    if layers:
        yield published_table(layers)


def bound_ratio(record: Record) -> float | None:
    """Simulated cycles over the larger of the compute and bus bounds."""
    bound = max(record.compute_bound or 0, record.bus_bound or 0)
    return record.cycles / bound if record.cycles and bound else None


def bounds_table(groups: Mapping[tuple[str, str], Sequence[Record]]) -> Table:
    """One row for each group: geometric means, and the largest ratio."""
    numbers = ("cycles / bound", "worst", "within 5 %", "predicted / simulated", "farthest off")
    title = "simulated cycles over max(compute bound, bus bound)"
    table = new_table(title, "suite", "op", *numbers, right=numbers)
    for group, records in groups.items():
        ratios = [bound_ratio(record) or 0.0 for record in records]
        near = sum(ratio <= 1.05 for ratio in ratios)
        said = [r.predicted_cycles / r.cycles for r in records if r.predicted_cycles and r.cycles]
        off = max(said, key=lambda value: abs(value - 1), default=None)
        cells = (geomean(ratios), max(ratios), f"{near}/{len(ratios)}", geomean(said), off)
        table.add_row(*group, *map(_shown, cells))
    return table


def worst_table(records: Sequence[Record]) -> Table:
    """The problems farthest above their bounds; the causes are shares of the simulated cycles."""
    numbers = ("cycles", "bound", "ratio")
    table = new_table(f"the {_WORST} worst", "problem", *numbers, "limited by", "where the rest goes", right=numbers)
    for record in sorted(records, key=lambda r: -(bound_ratio(r) or 0))[:_WORST]:
        limit = "compute" if (record.compute_bound or 0) >= (record.bus_bound or 0) else "bus"
        bound = max(record.compute_bound or 0, record.bus_bound or 0)
        table.add_row(
            record.problem, f"{record.cycles:,}", f"{bound:,}", f"{bound_ratio(record):.3f}", limit, causes(record)
        )
    return table


def causes(record: Record) -> str:
    """What the compute unit did besides the bound's work, the largest part first."""
    cycles = record.cycles or 1
    parts = sorted(((count / cycles, name) for name, count in record.lost.items()), reverse=True)
    return ", ".join(f"{name} {share:.1%}" for share, name in parts if share > _NOTABLE)


def published_table(records: Sequence[Record]) -> Table:
    """ResNet-18's layers beside the times of TVM's tuned schedules."""
    numbers = ("cycles", "bound", "ratio", "ms at 100 MHz", "TVM ms", "times faster")
    rows = {row["idx"]: row for row in _layers()}
    source = next(iter(rows.values()))["source"]
    table = new_table(f"beside TVM's tuned times on a Pynq board ({source})", "layer", *numbers, right=numbers)
    for record in records:
        row = rows[str(int(record.problem.rpartition("/")[2]))]
        ours, theirs = (record.cycles or 0) / CLOCK_HZ * 1000, float(row["tvm_ms"])
        bound = max(record.compute_bound or 0, record.bus_bound or 0)
        cells = (f"{record.cycles:,}", f"{bound:,}", _shown(bound_ratio(record)), _shown(ours), f"{theirs:.2f}")
        table.add_row(row["layer"], *cells, f"{theirs / ours:.2f}")
    return table


def _layers() -> Iterable[dict[str, str]]:
    text = files("deepbench").joinpath("problems", "resnet18.csv").read_text(encoding="utf-8")
    return csv.DictReader(text.splitlines())


def _shown(value: float | str | None) -> str:
    if isinstance(value, str):
        return value
    return "-" if value is None else f"{value:.3f}"
