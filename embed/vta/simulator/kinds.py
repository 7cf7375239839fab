"""The distinct kinds of instruction in a program: what time knows of each, found once for all that are alike."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from embed.vta.engines import FLAGS, Queue
from embed.vta.machine import Machine
from embed.vta.roles import Job, Role
from embed.vta.simulator.costs import Cost, cost_of, traffic_of
from embed.vta.simulator.dma import shape_of
from embed.vta.simulator.errors import SimulationError
from embed.vta.simulator.indices import loops_of
from embed.vta.simulator.timing import TimingModel
from embed.vta.steps import Step, moves_data, steps
from isa.machine import MachineInstruction

_SHAPE = (*FLAGS, "x_size", "y_size", "y_pad_0", "y_pad_1", "x_pad_0", "x_pad_1")
_LOOPS = (*FLAGS, "iter_out", "iter_in")


@dataclass(frozen=True, slots=True)
class Kind:
    """Instructions that time cannot tell apart; `bytes` are what one moves to or from external memory."""

    name: str
    role: Role
    pops: tuple[Queue, ...]
    pushes: tuple[Queue, ...]
    cost: Cost
    bytes: int


@dataclass(frozen=True, slots=True)
class KindTable:
    """A program as numbers of kinds: int32[instructions]."""

    kinds: list[Kind]
    numbers: npt.NDArray[np.int32]

    @property
    def counts(self) -> list[int]:
        """Instructions of each kind."""
        found: list[int] = np.bincount(self.numbers, minlength=len(self.kinds)).tolist()
        return found


def kinds_of(program: Sequence[MachineInstruction], machine: Machine, model: TimingModel) -> KindTable:
    """Sort a program into kinds; raises SimulationError on the first instruction that the hardware lacks."""
    numbers: dict[Hashable, int] = {}
    kinds: list[Kind] = []
    moved = {name: machine.element_bytes[role.element] for name, role in machine.roles.entries.items() if role.moves}
    row = np.empty(len(program), np.int32)
    for index, instruction in enumerate(program):
        key = _key(instruction, moved, model.burst_bytes)
        number = numbers.get(key)
        if number is None:
            number = numbers[key] = len(kinds)
            kinds.append(_kind(index, instruction, machine, model))
        row[index] = number
    return KindTable(kinds, row)


def _key(instruction: MachineInstruction, moved: Mapping[str, int], burst: int) -> Hashable:
    """All that the cost and the tokens of an instruction depend on: of addresses, their place in a burst.

    `moved` is the size of an element by the name of a load or store.
    """
    name, get = instruction.name, instruction.fields.get
    if name in moved:
        element = moved[name]
        place = (get("dram_base", 0) * element % burst, get("x_stride", 0) * element % burst)
        return (name, place, *[get(field, 0) for field in _SHAPE])
    return (name, get("uop_end", 0) - get("uop_bgn", 0), *[get(field, 0) for field in _LOOPS])


def _kind(index: int, instruction: MachineInstruction, machine: Machine, model: TimingModel) -> Kind:
    [step] = steps([instruction], machine.roles, index)
    _require_hardware(step)
    cost = cost_of(step, machine.element_bytes, model)
    traffic = cost.traffic or (traffic_of(step, machine.element_bytes, model) if cost.client else None)
    return Kind(step.name, step.role, step.pops, step.pushes, cost, traffic.bytes if traffic else 0)


def _require_hardware(step: Step) -> None:
    if step.illegal:
        raise SimulationError(step.index, f"the {step.engine.label} engine has no {', '.join(step.illegal)}")
    if not step.role.in_hardware:
        raise SimulationError(step.index, f"the hardware has no {step.name}")
    loops = step.role.job in (Job.GEMM, Job.RESET, Job.ALU)
    if loops and not loops_of(step.instruction).iterations:
        raise SimulationError(step.index, "an empty loop runs away on the hardware; every extent must be at least 1")
    if not loops and moves_data(step.instruction) and not shape_of(step.instruction).rows:
        raise SimulationError(step.index, "y_size 0 hangs the hardware; the smallest y_size is 1")
