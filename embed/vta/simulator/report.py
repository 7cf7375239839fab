"""What a timed run found: cycles, who was busy, who waited for what."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from embed.vta.engines import Engine

FETCH, BUS, END = "fetch", "bus", "end"
"""Causes of waiting besides the four token queues: no instruction delivered yet, other readers on the bus, all done."""


INSTRUCTIONS = "insn"
"""What is read besides the contents of scratchpads."""


@dataclass(frozen=True, slots=True)
class EngineTime:
    """Cycles of one engine. `busy` and the `waiting` cycles by cause add up to the cycles of the program."""

    instructions: int
    busy: int
    waiting: dict[str, int]


@dataclass(frozen=True, slots=True)
class TimingReport:
    """A timed run, in cycles from launch.

    `bytes`: DRAM traffic by memory (insn, uop, inp, wgt, acc read; out written). `counts`: instructions by
    name. `start` and `end`: int64 per instruction, in program order. `bus_beats`: cycles of data on the read bus.
    """

    cycles: int
    engines: dict[Engine, EngineTime]
    bytes: dict[str, int]
    counts: dict[str, int]
    bus_beats: int
    start: npt.NDArray[np.int64]
    end: npt.NDArray[np.int64]
