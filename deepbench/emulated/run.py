"""One problem on a CPU that is not here: compiled, counted, run in an emulator and checked, its cycles estimated."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

import isa
from deepbench.attempt import attempt, blank
from deepbench.emulated.published import published
from deepbench.emulated.record import EmulatedRecord
from deepbench.native.run import dtype_of, group_of, prepared
from deepbench.problems import Problem
from deepbench.suite import DONE, Settings, Task
from embed.cli.files import Array
from embed.cpu.kernel import CpuKernel
from embed.cpu.measuring.count import count
from embed.cpu.measuring.estimate import estimates
from embed.nest.ir import Tiles
from isa.model import Isa

FULL_INSTRUCTIONS = 400_000_000
"""A kernel that executes more is run on its first tiles and its last: emulators do 4 to 100 million a second."""

SLICE_INSTRUCTIONS = 100_000_000
"""About how much of such a kernel is executed."""


def run_emulated(task: Task) -> EmulatedRecord:
    """The record of one problem, whatever happens."""
    problem, settings = task.problem, task.settings
    empty = blank(EmulatedRecord, problem, settings, dtype="", group=group_of(problem))

    def work() -> EmulatedRecord:
        target = isa.load(settings.isa, dict(settings.parameters))
        return _executed(problem, settings, target, replace(empty, dtype=dtype_of(target)))

    return attempt(empty, work)


def _executed(problem: Problem, settings: Settings, target: Isa, empty: EmulatedRecord) -> EmulatedRecord:
    ready = prepared(problem, target, empty.dtype, 1, settings.seed)
    record = _counted(replace(empty, compile_s=ready.compile_s), ready.kernel)
    computed, spans = None, spans_of(ready.kernel, record.instructions)
    if spans is None:
        ready.run()
    else:
        numbers = tile_numbers(ready.kernel)
        assert numbers is not None
        computed = np.isin(numbers, [number for span in spans for number in span])
        for span in spans:
            part = ready.kernel.part(span)(*ready.free, out=np.zeros_like(ready.out))
            np.copyto(ready.out, part, where=np.isin(numbers, span))
    whole = spans is None and ready.expected.whole
    return replace(
        record,
        status=DONE,
        tiles_run=record.tiles if spans is None else sum(map(len, spans)),
        checked=ready.expected.holds(ready.out, computed=computed),
        executed="full" if whole else "slice",
        published={
            found.core: {"device": found.device, "cores": found.cores, "ms": found.milliseconds, "how": found.how}
            for found in published(problem)
            if found.core in record.cycles
        },
    )


def _counted(record: EmulatedRecord, kernel: CpuKernel) -> EmulatedRecord:
    """The record with what the kernel is and what it executes, exactly, and with the estimates of each core."""
    counts, cores = count(kernel), estimates(kernel)
    operator = kernel.operator
    clocks = {name: kernel.target.timings[name].constants.get("mhz", 0) for name in cores}
    return replace(
        record,
        op=operator.title,
        embedding=str(kernel.embedding),
        schedule=str(kernel.schedule),
        macs=operator.main.points,
        instructions=counts.instructions,
        multiply_accumulates=counts.multiply_accumulates,
        loads=counts.loads,
        hot_instructions=counts.hot_instructions,
        hot_multiply_accumulates=counts.hot_multiply_accumulates,
        hot_loads=counts.hot_loads,
        cycles={name: found.cycles for name, found in cores.items()},
        memory_cycles={name: found.memory for name, found in cores.items()},
        gflops={name: 2 * operator.main.points * clocks[name] / found.cycles / 1000 for name, found in cores.items()},
        tiles=kernel.tiles,
    )


def spans_of(kernel: CpuKernel, instructions: int) -> Sequence[range] | None:
    """The tiles that are executed: the first ones and the last, which may be shorter; None for all."""
    tiles = kernel.tiles
    some = max(2, SLICE_INSTRUCTIONS * tiles // max(1, instructions))
    if instructions <= FULL_INSTRUCTIONS or some >= tiles or tile_numbers(kernel) is None:
        return None
    return range(some - 1), range(tiles - 1, tiles)


def tile_numbers(kernel: CpuKernel) -> Array | None:
    """For each element of the output, which tile of the outermost loop computes it; None if every tile adds to all."""
    (outermost,) = kernel.nest.body
    assert isinstance(outermost, Tiles)
    embedding = kernel.embedding
    dims = next(loop.dims for loop in embedding.loops if loop.name == outermost.loop)
    radix = next((digit.radix for digit in embedding.digits if digit.loop == outermost.loop), 1)
    output = embedding.operator.main.output.index
    axes = {dim: axis for axis, index in enumerate(output) for dim in index.dims}
    if any(dim not in axes for dim in dims):
        return None
    shape = embedding.operator.output.shape
    flat, scale = np.zeros((1,) * len(shape), np.int64), 1
    for dim in dims:
        extent = embedding.extents[dim]
        flat = flat + scale * np.arange(extent).reshape([-1 if axis == axes[dim] else 1 for axis in range(len(shape))])
        scale *= extent
    return np.broadcast_to(flat // radix // outermost.tile, shape)
