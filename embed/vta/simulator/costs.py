"""What one instruction costs alone: its traffic on the bus and its cycles (VTA timing measured on the Chisel RTL)."""

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from embed.vta.roles import Job, Scratchpad
from embed.vta.simulator.dma import shape_of
from embed.vta.simulator.indices import loops_of
from embed.vta.simulator.timing import TimingModel
from embed.vta.steps import Step, moves_data


class Traffic(NamedTuple):
    """One transfer: its beats and bursts on the bus, its bytes."""

    beats: int
    bursts: int
    bytes: int


class Cost(NamedTuple):
    """Cycles of an instruction alone on the machine.

    `cycles` from start to end. A LOAD also has `traffic`, which asks for the bus `lead` cycles after the
    start, and cannot end before `floor` cycles: pads fill the scratchpad one element per idle cycle.
    """

    cycles: int
    client: str = ""
    traffic: Traffic | None = None
    lead: int = 0
    floor: int = 0


def cost_of(step: Step, element_bytes: Mapping[Scratchpad, int], model: TimingModel) -> Cost:
    """The cost of one instruction, from its fields."""
    role = step.role
    if role.moves and not moves_data(step.instruction):
        return Cost(model.token_cycles)
    iterations = loops_of(step.instruction).iterations
    match role.job:
        case Job.LOAD:
            return _load(step, element_bytes, model)
        case Job.STORE:
            return _store(step, element_bytes, model)
        case Job.ALU:
            trip = model.alu_imm_cycles if role.immediate else model.alu_reg_cycles
            return Cost(model.alu_overhead + trip * iterations)
        case Job.FINISH:
            return Cost(model.finish_cycles)
        case Job.GEMM | Job.RESET:
            return Cost(model.gemm_overhead + model.gemm_cycles * iterations)


def traffic_of(step: Step, element_bytes: Mapping[Scratchpad, int], model: TimingModel) -> Traffic:
    """Beats, bursts and bytes of a LOAD or STORE that moves data; pads cause none."""
    instruction = step.instruction
    element = element_bytes[step.role.element]
    get = instruction.fields.get
    return _rows(
        instruction["dram_base"] * element % model.burst_bytes,
        instruction["x_size"] * element,
        get("x_stride", 0) * element % model.burst_bytes,
        get("y_size", 0),
        model.burst_bytes,
        model.bus_bytes,
    )


@lru_cache(maxsize=4096)
def _rows(start: int, length: int, stride: int, rows: int, burst: int, bus: int) -> Traffic:
    """Traffic of `rows` rows of `length` bytes; only `start` and `stride` modulo `burst` matter.

    Every row starts a new burst, and takes every bus word that it touches.
    """
    starts = start + np.arange(rows) * stride
    last = starts + length - 1
    beats = int((last // bus - starts // bus + 1).sum())
    bursts = int((last // burst - starts // burst + 1).sum())
    return Traffic(beats, bursts, rows * length)


def _load(step: Step, element_bytes: Mapping[Scratchpad, int], model: TimingModel) -> Cost:
    traffic = traffic_of(step, element_bytes, model)
    shape = shape_of(step.instruction)
    pads = shape.height * shape.width - shape.rows * shape.columns
    floor = model.pad_overhead + pads + traffic.beats if pads else 0
    lead = model.load_uop_overhead if step.role.pad is Scratchpad.UOP else model.load_overhead
    cycles = max(lead + model.memory_latency + traffic.beats, floor)
    return Cost(cycles, step.role.pad, traffic, lead, floor)


def _store(step: Step, element_bytes: Mapping[Scratchpad, int], model: TimingModel) -> Cost:
    traffic = traffic_of(step, element_bytes, model)
    shape = shape_of(step.instruction)
    elements = shape.rows * shape.columns
    cycles = model.store_overhead + elements * model.store_element + traffic.beats
    return Cost(cycles + traffic.bursts * model.store_burst, step.role.pad)
