"""DeepBench x ISA: the suite on every instruction set by the abstract path, a row of means for each."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rich.console import Console

import isa
from dataflow import UserError
from deepbench.abstract.run import run_abstract
from deepbench.abstract.typed import sums_products
from deepbench.executor import Executor
from deepbench.overview import MEANS, instructions, means
from deepbench.problems import Problem
from deepbench.suite import Settings, run_grid
from deepbench.table import complaints
from embed.cli.console import new_table
from embed.cli.record import Record

ALL = "all"


def asked_isas(text: str) -> list[str]:
    """The instruction sets of `--isa`: names and files with commas between, or `all` the shipped ones.

    That is, all whose instructions sum products: others have nothing to do in the suite.
    """
    if text == ALL:
        return [name for name in isa.names() if sums_products(isa.load(name))]
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise UserError("--isa: name an instruction set, or all")
    return names


def run_every(
    problems: Sequence[Problem],
    settings: Sequence[Settings],
    executor: Executor,
    out: Path,
    observe: Callable[[Record], object],
) -> tuple[dict[str, list[Record]], float]:
    """All problems on all instruction sets; records by ISA, and the seconds it took.

    Finished ones are kept in `out`, so that an interrupted run goes on. Raises Interrupted on Ctrl-C.
    """
    found, wall = run_grid(problems, settings, out, executor, run_abstract, observe)
    return {each.isa: records for each, records in found.items()}, wall


def print_every(
    console: Console, results: Mapping[str, Sequence[Record]], wall: float, relaxations: Sequence[str]
) -> None:
    """The table DeepBench x ISA, and what went wrong."""
    table = new_table("DeepBench x ISA: geometric means", "isa", "instructions", *MEANS, right=MEANS)
    for name, records in results.items():
        table.add_row(name, ", ".join(instructions(records)), *means(records))
    console.print(table)
    count = sum(map(len, results.values()))
    console.print(
        f"{count} cells in {wall:.0f} s; those not executed in full ran on a reduced problem", highlight=False
    )
    if not relaxations:
        console.print("operators as they are; --relax split, or all, tries rewritten ones too", highlight=False)
    for name, records in results.items():
        for line in complaints(records):
            console.print(f"{name} {line}", highlight=False, markup=False)
