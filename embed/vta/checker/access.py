"""Which scratchpad elements a GEMM or ALU instruction names, found once per kernel."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from embed.vta.machine import Machine
from embed.vta.roles import OPERANDS, Scratchpad
from embed.vta.simulator.indices import Loops, Places, compact
from embed.vta.uops import Indices, Uops, decode

SAFE_DISTANCE = 3
"""Iterations after which the ALU (Chisel) and the GEMM (HLS) surely see what was written."""


@dataclass(frozen=True, slots=True)
class Access:
    """Elements named as dst, src and wgt, each once, in any order; `beyond` describes an index out of bounds.

    `same_source`: src equals dst in every iteration. `list_distance`: the micro-op list keeps dst apart.
    `write_distance`, `read_distance`: executed iterations keep a dst (a src) away from recent dsts.
    """

    dst: Places
    src: Places
    wgt: Places
    beyond: str | None
    same_source: bool
    list_distance: bool
    write_distance: bool
    read_distance: bool


class Accesses:
    """Accesses by kernel: loop fields, micro-op words and kind of instruction."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._known: dict[tuple[Loops, bytes, bool], Access] = {}

    def of(self, loops: Loops, words: npt.NDArray[np.uint32], alu: bool) -> Access:
        """The access of a non-empty loop nest around micro-op words."""
        key = (loops, words.tobytes(), alu)
        if key not in self._known:
            self._known[key] = _access(loops, decode(words, self._machine), alu, self._machine)
        return self._known[key]


def _access(loops: Loops, uops: Uops, alu: bool, machine: Machine) -> Access:
    places: list[Places] = []
    pads = (Scratchpad.ACC, Scratchpad.ACC) if alu else OPERANDS
    for pad, indices, factors in zip(pads, uops, (loops.dst, loops.src, loops.wgt), strict=False):
        highest = int(indices.max()) + _reach(factors, loops.extents)
        if highest >= machine.depths[pad]:
            return _beyond(f"{pad} index {highest} is beyond the last element {machine.depths[pad] - 1}")
        places.append(compact(_named(indices, factors, loops.extents)))
    dst, src = _executed(loops, uops) if alu else (uops.dst, uops.src)
    return Access(
        places[0],
        places[1],
        slice(0, 0) if alu else places[2],
        None,
        alu and bool((dst == src).all()),
        _apart(uops.dst, uops.dst),
        not alu or _apart(dst, dst),
        not alu or _apart(dst, src),
    )


def _beyond(text: str) -> Access:
    nothing = slice(0, 0)
    return Access(nothing, nothing, nothing, text, True, True, True, True)


def _reach(factors: tuple[int, int], extents: tuple[int, int]) -> int:
    """The most that the loops add to an index."""
    return sum(factor * (extent - 1) for factor, extent in zip(factors, extents, strict=True))


def _named(indices: Indices, factors: tuple[int, int], extents: tuple[int, int]) -> Indices:
    """Every index that the loops reach, once, ascending."""
    reached = np.unique(indices)
    for factor, extent in zip(factors, extents, strict=True):
        if factor and extent > 1:
            steps = np.arange(extent, dtype=np.intp) * factor
            reached = np.unique(reached[:, None] + steps[None, :])
    return reached


def _executed(loops: Loops, uops: Uops) -> tuple[Indices, Indices]:
    """dst and src of every iteration, in execution order."""
    dst = (loops.offsets(loops.dst)[:, None] + uops.dst[None, :]).reshape(-1)
    src = (loops.offsets(loops.src)[:, None] + uops.src[None, :]).reshape(-1)
    return dst, src


def _apart(written: Indices, wanted: Indices) -> bool:
    """Whether no iteration wants what one of the last SAFE_DISTANCE - 1 wrote."""
    gaps = range(1, SAFE_DISTANCE)
    return not any(bool((wanted[gap:] == written[:-gap]).any()) for gap in gaps)
