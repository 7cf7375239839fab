"""ALU instructions on accumulators: min, max, add, shift and multiply, by an immediate or by another accumulator."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from embed.vta.roles import Scratchpad
from embed.vta.simulator.errors import SimulationError
from embed.vta.simulator.indices import Loops, Places, compact, loops_of, require_below
from embed.vta.simulator.state import State
from embed.vta.steps import Step
from embed.vta.uops import Indices, decode

Ints = npt.NDArray[np.int32]

CACHED_KERNELS = 256


@dataclass(frozen=True, slots=True)
class Kernel:
    """Iterations of one ALU instruction in runs that may be evaluated at once, and every destination (each once)."""

    runs: tuple[tuple[Places, Places], ...]
    touched: Places
    iterations: int


class AluUnit:
    """Runs ALU instructions; a kernel (loop fields and micro-ops) met before is not analysed again."""

    def __init__(self) -> None:
        self._kernels: dict[tuple[Loops, bytes, bool, bool], Kernel] = {}

    def run(self, state: State, step: Step) -> None:
        """Execute one ALU instruction on `state`, as if iteration by iteration."""
        role, semantics = step.role, state.semantics
        loops = loops_of(step.instruction)
        if role.operation == "mul" and not semantics.fsim_only:
            raise SimulationError(step.index, "the hardware has no MUL")
        if not loops.iterations:
            if not semantics.fsim_only:
                raise SimulationError(step.index, "an empty loop runs away on the hardware")
            return
        kernel = self._kernel(state, step, loops, role.immediate)
        state.counters.alu_uops += kernel.iterations
        immediate = step.instruction["imm"]
        for dst, src in kernel.runs:
            left = state.acc[src if role.immediate and semantics.immediate_reads_src else dst]
            right = np.int32(immediate) if role.immediate else state.acc[src]
            state.acc[dst] = _apply(role.operation, left, right, immediate, state, step.index)
        state.mirror(kernel.touched)

    def _kernel(self, state: State, step: Step, loops: Loops, immediate: bool) -> Kernel:
        if loops.end > state.uop_depth:
            raise SimulationError(step.index, f"uop_end {loops.end} is beyond the uop memory of {state.uop_depth}")
        words = state.uop[loops.begin : loops.end]
        reads_dst = not (immediate and state.semantics.immediate_reads_src)
        reads_src = not (immediate and reads_dst)
        key = (loops, words.tobytes(), reads_dst, reads_src)
        if key not in self._kernels:
            if len(self._kernels) >= CACHED_KERNELS:
                self._kernels.clear()
            self._kernels[key] = _analyse(state, step, loops, words, reads_dst, reads_src)
        return self._kernels[key]


def _analyse(
    state: State,
    step: Step,
    loops: Loops,
    words: npt.NDArray[np.uint32],
    reads_dst: bool,
    reads_src: bool,
) -> Kernel:
    uops = decode(words, state.machine)
    dst_offsets, src_offsets = loops.offsets(loops.dst), loops.offsets(loops.src)
    depth = state.machine.depths[Scratchpad.ACC]
    require_below(step.index, Scratchpad.ACC, uops.dst, dst_offsets, depth)
    require_below(step.index, Scratchpad.ACC, uops.src, src_offsets, depth)
    dst = (dst_offsets[:, None] + uops.dst[None, :]).reshape(-1)
    src = (src_offsets[:, None] + uops.src[None, :]).reshape(-1)
    previous = last_writes(dst, dst) if reads_dst else np.full(len(dst), -1, np.intp)
    if reads_src:
        previous = np.maximum(previous, last_writes(dst, src))
    bounds = independent_runs(previous)
    runs = tuple((compact(dst[run]), compact(src[run])) for run in bounds)
    return Kernel(runs, compact(np.unique(dst)), len(dst))


def last_writes(written: Indices, wanted: Indices) -> Indices:
    """For each iteration t, the last earlier iteration that wrote element wanted[t], or -1: intp[iterations]."""
    count = len(written)
    times = np.arange(count, dtype=np.intp)
    keys = np.sort(written * count + times)
    found = np.searchsorted(keys, wanted * count + times) - 1
    key = keys[np.maximum(found, 0)]
    return np.where((found >= 0) & (key // count == wanted), key % count, -1)


def independent_runs(previous: Indices) -> list[slice]:
    """Cut iterations into the longest runs in which none depends on a write of its own run."""
    if int(previous.max()) < 0:
        return [slice(0, len(previous))]
    runs, start = [], 0
    for time, writer in enumerate(previous.tolist()):
        if writer >= start:
            runs.append(slice(start, time))
            start = time
    return [*runs, slice(start, len(previous))]


def _apply(operation: str, left: Ints, right: Ints | np.int32, immediate: int, state: State, index: int) -> Ints:
    if operation == "min":
        return np.minimum(left, right)
    if operation == "max":
        return np.maximum(left, right)
    if operation == "add":
        return np.add(left, right)
    if operation == "mul":
        return np.multiply(left, right)
    return _shift(left, right, immediate < 0, state.semantics.modular_shift, index)


def _shift(left: Ints, amount: Ints | np.int32, negative: bool, modular: bool, index: int) -> Ints:
    """Arithmetic right shift, to the left by negative amounts; `modular` as in `Semantics.modular_shift`."""
    if modular:
        return np.left_shift(left, -amount & 31) if negative else np.right_shift(left, amount & 31)
    if np.abs(np.asarray(amount, np.int64)).max() > 31:
        raise SimulationError(index, "a shift by more than 31 is undefined")
    if np.ndim(amount) == 0:
        return np.left_shift(left, -amount) if amount < 0 else np.right_shift(left, amount)
    shifted: Ints = np.where(amount < 0, np.left_shift(left, -amount & 31), np.right_shift(left, amount & 31))
    return shifted
