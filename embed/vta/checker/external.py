"""Transfers against segments: bounds, the right memory, and the order of stores and loads of one address."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from embed.vta.checker.stamps import Stamps
from embed.vta.checker.violation import PROGRAM, Findings
from embed.vta.engines import Engine
from embed.vta.machine import Machine
from embed.vta.program import Segment
from embed.vta.roles import Scratchpad
from embed.vta.simulator.dma import Shape
from embed.vta.steps import Step

LOWEST, HIGHEST = 4096, 2**32
"""Physical page 0 does not exist, and addresses have 32 bits."""


def check_segments(segments: Sequence[Segment], machine: Machine, findings: Findings) -> None:
    """Check the memory image as a whole."""
    previous: Segment | None = None
    for segment in sorted(segments, key=lambda each: each.address):
        element = machine.element_bytes[segment.memory]
        where = f"segment {segment.name} at {segment.address:#x}"
        if segment.address % element:
            findings.add(PROGRAM, "segment", f"{where} is not on a multiple of {element} bytes")
        if segment.address < LOWEST or segment.end > HIGHEST:
            findings.add(PROGRAM, "segment", f"{where} is not inside {LOWEST:#x}..{HIGHEST:#x}")
        if previous and segment.address < previous.end:
            findings.add(PROGRAM, "segment", f"{where} overlaps {previous.name}")
        if segment.data is not None and segment.data.nbytes != segment.size:
            text = f"{where} has {segment.data.nbytes} bytes of data, not {segment.size}"
            findings.add(PROGRAM, "segment", text)
        previous = segment


@dataclass(frozen=True, slots=True)
class Area:
    """Rows of elements inside one segment; `first` counts elements of the segment."""

    segment: Segment
    first: int
    rows: int
    columns: int
    stride: int

    def of(self, elements: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """The area's part of an array with one entry per element of the segment: [rows, columns], not a copy."""
        size = elements.itemsize
        strides = (self.stride * size, size)
        return np.ndarray((self.rows, self.columns), elements.dtype, elements, self.first * size, strides)


class External:
    """The segments of a program, with stamps for those that the program writes."""

    def __init__(self, segments: Sequence[Segment], machine: Machine) -> None:
        self._sizes = machine.element_bytes
        self._segments = sorted(segments, key=lambda segment: segment.address)
        self._starts = [segment.address for segment in self._segments]
        self._stamps: dict[str, Stamps] = {}

    def area(self, step: Step, shape: Shape, findings: Findings) -> Area | None:
        """Where a transfer goes, or None (and a violation) if that is not inside a fitting segment."""
        memory = step.role.pad
        element = self._sizes[memory]
        stride = step.instruction["x_stride"]
        address = step.instruction["dram_base"] * element
        end = address + ((shape.rows - 1) * stride + shape.columns) * element
        place = bisect_right(self._starts, address) - 1
        if place < 0 or end > self._segments[place].end:
            text = f"DRAM bytes {address:#x}..{end:#x} are not inside one segment"
            findings.add(step.index, "dram-bounds", text)
            return None
        segment = self._segments[place]
        if not self._fits(memory, segment.memory):
            text = f"segment {segment.name} holds {segment.memory} elements, not {memory}"
            findings.add(step.index, "dram-memory", text)
            return None
        return Area(segment, (address - segment.address) // element, shape.rows, shape.columns, stride)

    def stamps(self, segment: Segment) -> Stamps:
        """Who stored and loaded each element of an output segment."""
        if segment.name not in self._stamps:
            count = segment.size // self._sizes[segment.memory]
            self._stamps[segment.name] = Stamps(count, Engine.STORE, Engine.LOAD, Engine.COMPUTE)
        return self._stamps[segment.name]

    def _fits(self, memory: Scratchpad, other: Scratchpad) -> bool:
        if memory == other:
            return True
        return {memory, other} == {Scratchpad.INP, Scratchpad.OUT} and self._sizes[memory] == self._sizes[other]


def data_rows(area: Area, element: int) -> npt.NDArray[np.uint8]:
    """The bytes of an area of a data segment: uint8[rows, bytes of a row], not a copy."""
    assert area.segment.data is not None
    data = area.segment.data.reshape(-1).view(np.uint8)
    shape = (area.rows, area.columns * element)
    return np.ndarray(shape, np.uint8, data, area.first * element, (area.stride * element, 1))
