"""LOAD and STORE: two-dimensional transfers between external memory and scratchpads (VTA sections LOAD, STORE)."""

from typing import NamedTuple

import numpy as np

from embed.vta.engines import LOAD_MEMORIES, Step, moves_data
from embed.vta.simulator.dram import Bytes, OutsideSegments
from embed.vta.simulator.errors import SimulationError
from embed.vta.simulator.state import State
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
    if not moves_data(step.instruction):
        return
    shape = shape_of(step.instruction)
    _require_rows(state, step, shape)
    memory = LOAD_MEMORIES[step.name]
    base = step.instruction["sram_base"]
    _require_sram(step, memory, base + shape.height * shape.width, state.machine.depths[memory])
    image = getattr(state, memory)[base : base + shape.height * shape.width]
    image = image.reshape(shape.height, shape.width, *image.shape[1:])
    if shape.padded:
        image[...] = 0
    if shape.rows:
        data = _typed(_external(state, step, shape), state, step.name)
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
    _require_sram(step, "out", base + count, state.machine.depths["out"])
    source = state.out if state.semantics.out_buffer else state.acc
    values = source[base : base + count].astype(np.int8, casting="unsafe")
    if shape.rows:
        _external(state, step, shape)[...] = values.view(np.uint8).reshape(shape.rows, -1)


def _require_rows(state: State, step: Step, shape: Shape) -> None:
    if shape.rows == 0 and not state.semantics.fsim_only:
        raise SimulationError(step.index, "y_size 0 hangs the hardware; the smallest y_size is 1")


def _require_sram(step: Step, memory: str, end: int, depth: int) -> None:
    if end > depth:
        raise SimulationError(step.index, f"{memory} index {end - 1} is beyond the last element {depth - 1}")


def _external(state: State, step: Step, shape: Shape) -> Bytes:
    """The rows of DRAM that a transfer touches, uint8[rows, bytes of a row], counted in `state.counters`."""
    instruction = step.instruction
    memory = "out" if step.name == "store" else LOAD_MEMORIES[step.name]
    element = state.element_bytes["out" if step.name == "load_acc8" else memory]
    length = shape.columns * element
    place = (
        instruction["dram_base"] * element,
        shape.rows,
        length,
        instruction["x_stride"] * element,
    )
    state.counters.bytes[memory] += shape.rows * length
    try:
        return state.dram.writable_rows(*place) if memory == "out" else state.dram.rows(*place)
    except OutsideSegments as error:
        raise SimulationError(step.index, str(error)) from None


def _typed(rows: Bytes, state: State, name: str) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    """Bytes of each row as elements of the scratchpad: [rows, columns, *element]."""
    machine = state.machine
    if name == "load_uop":
        return rows.view(np.uint32)
    if name == "load_wgt":
        weights = rows.view(np.int8).reshape(len(rows), -1, machine.block_out, machine.block_in)
        return weights.swapaxes(2, 3)
    if name == "load_acc":
        return rows.view(np.int32).reshape(len(rows), -1, machine.batch, machine.block_out)
    if name == "load_acc8":
        return rows.view(np.int8).reshape(len(rows), -1, machine.batch, machine.block_out)
    return rows.view(np.int8).reshape(len(rows), -1, machine.batch, machine.block_in)
