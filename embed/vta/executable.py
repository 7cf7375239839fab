"""An operator compiled for VTA: the program, its layouts, and running it in the simulator on the user's arrays."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dataflow.dtypes import numpy_dtype
from dataflow.reference import check_array
from embed.costs import Rates, rates
from embed.embedding import Array, Embedding
from embed.epilogue import Epilogue, plan
from embed.nest import Nest, Schedule, build
from embed.nest.build import derive
from embed.nest.choose import Room, choose
from embed.vta import memory
from embed.vta.lower import lower
from embed.vta.machine import Machine
from embed.vta.program import Program, Segment
from embed.vta.simulator import TimingModel, TimingReport, simulate, time_program
from isa.model import Isa

_OPERAND_TYPES = {"inp": "i8", "wgt": "i8", "acc": "i32"}


@dataclass(frozen=True)
class VtaKernel:
    """A VTA program for one embedding under one schedule, with the places of its tensors."""

    embedding: Embedding
    target: Isa
    schedule: Schedule
    nest: Nest
    plan: memory.Plan
    code: Program

    def __call__(self, *arrays: Array, **named: Array) -> Array:
        """Run on numpy arrays in the shapes and dtypes of the operator's inputs; returns its output."""
        given = dict(zip((tensor.name for tensor in self.embedding.operator.inputs), arrays, strict=False)) | named
        result = simulate(self.bind(given), self.machine)
        return self.unpack(next(iter(result.outputs.values())))

    @cached_property
    def machine(self) -> Machine:
        return Machine.of(self.target)

    def bind(self, arrays: Mapping[str, Array]) -> Program:
        """The program with packed arrays in its segments."""
        segments = []
        for segment in self.code.segments:
            if segment.name in self.nest.layouts and segment.memory in _OPERAND_TYPES:
                segments.append(self._filled(segment, arrays))
            else:
                segments.append(segment)
        return Program(self.code.isa, self.code.parameters, self.code.instructions, tuple(segments))

    def _filled(self, segment: Segment, arrays: Mapping[str, Array]) -> Segment:
        layout = self.nest.layouts[segment.name]
        array = check_array(layout.tensor, arrays)
        packed = layout.pack(array, _OPERAND_TYPES[segment.memory])
        return Segment(segment.name, segment.memory, segment.address, segment.size, packed.reshape(-1).view(np.uint8))

    def unpack(self, data: Array) -> Array:
        """The user's output array from the bytes of the output segment."""
        layout = self.nest.layouts[self.nest.output]
        output = self.embedding.operator.output
        planes = data.reshape(self.nest.planes, -1)
        joined = np.ascontiguousarray(planes.T).reshape(-1).view(numpy_dtype(output.dtype))
        return layout.unpack(joined.reshape(layout.shape))

    def pack_result(self, result: Array) -> Array:
        """The bytes of the output segment for a result; lanes that hold no element are zero."""
        layout = self.nest.layouts[self.nest.output]
        packed = layout.pack(result, self.embedding.operator.output.dtype).reshape(-1)
        return np.ascontiguousarray(packed.view(np.uint8).reshape(-1, self.nest.planes).T).reshape(-1)

    def timing(self, model: TimingModel | None = None) -> TimingReport:
        """Simulated cycles of the whole program, under the ISA file's first timing section unless one is given."""
        return time_program(self.code, self.machine, model or TimingModel.from_table(self.target.timing.constants))


def compile_vta(embedding: Embedding, target: Isa) -> VtaKernel:
    """Choose a schedule for an embedding and lower it."""
    machine = Machine.of(target)
    operator = embedding.operator
    epilogue = plan(operator, target)
    instruction = target.instructions[embedding.name]
    homes = memory.memories(embedding, derive(embedding, epilogue), _operand_memories(target, embedding.name))
    price = rates(operator, instruction, target)
    schedule = _schedule(embedding, epilogue, price, machine, target, homes)
    nest = build(embedding, schedule, epilogue)
    return lowered(nest, schedule, target, homes)


def lowered(nest: Nest, schedule: Schedule, target: Isa, homes: Mapping[str, str]) -> VtaKernel:
    """Lower a nest under its schedule; `homes` names each tensor's scratchpad."""
    machine = Machine.of(target)
    plan = memory.plan(nest, schedule, machine, homes)
    stream = lower(nest, schedule, target, plan)
    words = machine.element_bytes["uop"]
    instructions = stream.finished(plan.end // words)
    uops = Segment("uops", "uop", plan.end, stream.image.nbytes, stream.image.view(np.uint8))
    segments = [
        Segment(name, place.memory, place.address, place.bytes) for name, place in plan.places.items() if name != nest.output
    ]
    result = nest.embedding.operator.output.name
    segments.append(Segment(result, "out", plan.result.address, plan.result.bytes))
    code = Program(target.name, dict(target.parameters), instructions, (uops, *segments))
    return VtaKernel(nest.embedding, target, schedule, nest, plan, code)


def _operand_memories(target: Isa, name: str) -> dict[str, str]:
    return {operand.name: operand.memory for operand in target.instructions[name].operands.values()}


def _schedule(
    embedding: Embedding, epilogue: Epilogue, price: Rates, machine: Machine, target: Isa, homes: Mapping[str, str]
) -> Schedule:
    layouts = derive(embedding, epilogue)
    inputs = [tensor.name for tensor in embedding.operator.main.inputs]
    output = embedding.operator.main.output.tensor
    costs = target.timing.costs if target.timings else {}
    room = Room(
        words={tensor: machine.depths[home] for tensor, home in homes.items()},
        shared=tuple(tensor for tensor in layouts if tensor not in inputs and tensor != output),
        load_start=costs["load_inp"].start if "load_inp" in costs else 0,
        pass_start=costs[embedding.name].start if embedding.name in costs else 0,
        passes=1 + len(epilogue.passes) + (epilogue.planes - 1) * len(epilogue.between),
        longest_load=min(machine.depths.values()),
        result_buffers=1 if epilogue.planes > 1 else 2,
    )
    return choose(embedding, layouts, price, room)


