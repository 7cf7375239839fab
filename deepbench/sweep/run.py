"""A sweep: the suite on one ISA file in every shape of its array, a row of means for each."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from rich.console import Console

import isa
from deepbench.abstract.run import run_abstract
from deepbench.attempt import blank, failed
from deepbench.executor import Executor
from deepbench.means import geomean
from deepbench.overview import MEANS, means
from deepbench.problems import Problem
from deepbench.suite import Settings, Task, run_grid
from deepbench.sweep.shapes import Shape
from deepbench.table import complaints, shown_share
from deepbench.vta.run import run_one
from embed.cli.console import new_table
from embed.cli.record import Record
from embed.kernel import Machine

Results = Mapping[Shape, Sequence[Record]]

REFUSED = "REFUSED"
"""Status of a record whose shape the ISA file does not take."""


def run_sweep(
    problems: Sequence[Problem],
    shapes: Sequence[Shape],
    executor: Executor,
    out: Path,
    observe: Callable[[Record], object],
    runner: Callable[[Task], Record] | None = None,
) -> tuple[dict[Shape, list[Record]], float]:
    """All problems in all shapes; records by shape, and the seconds it took. Refused shapes have records that say so.

    Without a `runner` the machine's is taken. What is finished is kept in `out`, so that an interrupted sweep goes on.
    """
    possible = [shape.settings for shape in shapes if not shape.refusal]
    found, wall = run_grid(problems, possible, out, executor, runner or _runner(possible[0]), observe)
    return {shape: found.get(shape.settings) or _refused(problems, shape) for shape in shapes}, wall


def rows(results: Results) -> Iterator[dict[str, object]]:
    """For each shape and problem: the parameters that the sweep sets, the MACs a cycle, and the record."""
    for shape, records in results.items():
        for record in records:
            yield {**dict(shape.settings.parameters), "macs_per_cycle": shape.macs, **record.to_dict()}


def relative(results: Results) -> dict[Shape, float | None]:
    """Geometric mean of the cycles over those of the first shape that has any, of problems that both have."""
    base = next((records for records in results.values() if geomean(record.cycles for record in records)), ())
    first = {record.problem: record.cycles for record in base if record.cycles}
    return {
        shape: geomean(r.cycles / first[r.problem] for r in records if r.cycles and r.problem in first)
        for shape, records in results.items()
    }


def print_sweep(console: Console, results: Results, wall: float) -> None:
    """One row for each shape, and what went wrong."""
    first = next(iter(results))
    unit = "MACs/cycle" if isa.load(first.settings.isa).timings else "MACs/instruction"
    titles = (unit, *MEANS, "cycles / first")
    table = new_table(f"{first.settings.isa}: geometric means of each shape", "shape", *titles, right=titles)
    ratios = relative(results)
    for shape, records in results.items():
        table.add_row(shape.name, *_cells(shape, records, ratios[shape]))
    console.print(table)
    possible = [(shape, records) for shape, records in results.items() if not shape.refusal]
    count = sum(len(records) for _, records in possible)
    console.print(f"{count} results in {wall:.0f} s, of {len(possible)} shapes", highlight=False)
    for shape in results:
        if shape.refusal:
            console.print(f"{shape.name}: refused: {shape.refusal}", highlight=False, markup=False)
    for shape, records in possible:
        for line in complaints(records):
            console.print(f"{shape.name}: {line}", highlight=False, markup=False)


def _cells(shape: Shape, records: Sequence[Record], ratio: float | None) -> list[str]:
    if shape.refusal:
        return ["refused"]
    return [f"{shape.macs:,.12g}", *means(records), shown_share(ratio)]


def _runner(settings: Settings) -> Callable[[Task], Record]:
    """What runs a problem: code on its simulator where there is one, else the file alone."""
    target = isa.load(settings.isa, dict(settings.parameters))
    return run_one if Machine.of(target) is Machine.MICRO_OPERATIONS else run_abstract


def _refused(problems: Sequence[Problem], shape: Shape) -> list[Record]:
    settings = shape.settings
    rows = [blank(Record, problem, settings, objective=settings.objective, embedding="") for problem in problems]
    return [failed(row, REFUSED, shape.refusal) for row in rows]
