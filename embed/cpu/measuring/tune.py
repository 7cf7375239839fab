"""The fastest of a few kernels, by running them here, in turns."""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from dataflow.errors import UserError
from embed.cpu.kernel import CpuKernel
from embed.cpu.runner.machine import machine_of
from isa.model import Isa

_ROUNDS = 5
_TURN_SECONDS = 2e-3
_MOST_CALLS = 1000

Timer = Callable[[Sequence[CpuKernel], Collection[str]], list[float]]
"""Seconds of a call of each kernel; the named inputs are constant."""


def check(target: Isa) -> None:
    """Raise UserError where kernels cannot be timed."""
    if not machine_of(target).native:
        raise UserError(f"tune: kernels for {target.name} do not run on this machine, so they cannot be timed")


def fastest(kernels: Sequence[CpuKernel], constants: Collection[str], timer: Timer | None = None) -> CpuKernel:
    """The kernel with the shortest time, of equals the first; all compute the same. It holds no constants then."""
    seconds = (timer or seconds_of)(kernels, constants)
    best = kernels[seconds.index(min(seconds))]
    return replace(best, _constants={}, _last={})


def seconds_of(kernels: Sequence[CpuKernel], constants: Collection[str]) -> list[float]:
    """Shortest times of a call, on small random numbers; constants are random too, and packed before."""
    runs = [_prepared(kernel, constants) for kernel in kernels]
    calls = [max(1, min(_MOST_CALLS, int(_TURN_SECONDS / max(_once(run, 1), 1e-9)))) for run in runs]
    best = [float("inf")] * len(runs)
    for _ in range(_ROUNDS):
        for place, (run, count) in enumerate(zip(runs, calls, strict=True)):
            best[place] = min(best[place], _once(run, count))
    return best


def _prepared(kernel: CpuKernel, constants: Collection[str]) -> Callable[[], object]:
    """One call, everything given; after one that warms up."""
    random = np.random.default_rng(0)
    operator = kernel.operator
    arrays: dict[str, Any] = {}
    for tensor in operator.inputs:
        physical = kernel.physical[tensor.name]
        values = random.integers(0, 4, tensor.shape, np.int8)
        arrays[tensor.name] = physical.pack(values.astype(physical.empty().dtype))
    kernel.fix(**{name: arrays[name] for name in constants})
    given = [array for name, array in arrays.items() if name not in constants]
    out = kernel(*given)
    return lambda: kernel(*given, out=out)


def _once(run: Callable[[], object], count: int) -> float:
    """Seconds of a call, by `count` of them."""
    start = time.perf_counter()
    for _ in range(count):
        run()
    return (time.perf_counter() - start) / count
