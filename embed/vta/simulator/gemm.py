"""GEMM, evaluated as a few exact float32 matrix products instead of one micro-op iteration at a time.

Integer addition wraps and commutes, so iterations may be summed in any order. Loops that do not move the
weights become rows of a product; micro-ops that share a destination are joined along the reduction, and
those that share their sources along the output channels.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from embed.vta.machine import Machine
from embed.vta.roles import OPERANDS, Job
from embed.vta.simulator.errors import SimulationError
from embed.vta.simulator.indices import Loops, Places, compact, loops_of, require_below
from embed.vta.simulator.state import Floats, State
from embed.vta.steps import Step
from embed.vta.uops import Indices, Uops, decode

EXACT_TERMS = 2**24 // 2**14
"""Products of two int8 (at most 2**14) whose sum float32 holds exactly, whatever the order."""

ROWS_AT_ONCE = 2**18
"""Elements of the gathered left matrix: keeps it in the second-level cache."""

CACHED_INDICES = 2**22
"""Indices kept for kernels that are issued again (8 bytes each)."""


@dataclass(frozen=True, slots=True)
class Product:
    """acc[dst[r, c]] += sum over m of inp[src[r, m]] * wgt[wgt[m, c]], rows of inp and acc flattened over the batch.

    src: intp[rows, m], dst: intp[rows, c], wgt: intp[m, c]; `unique` says that no destination repeats.
    """

    src: Indices
    wgt: Indices
    dst: Indices
    unique: bool


@dataclass(frozen=True, slots=True)
class Kernel:
    """One GEMM ready to run: its products, and every accumulator it names (each once)."""

    products: tuple[Product, ...]
    touched: Places
    iterations: int

    @property
    def size(self) -> int:
        return sum(product.src.size + product.wgt.size + product.dst.size for product in self.products)


class GemmUnit:
    """Runs GEMM instructions; a kernel (loop fields and micro-ops) met before is not analysed again."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._kernels: dict[tuple[Loops, bytes], Kernel] = {}
        self._cached = 0

    def run(self, state: State, step: Step) -> None:
        """Execute a GEMM or a reset on `state`."""
        loops = loops_of(step.instruction)
        if not loops.iterations:
            _require_empty_allowed(state, step)
            return
        if loops.end > state.uop_depth:
            raise SimulationError(step.index, f"uop_end {loops.end} is beyond the uop memory of {state.uop_depth}")
        kernel = self._kernel(state, step, loops)
        if step.role.job is Job.RESET:
            state.acc[kernel.touched] = 0
            return
        state.counters.gemm_uops += kernel.iterations
        for product in kernel.products:
            _multiply(state, product)
        state.mirror(kernel.touched)

    def _kernel(self, state: State, step: Step, loops: Loops) -> Kernel:
        words = state.uop[loops.begin : loops.end]
        key = (loops, words.tobytes())
        kernel = self._kernels.get(key)
        if kernel is None:
            uops = decode(words, self._machine)
            _require_in_bounds(step.index, loops, uops, self._machine)
            kernel = analyse(loops, uops, self._machine.batch)
            self._remember(key, kernel)
        return kernel

    def _remember(self, key: tuple[Loops, bytes], kernel: Kernel) -> None:
        if self._cached + kernel.size > CACHED_INDICES:
            self._kernels.clear()
            self._cached = 0
        self._kernels[key] = kernel
        self._cached += kernel.size


def analyse(loops: Loops, uops: Uops, batch: int) -> Kernel:
    """Split the iterations of one GEMM into products; all indices are known to be in bounds."""
    loops, uops = _unroll(loops, uops)
    offsets_src, offsets_dst = loops.offsets(loops.src), loops.offsets(loops.dst)
    products = tuple(_product(src, wgt, dst, offsets_src, offsets_dst, batch) for src, wgt, dst in _groups(uops))
    touched = np.unique(np.unique(uops.dst)[:, None] + np.unique(offsets_dst)[None, :])
    return Kernel(products, compact(touched), loops.iterations)


def _unroll(loops: Loops, uops: Uops) -> tuple[Loops, Uops]:
    """Turn hardware loops that move the weights, or keep the destination, into more micro-ops."""
    extents = list(loops.extents)
    for level in (0, 1):
        if extents[level] > 1 and (loops.wgt[level] or not loops.dst[level]):
            trips = np.arange(extents[level], dtype=np.intp)[:, None]
            factors = (loops.dst[level], loops.src[level], loops.wgt[level])
            uops = Uops(*((trips * factor + index).reshape(-1) for factor, index in zip(factors, uops, strict=True)))
            extents[level] = 1
    return loops._replace(begin=0, end=len(uops.dst), extents=(extents[0], extents[1])), uops


def _groups(uops: Uops) -> Iterator[tuple[Indices, Indices, Indices]]:
    """Group micro-ops as src[y, m], wgt[m, c], dst[y, c]: for each y and c, dst[y, c] sums over m."""
    order = np.lexsort((uops.wgt, uops.src, uops.dst))
    dst, src, wgt = uops.dst[order], uops.src[order], uops.wgt[order]
    starts = np.flatnonzero(np.r_[True, dst[1:] != dst[:-1]])
    columns: dict[bytes, list[slice]] = {}
    for start, end in zip(starts, [*starts[1:], len(dst)], strict=True):
        columns.setdefault(src[start:end].tobytes(), []).append(slice(start, end))
    stacks: dict[bytes, list[tuple[Indices, Indices, Indices]]] = {}
    for slices in columns.values():
        weights = np.stack([wgt[part] for part in slices], axis=1)
        destinations = np.array([dst[part.start] for part in slices], np.intp)
        key = np.int64(weights.shape[1]).tobytes() + weights.tobytes()
        stacks.setdefault(key, []).append((src[slices[0]], weights, destinations))
    for stack in stacks.values():
        yield np.stack([row[0] for row in stack]), stack[0][1], np.stack([row[2] for row in stack])


def _product(
    src: Indices, wgt: Indices, dst: Indices, offsets_src: Indices, offsets_dst: Indices, batch: int
) -> Product:
    rows_dst = _rows(dst, offsets_dst, batch)
    seen = np.bincount(rows_dst.reshape(-1))
    return Product(_rows(src, offsets_src, batch), wgt, rows_dst, int(seen.max()) == 1)


def _rows(base: Indices, offsets: Indices, batch: int) -> Indices:
    """Rows [y, loop, batch] of indices base[y, m] + offsets[loop], as indices into memory flattened over the batch."""
    elements = (base[:, None, :] + offsets[None, :, None]).reshape(-1, 1, base.shape[1])
    if batch == 1:
        return elements[:, 0, :]
    return (elements * batch + np.arange(batch, dtype=np.intp)[None, :, None]).reshape(-1, base.shape[1])


def _multiply(state: State, product: Product) -> None:
    machine = state.machine
    inp = state.inp.reshape(-1, machine.block_in)
    acc = state.acc.reshape(-1, machine.block_out)
    depth = max(EXACT_TERMS // machine.block_in, 1)
    terms = product.src.shape[1]
    spans = [slice(start, min(start + depth, terms)) for start in range(0, terms, depth)]
    matrices = [_weights(state.wgt, product.wgt[span]) for span in spans]
    height = max(ROWS_AT_ONCE // (min(depth, terms) * machine.block_in), 1)
    for top in range(0, len(product.src), height):
        rows = slice(top, top + height)
        total = None
        for span, matrix in zip(spans, matrices, strict=True):
            left = inp.take(product.src[rows, span], axis=0)
            part = (left.reshape(left.shape[0], -1) @ matrix).astype(np.int32)
            total = part if total is None else total + part
        assert total is not None
        _accumulate(acc, product.dst[rows].reshape(-1), total.reshape(-1, machine.block_out), product.unique)


def _weights(wgt: Floats, indices: Indices) -> Floats:
    """The right matrix [m * block_in, c * block_out] made of the weights wgt[m, c]."""
    blocks = wgt.take(indices, axis=0)
    terms, columns, inner, outer = blocks.shape
    return blocks.transpose(0, 2, 1, 3).reshape(terms * inner, columns * outer)


def _accumulate(
    acc: np.ndarray[tuple[int, ...], np.dtype[np.int32]],
    rows: Indices,
    values: np.ndarray[tuple[int, ...], np.dtype[np.int32]],
    unique: bool,
) -> None:
    if not unique:
        np.add.at(acc, rows, values)
        return
    sums = acc.take(rows, axis=0)
    sums += values
    acc[rows] = sums


def _require_empty_allowed(state: State, step: Step) -> None:
    if not state.semantics.fsim_only:
        raise SimulationError(step.index, "an empty loop runs away on the hardware; every extent must be at least 1")


def _require_in_bounds(index: int, loops: Loops, uops: Uops, machine: Machine) -> None:
    for pad, indices, factors in zip(OPERANDS, uops, (loops.dst, loops.src, loops.wgt), strict=True):
        require_below(index, pad, indices, loops.offsets(factors), machine.depths[pad])
