"""What commands do for kernels on this machine's CPU: making them, data in the kernel's layouts, a checked run."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.table import Table

import embed
from dataflow import Operator, Tensor, UserError, evaluate
from dataflow.accuracy import bounded
from dataflow.dtypes import is_integer
from dataflow.reference import check_array
from embed.abstract.kernel import AbstractKernel
from embed.cli.asked import AskedEmbedding, AskedKernel, AskedSearch, refuse
from embed.cli.console import error_console, new_table
from embed.cli.exits import Defect
from embed.cli.files import Array, read_array
from embed.cli.operators import read_pairs
from embed.costs import packings
from embed.cpu.choosing.copying import packing
from embed.cpu.kernel import CpuKernel
from embed.cpu.runner.machine import machine_of
from embed.embedding import Embedding
from embed.kernel import best_embedding
from embed.physical import Physical
from embed.repacking import Packing
from embed.solver.search import given
from embed.vta.executable import VtaKernel
from isa.model import Isa

_RUNS = 5


def compile_for_cpu(
    operator: Operator,
    target: Isa,
    search: AskedEmbedding,
    asked: AskedKernel,
    constants: Sequence[str] = (),
    embedding: Embedding | None = None,
) -> CpuKernel:
    """The kernel of an operator, under `embedding` if given; a tuned one is kept in the user's cache.

    Says what the time limit left out. Raises UserError for options that do not fit.
    """
    refuse("embed", target, {"--solver-params": search.solver_params})
    check_search(target, search)
    orders = search.layouts
    _check_names("--layout", orders, (*operator.inputs, operator.output))
    fixed = _constants(operator, orders, constants)
    kernel = embed.compile(
        operator,
        target,
        embedding,
        layouts=orders,
        threads=asked.threads,
        constants=fixed,
        cache=embed.Cache() if asked.tune else None,
        tune=asked.tune,
        time_limit=search.time_limit,
        demands=search.demand or (),
    )
    assert isinstance(kernel, CpuKernel)
    say_note(kernel.note)
    return kernel


def check_search(target: Isa, search: AskedSearch) -> None:
    """Raise UserError for an objective or a relaxation that kernels for a CPU do not take."""
    if search.objective != "cycles":
        raise UserError(f"--objective: kernels for {target.name} are chosen by cycles alone")
    if search.relaxations:
        raise UserError(f"--relax: kernels for {target.name} compute the operator as it is; isa-embed embed tries it")


def written_or_best(operator: Operator, target: Isa, search: AskedEmbedding, written: Embedding | None) -> Embedding:
    """The embedding that is written down, if it meets the demands; or the best, saying what the time limit left out."""
    settings = search.read()
    solution = best_embedding(operator, target, settings) if written is None else given(written, target, settings)
    say_note(solution.note)
    return solution.embedding


UNLISTED = "rewritings are not listed: --relax all"
"""What is said of a list without rewritings of the operator, where there are some."""


def say_note(note: str) -> None:
    """What a time limit left out, or a list leaves out, if it does."""
    if note:
        error_console().print(note, highlight=False, markup=False)


def _check_names(option: str, names: Iterable[str], tensors: Sequence[Tensor]) -> None:
    known = [tensor.name for tensor in tensors]
    for name in names:
        if name not in known:
            raise UserError(f"{option}: there is no tensor '{name}'; there are: {', '.join(known)}")


def _constants(operator: Operator, orders: Mapping[str, str], words: Sequence[str]) -> dict[str, Array]:
    """Arrays from files, lying as `orders` say."""
    paths = read_pairs("--constant", words)
    _check_names("--constant", paths, operator.inputs)
    found = {}
    for tensor in operator.inputs:
        if tensor.name in paths:
            array = check_array(tensor, {tensor.name: read_array(Path(paths[tensor.name]))})
            found[tensor.name] = Physical.of(tensor, orders.get(tensor.name)).pack(array)
    return found


def run_abstract(kernel: AbstractKernel, arrays: Mapping[str, Array]) -> tuple[Array, Table]:
    """Interpret, check, and show what the program costs; raises Defect for a wrong result."""
    out = kernel.held.plain(kernel(**kernel.held.lying(arrays)))
    found = kernel.report
    table = new_table("")
    table.add_row("result", compared(kernel.held.own, arrays, out))
    show_packings(table, kernel)
    table.add_row("ran in", f"the interpreter of {kernel.target.name}'s patterns")
    table.add_row("schedule", str(kernel.schedule))
    table.add_row("invocations", f"{found.invocations:,}")
    table.add_row("utilisation", f"{found.utilisation:.4f}")
    if found.timed:
        table.add_row("cycles, modelled", f"{found.cycles:,}")
        for unit, spent in found.busy.items():
            table.add_row(f"  {unit} busy", f"{spent / found.cycles:.1%}")
    table.add_row("bytes moved", f"{found.total_bytes:,}")
    for memory, size in found.bytes.items():
        table.add_row(f"  {memory}", f"{size:,}")
    return out, table


def left_to_pack(kernel: VtaKernel | CpuKernel | AbstractKernel) -> Iterator[Packing]:
    """What is left to pack of each tensor whose layout is pinned, on a CPU of those that do not lie row-major."""
    if not isinstance(kernel, CpuKernel):
        yield from packings(kernel.held, kernel.embedding, kernel.target).values()
        return
    for stream in kernel.streams.values():
        physical = kernel.physical[stream.tensor]
        if (
            physical.blocks or list(physical.order) != sorted(physical.order)
        ) and stream.tensor not in kernel.constants:
            yield packing(stream.feed, physical)


def show_packings(table: Table, kernel: VtaKernel | CpuKernel | AbstractKernel) -> None:
    """A row for each tensor that `left_to_pack` tells of."""
    for left in left_to_pack(kernel):
        table.add_row(f"packing {left.tensor}, {left.layout}", str(left))


def run_on_cpu(kernel: CpuKernel, arrays: Mapping[str, Array]) -> tuple[Array, Table]:
    """Run, check and time; the result is in the tensor's own shape. Raises Defect for a wrong one."""
    given = {name: lying(kernel, name, array) for name, array in arrays.items() if name not in kernel.constants}
    lies = kernel(**given)
    out = kernel.physical[kernel.operator.output.name].unpack(lies)
    table = new_table("")
    table.add_row("result", check(kernel, arrays, out))
    show_packings(table, kernel)
    if not machine_of(kernel.target).native:
        table.add_row("ran in", f"an emulator of {machine_of(kernel.target).architecture}")
        return out, table
    seconds = best_seconds(kernel, list(given.values()), lies)
    table.add_row("time, best of 5", f"{seconds * 1e6:,.1f} us")
    table.add_row("operations", f"{2 * kernel.operator.main.points / seconds / 1e9:,.1f} G/s")
    table.add_row("threads", str(kernel.threads))
    return out, table


def lying(kernel: CpuKernel, name: str, array: Array) -> Array:
    """A copy of an array in the kernel's layout."""
    return kernel.physical[name].pack(array)


def check(kernel: CpuKernel, arrays: Mapping[str, Array], out: Array) -> str:
    """What the result was compared with; raises Defect where it differs."""
    if kernel.constants:
        return f"not compared: the kernel holds {', '.join(kernel.constants)}"
    return compared(kernel.operator, arrays, out)


def compared(operator: Operator, arrays: Mapping[str, Array], out: Array) -> str:
    """How a result agrees with the reference; raises Defect where it differs."""
    if is_integer(operator.output.dtype):
        if not np.array_equal(out, evaluate(operator, arrays)):
            raise Defect(f"the result of {operator.title} differs from the reference; please report it")
        return "equals the reference bit for bit"
    exact, bound = bounded(operator, arrays)
    worst = float((np.abs(out.astype(np.float64) - exact) / bound).max(initial=0))
    if not worst <= 1:
        raise Defect(f"the result of {operator.title} is {worst:.3g} times the error bound away; please report it")
    return f"within the forward error bound (at most {worst:.1%} of it)"


def best_seconds(kernel: CpuKernel, arrays: Sequence[Array], out: Array) -> float:
    """Shortest time of a few calls on the same arrays."""
    times = []
    for _ in range(_RUNS):
        start = time.perf_counter()
        kernel(*arrays, out=out)
        times.append(time.perf_counter() - start)
    return min(times)
