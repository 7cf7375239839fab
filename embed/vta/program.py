"""A VTA program: the instruction stream and the image of external memory it runs on."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from embed.vta.roles import Scratchpad
from isa.machine import MachineInstruction


@dataclass(frozen=True, slots=True)
class Segment:
    """A contiguous piece of external memory.

    `memory` is the scratchpad whose element type the bytes have;
    `address` and `size` are in bytes; `data` is None for what the program itself writes.
    """

    name: str
    memory: Scratchpad
    address: int
    size: int
    data: npt.NDArray[np.uint8] | None = field(default=None, repr=False, compare=False)

    @property
    def end(self) -> int:
        return self.address + self.size


@dataclass(frozen=True, slots=True)
class Program:
    """Instructions in fetch order, with every segment they address."""

    isa: str
    parameters: dict[str, int]
    instructions: Sequence[MachineInstruction]
    segments: tuple[Segment, ...]

    def segment(self, name: str) -> Segment:
        return next(segment for segment in self.segments if segment.name == name)

    @property
    def outputs(self) -> tuple[Segment, ...]:
        return tuple(segment for segment in self.segments if segment.data is None)
