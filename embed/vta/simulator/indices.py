"""Index arithmetic shared by GEMM and ALU: two hardware loops around a list of micro-ops."""

from typing import NamedTuple

import numpy as np

from embed.vta.roles import Scratchpad
from embed.vta.simulator.errors import SimulationError
from embed.vta.uops import Indices
from isa.machine import MachineInstruction

Places = Indices | slice


class Loops(NamedTuple):
    """The loop fields of a GEMM or ALU. Factors are (out, in) pairs; the ALU has no weight."""

    begin: int
    end: int
    extents: tuple[int, int]
    dst: tuple[int, int]
    src: tuple[int, int]
    wgt: tuple[int, int]

    @property
    def iterations(self) -> int:
        """Micro-op iterations; zero when any extent is empty."""
        return max(self.end - self.begin, 0) * self.extents[0] * self.extents[1]

    def offsets(self, factors: tuple[int, int]) -> Indices:
        """What the hardware loops add to an index, in execution order: intp[extent_out * extent_in]."""
        outer = np.arange(self.extents[0], dtype=np.intp) * factors[0]
        inner = np.arange(self.extents[1], dtype=np.intp) * factors[1]
        return (outer[:, None] + inner[None, :]).reshape(-1)


def loops_of(instruction: MachineInstruction) -> Loops:
    """Read the loop fields."""
    get = instruction.fields.get
    return Loops(
        get("uop_bgn", 0),
        get("uop_end", 0),
        (get("iter_out", 0), get("iter_in", 0)),
        (get("dst_factor_out", 0), get("dst_factor_in", 0)),
        (get("src_factor_out", 0), get("src_factor_in", 0)),
        (get("wgt_factor_out", 0), get("wgt_factor_in", 0)),
    )


def require_below(index: int, memory: Scratchpad, indices: Indices, offsets: Indices, depth: int) -> None:
    """Refuse indices + offsets beyond a memory of `depth` elements (both arrays are non-negative)."""
    highest = int(indices.max()) + int(offsets.max())
    if highest >= depth:
        raise SimulationError(index, f"{memory} index {highest} is beyond the last element {depth - 1}")


def compact(indices: Indices) -> Places:
    """A slice where indices count up by one, which numpy reads and writes much faster."""
    first, last = int(indices[0]), int(indices[-1])
    if last - first + 1 == len(indices) and bool((np.diff(indices) == 1).all()):
        return slice(first, last + 1)
    return indices
