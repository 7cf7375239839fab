"""Simulated cycles beside what no program can beat, the worst with their causes, and TVM's published times."""

from collections.abc import Iterable, Mapping, Sequence

from rich.table import Table

from deepbench.means import geomean
from deepbench.vta.fixed import tuned
from embed.cli.console import new_table
from embed.cli.record import Record

CLOCK_HZ = 100_000_000
"""The clock of VTA on the Pynq and DE10-Nano boards (apache/tvm-vta, pkg_config)."""

_WORST = 20
_NOTABLE = 0.005
_READ_AGAIN = 1.2
_WAITING = 0.05
LOADS = "waits for loads"


def speed_tables(groups: Mapping[tuple[str, str], Sequence[Record]]) -> Iterable[Table]:
    """Every group against its bounds, the worst of all, and the layers whose times TVM published."""
    timed = {group: [r for r in records if bound_ratio(r)] for group, records in groups.items()}
    if any(timed.values()):
        yield bounds_table({group: records for group, records in timed.items() if records})
        yield worst_table([record for records in timed.values() for record in records])
    compared = {group: some for group, records in timed.items() if (some := [r for r in records if r.reference_cycles])}
    if compared:
        yield reference_table(compared)
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


def worst(records: Sequence[Record]) -> list[Record]:
    """The problems farthest above their bounds."""
    return sorted(records, key=lambda r: -(bound_ratio(r) or 0))[:_WORST]


def worst_table(records: Sequence[Record]) -> Table:
    """The problems farthest above their bounds; the causes are shares of the simulated cycles."""
    numbers = ("cycles", "bound", "ratio")
    table = new_table(f"the {_WORST} worst", "problem", *numbers, "limited by", "where the rest goes", right=numbers)
    for record in worst(records):
        limit = "compute" if (record.compute_bound or 0) >= (record.bus_bound or 0) else "bus"
        bound = max(record.compute_bound or 0, record.bus_bound or 0)
        table.add_row(
            record.problem, f"{record.cycles:,}", f"{bound:,}", f"{bound_ratio(record):.3f}", limit, causes(record)
        )
    return table


def causes(record: Record) -> str:
    """What the compute unit did besides the bound's work, the largest part first, and what the bounds leave out."""
    cycles = record.cycles or 1
    parts = sorted(((count / cycles, name) for name, count in record.lost.items()), reverse=True)
    said = [f"{name} {share:.1%}" for share, name in parts if share > _NOTABLE]
    stores = (record.store_cycles or 0) / max(record.compute_bound or 0, record.bus_bound or 0, 1)
    said += [f"stores alone take {stores:.2f} of the bound"] if stores > 1 else []
    waits = record.lost.get(LOADS, 0) > _WAITING * cycles
    said += [f"inputs are read {record.reads:.1f} times"] if waits and (record.reads or 0) > _READ_AGAIN else []
    return ", ".join(said)


def published_table(records: Sequence[Record]) -> Table:
    """ResNet-18's layers beside the times of TVM's tuned schedules."""
    numbers = ("cycles", "bound", "ratio", "ms at 100 MHz", "TVM ms", "times faster")
    rows = [(record, known) for record in records if (known := tuned(record.problem)) is not None]
    title = f"beside TVM's tuned times on a Pynq board ({rows[0][1].source})"
    table = new_table(title, "layer", *numbers, right=numbers)
    for record, known in rows:
        ours = (record.cycles or 0) / CLOCK_HZ * 1000
        bound = max(record.compute_bound or 0, record.bus_bound or 0)
        cells = (f"{record.cycles:,}", f"{bound:,}", _shown(bound_ratio(record)), _shown(ours))
        table.add_row(known.layer, *cells, f"{known.milliseconds:.2f}", f"{known.milliseconds / ours:.2f}")
    return table


def reference_table(groups: Mapping[tuple[str, str], Sequence[Record]]) -> Table:
    """How many times fewer cycles than TVM's fixed strategy takes on the same simulator."""
    numbers = ("problems", "faster, geomean", "where it uses under 50 %", "such problems", "most", "least")
    title = "beside TVM's fixed strategy (n, c, k packing, its tiles, two threads), on the same simulator"
    table = new_table(title, "suite", "op", *numbers, right=numbers)
    for group, records in groups.items():
        ratios = {r.problem: r.reference_cycles / r.cycles for r in records if r.reference_cycles and r.cycles}
        low = [ratios[r.problem] for r in records if r.problem in ratios and (r.reference_utilisation or 1) < 0.5]
        means = (geomean(ratios.values()), geomean(low))
        most, least = max(ratios.values()), min(ratios.values())
        table.add_row(*group, str(len(ratios)), *map(_shown, means), str(len(low)), _shown(most), _shown(least))
    return table


def _shown(value: float | str | None) -> str:
    if isinstance(value, str):
        return value
    return "-" if value is None else f"{value:.3f}"
