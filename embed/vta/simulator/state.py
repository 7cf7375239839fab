"""Everything an instruction can change: scratchpads, external memory and counters."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from embed.vta.machine import Machine
from embed.vta.roles import Scratchpad
from embed.vta.simulator.dram import Dram
from embed.vta.simulator.indices import Places
from embed.vta.simulator.semantics import Semantics

Floats = npt.NDArray[np.float32]


@dataclass(slots=True)
class Counters:
    """Work done, as tvm-vta fsim counts it: micro-op iterations and DRAM bytes (padding not counted)."""

    gemm_uops: int = 0
    alu_uops: int = 0
    bytes: dict[Scratchpad, int] = field(default_factory=lambda: dict.fromkeys(Scratchpad, 0))


class State:
    """Scratchpads as numpy arrays, one element per index of axis 0.

    inp (float32[depth, batch, block_in]) and wgt (float32[depth, block_in, block_out], transposed) hold
    int8 values as floats, ready for exact float matrix products. acc is int32[depth, batch, block_out],
    out int8 of the same shape, uop uint32[depth]. `loaded` are those that loads fill.
    """

    def __init__(self, machine: Machine, dram: Dram, semantics: Semantics, seed: int | None = None) -> None:
        depths, shapes = machine.depths, machine.shapes
        self.machine = machine
        self.element_bytes = machine.element_bytes
        self.dram = dram
        self.semantics = semantics
        self.counters = Counters()
        random = None if seed is None else np.random.default_rng(seed)
        block = (machine.block_in, machine.block_out)
        uop, inp, wgt, acc, out = ((depths[pad], *shapes[pad]) for pad in Scratchpad)
        self.uop: npt.NDArray[np.uint32] = _fill(random, np.uint32, uop)
        self.inp: Floats = _fill(random, np.int8, inp).astype(np.float32)
        self.wgt: Floats = _fill(random, np.int8, (wgt[0], *block)).astype(np.float32)
        self.acc: npt.NDArray[np.int32] = _fill(random, np.int32, acc)
        self.out: npt.NDArray[np.int8] = _fill(random, np.int8, out)
        arrays: tuple[npt.NDArray[Any], ...] = (self.uop, self.inp, self.wgt, self.acc)
        self.loaded = dict(zip(Scratchpad, arrays, strict=False))

    @property
    def uop_depth(self) -> int:
        depth = self.machine.depths[Scratchpad.UOP]
        return depth if self.semantics.uop_depth is None else min(depth, self.semantics.uop_depth)

    def mirror(self, places: Places) -> None:
        """Copy the low 8 bits of accumulators to OUT, where there is one."""
        if self.semantics.out_buffer:
            self.out[places] = self.acc[places].astype(np.int8)


def _fill(random: np.random.Generator | None, dtype: npt.DTypeLike, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    if random is None:
        return np.zeros(shape, dtype)
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.frombuffer(bytearray(random.bytes(size)), dtype).reshape(shape)
