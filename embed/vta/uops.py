"""Micro-ops as index arrays: the uint32 words of the uop memory, split into dst, src and wgt."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from embed.vta.machine import Machine
from embed.vta.roles import OPERANDS

Indices = npt.NDArray[np.intp]


class Uops(NamedTuple):
    """Fields of a run of micro-ops, each an intp array of one length. GEMM: acc, inp, wgt; ALU: acc, acc, unused."""

    dst: Indices
    src: Indices
    wgt: Indices


def decode(words: npt.NDArray[np.uint32], machine: Machine) -> Uops:
    """Split words from bit 0: dst, src and wgt, as wide as the indices of acc, inp and wgt are."""
    values = words.astype(np.int64)
    fields = []
    for memory in OPERANDS:
        width = index_bits(machine.depths[memory])
        fields.append((values & ((1 << width) - 1)).astype(np.intp))
        values >>= width
    return Uops(*fields)


def index_bits(depth: int) -> int:
    """Bits of an index into a memory of `depth` elements."""
    return max(depth - 1, 0).bit_length()
