"""LOAD and STORE: two-dimensional transfers between external memory and scratchpads (VTA sections LOAD, STORE)."""

from typing import NamedTuple

import numpy as np

from dataflow.dtypes import numpy_dtype
from embed.vta.roles import Scratchpad
from embed.vta.simulator.dram import Bytes, OutsideSegments
from embed.vta.simulator.errors import SimulationError
from embed.vta.simulator.state import State
from embed.vta.steps import Step, moves_data
from isa.machine import MachineInstruction


class Shape(NamedTuple):
    """The extents of a transfer: rows and columns of data, and pads (top, bottom, left, right)."""

    rows: int
    columns: int
    top: int
    bottom: int
    left: int
    right: int

    @property
    def height(self) -> int:
        return self.top + self.rows + self.bottom

    @property
    def width(self) -> int:
        return self.left + self.columns + self.right

    @property
    def padded(self) -> bool:
        return self.height != self.rows or self.width != self.columns


def shape_of(instruction: MachineInstruction) -> Shape:
    """Read the extents of a LOAD or STORE."""
    get = instruction.fields.get
    return Shape(
        get("y_size", 0),
        get("x_size", 0),
        get("y_pad_0", 0),
        get("y_pad_1", 0),
        get("x_pad_0", 0),
        get("x_pad_1", 0),
    )


def load(state: State, step: Step) -> None:
    """Copy rows into a scratchpad, surrounded by zeros; x_size 0 does nothing."""
    if step.role.widens and not state.semantics.fsim_only:
        raise SimulationError(step.index, "the hardware has no 8-bit accumulator load")
    if not moves_data(step.instruction):
        return
    shape = shape_of(step.instruction)
    _require_rows(state, step, shape)
    base = step.instruction["sram_base"]
    _require_sram(state, step, base + shape.height * shape.width)
    image = state.loaded[step.role.pad][base : base + shape.height * shape.width]
    image = image.reshape(shape.height, shape.width, *image.shape[1:])
    if shape.padded:
        image[...] = 0
    if shape.rows:
        data = _typed(_external(state, step, shape), state, step.role.element)
        image[shape.top : shape.top + shape.rows, shape.left : shape.left + shape.columns] = data


def store(state: State, step: Step) -> None:
    """Copy the low 8 bits of accumulators to external memory; x_size 0 does nothing."""
    if not moves_data(step.instruction):
        return
    shape = shape_of(step.instruction)
    _require_rows(state, step, shape)
    if shape.padded:
        raise SimulationError(step.index, "a STORE cannot pad; its four pad fields must be 0")
    base, count = step.instruction["sram_base"], shape.rows * shape.columns
    _require_sram(state, step, base + count)
    source = state.out if state.semantics.out_buffer else state.acc
    values = source[base : base + count].astype(np.int8, casting="unsafe")
    if shape.rows:
        _external(state, step, shape)[...] = values.view(np.uint8).reshape(shape.rows, -1)


def _require_rows(state: State, step: Step, shape: Shape) -> None:
    if shape.rows == 0 and not state.semantics.fsim_only:
        raise SimulationError(step.index, "y_size 0 hangs the hardware; the smallest y_size is 1")


def _require_sram(state: State, step: Step, end: int) -> None:
    memory = step.role.pad
    depth = state.machine.depths[memory]
    if end > depth:
        raise SimulationError(step.index, f"{memory} index {end - 1} is beyond the last element {depth - 1}")


def _external(state: State, step: Step, shape: Shape) -> Bytes:
    """The rows of DRAM that a transfer touches, uint8[rows, bytes of a row], counted in `state.counters`."""
    instruction = step.instruction
    memory = step.role.pad
    element = state.element_bytes[step.role.element]
    length = shape.columns * element
    place = (
        instruction["dram_base"] * element,
        shape.rows,
        length,
        instruction["x_stride"] * element,
    )
    state.counters.bytes[memory] += shape.rows * length
    try:
        return state.dram.writable_rows(*place) if memory is Scratchpad.OUT else state.dram.rows(*place)
    except OutsideSegments as error:
        raise SimulationError(step.index, str(error)) from None


def _typed(rows: Bytes, state: State, element: Scratchpad) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    """Bytes of each row as elements of a scratchpad: [rows, columns, *element]."""
    tensor = state.machine.roles.elements[element]
    typed = rows.view(numpy_dtype(tensor.dtype)).reshape(len(rows), -1, *tensor.shape)
    return typed.swapaxes(2, 3) if element is Scratchpad.WGT else typed
