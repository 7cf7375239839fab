"""How long kernels take to make once their embedding is known, beside LLVM -O3 on the same kernels."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median

from rich.console import Console
from rich.table import Table

from dataflow import Operator, UserError
from deepbench.attempt import attempt, blank
from deepbench.means import geomean
from deepbench.native.llvm import compiler, ir
from deepbench.native.run import constants_of, dtype_of, group_of, layouts_of, operator_of
from deepbench.problems import Problem
from deepbench.suite import DONE, Settings
from deepbench.table import sizes
from embed.cli.console import new_table
from embed.cli.record import JsonRecord
from embed.cpu.compile import compile_cpu
from embed.cpu.kernel import CpuKernel
from embed.embedding import Embedding
from isa.model import Isa

_REPEATS = 3


@dataclass(frozen=True, slots=True)
class CompileRecord(JsonRecord):
    """Seconds, the median of three: `compile_s` for schedule, lowering and assembly, `assemble_s` for the last alone.

    `whole_s` is the first compilation, which searches for the embedding too. `llvm_s` is LLVM's -O3 passes and code
    generator on the same kernel, its loops unrolled as often, and `llvm_plain_s` where nothing is said of unrolling;
    `llvm_parse_s` is its reading of the IR as text, which a front end would not ask of it.
    """

    group: str
    embedding: str = ""
    schedule: str = ""
    instructions: int = 0
    bytes: int = 0
    whole_s: float | None = None
    compile_s: float | None = None
    assemble_s: float | None = None
    llvm_s: float | None = None
    llvm_plain_s: float | None = None
    llvm_parse_s: float | None = None
    llvm_bytes: int = 0
    checked: bool | None = None
    error: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times longer LLVM takes."""
        return self.llvm_s / self.compile_s if self.llvm_s and self.compile_s else None


def measure(
    problems: Sequence[Problem], target: Isa, observe: Callable[[CompileRecord], object]
) -> list[CompileRecord]:
    """Compile every problem for `target` with one thread, and the same kernels with LLVM where it is installed."""
    records = []
    for problem in problems:
        records.append(_measured(problem, target))
        observe(records[-1])
    return records


def print_compile_times(console: Console, problems: Sequence[Problem], records: Sequence[CompileRecord]) -> None:
    """Every problem, the groups, and what could not be measured."""
    console.print(_problem_table(problems, records))
    console.print(_group_table(records))
    for note in dict.fromkeys(record.error for record in records if record.error):
        console.print(note, highlight=False, markup=False)


def _measured(problem: Problem, target: Isa) -> CompileRecord:
    asked = Settings(target.name, tuple(target.parameters.items()))
    empty = blank(CompileRecord, problem, asked, group=group_of(problem))
    return attempt(empty, lambda: _compiled(problem, target, empty))


def _compiled(problem: Problem, target: Isa, empty: CompileRecord) -> CompileRecord:
    operator = operator_of(problem, dtype_of(target))
    start = time.perf_counter()
    embedding = _kernel(problem, operator, target, None).embedding
    whole = time.perf_counter() - start
    runs = [_timed(problem, target, embedding) for _ in range(_REPEATS)]
    kernel = runs[0][0]
    found = replace(
        empty,
        status=DONE,
        checked=True,
        embedding=str(embedding),
        schedule=str(kernel.schedule),
        instructions=len(kernel.items),
        bytes=len(kernel.code),
        whole_s=whole,
        compile_s=median(run[1] for run in runs),
        assemble_s=median(run[2] for run in runs),
    )
    return _beside_llvm(found, kernel)


def _kernel(problem: Problem, operator: Operator, target: Isa, embedding: Embedding | None) -> CpuKernel:
    fixed = constants_of(problem)
    return compile_cpu(operator, target, layouts=layouts_of(problem), constants=fixed, embedding=embedding)


def _timed(problem: Problem, target: Isa, embedding: Embedding) -> tuple[CpuKernel, float, float]:
    """The kernel, the seconds that it took, and those of its assembly; operator and embedding know nothing yet."""
    operator = operator_of(problem, dtype_of(target))
    embedding = replace(embedding, operator=operator)
    start = time.perf_counter()
    kernel = _kernel(problem, operator, target, embedding)
    lowered = time.perf_counter()
    _ = kernel.code
    end = time.perf_counter()
    return kernel, end - start, end - lowered


def _beside_llvm(record: CompileRecord, kernel: CpuKernel) -> CompileRecord:
    try:
        runs, plain = (_by_llvm(ir.module(kernel, unrolled)) for unrolled in (True, False))
    except UserError as error:
        return replace(record, error=str(error))
    return replace(
        record,
        llvm_s=median(run.seconds for run in runs),
        llvm_plain_s=median(run.seconds for run in plain),
        llvm_parse_s=median(run.parse_s for run in runs),
        llvm_bytes=len(runs[0].code),
    )


def _by_llvm(text: str) -> list[compiler.Compiled]:
    return [compiler.compile_ir(text) for _ in range(_REPEATS)]


def _problem_table(problems: Sequence[Problem], records: Sequence[CompileRecord]) -> Table:
    numbers = (
        "instructions",
        "bytes",
        "with search ms",
        "ours ms",
        "of it assembly",
        "LLVM ms",
        "ratio",
        "LLVM as it likes ms",
    )
    table = new_table("compile time, embedding solved", "problem", "sizes", "schedule", *numbers, right=numbers)
    for problem, record in zip(problems, records, strict=True):
        seconds = (record.whole_s, record.compile_s, record.assemble_s, record.llvm_s)
        cells = [str(record.instructions), str(record.bytes), *map(_milliseconds, seconds), _ratio(record.ratio)]
        cells.append(_milliseconds(record.llvm_plain_s))
        table.add_row(problem.name, sizes(problem), record.schedule, *cells)
    return table


def _group_table(records: Sequence[CompileRecord]) -> Table:
    """Medians and maxima; the ratio's geometric mean and its least."""
    titles = (
        *("problems", "ours ms, median", "max", "LLVM -O3 ms, median", "max", "ratio, geomean", "median", "least"),
        "unrolled as LLVM likes: geomean",
    )
    table = new_table("schedule, lowering and assembly, beside LLVM's passes and code generator", "group", *titles,
                      right=titles)  # fmt: skip
    groups = {f"{record.suite} {record.group}": [] for record in records}  # type: dict[str, list[CompileRecord]]
    for record in records:
        groups[f"{record.suite} {record.group}"].append(record)
    for title, rows in [*groups.items(), ("all", list(records))]:
        ours = [record.compile_s for record in rows if record.compile_s]
        llvm = [record.llvm_s for record in rows if record.llvm_s]
        ratios = [record.ratio for record in rows if record.ratio]
        spread = [*_spread(ours), *_spread(llvm)]
        ratio = [_ratio(part(ratios) if ratios else None) for part in (geomean, median, min)]
        plain = [record.llvm_plain_s / record.compile_s for record in rows if record.llvm_plain_s and record.compile_s]
        ratio.append(_ratio(geomean(plain) if plain else None))
        table.add_row(title, str(len(rows)), *map(_milliseconds, spread), *ratio)
    return table


def _spread(values: Sequence[float]) -> tuple[float | None, float | None]:
    return (median(values), max(values)) if values else (None, None)


def _milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value * 1e3:.2f}"


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
