"""An operator compiled for VTA: the program, its layouts, and running it in the simulator on the user's arrays."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from dataflow.dtypes import numpy_dtype
from dataflow.reference import by_name
from embed.costs import rates
from embed.embedding import Array, Embedding, TileLoop
from embed.epilogue import Epilogue, plan
from embed.errors import NoEmbedding
from embed.nest import Nest, Schedule, build
from embed.nest.build import derive
from embed.nest.choose import choose
from embed.nest.interpret import interpret
from embed.nest.ir import Ranges
from embed.nest.task import Room, Task
from embed.pinned import Held
from embed.vta import bundle, memory
from embed.vta.lower import lower
from embed.vta.machine import Machine
from embed.vta.program import Program, Segment
from embed.vta.roles import OPERANDS, Job, Scratchpad, roles_of
from embed.vta.simulator import TimingModel, TimingReport, simulate, time_program
from isa.memo import remembered
from isa.model import Isa


@dataclass(frozen=True)
class VtaKernel:
    """A VTA program for one embedding under one schedule, with the places of its tensors.

    `note` says what a time limit left out when the embedding was chosen.
    """

    embedding: Embedding
    target: Isa
    schedule: Schedule
    nest: Nest
    plan: memory.Plan
    code: Program
    held: Held
    note: str = field(default="", compare=False, repr=False)

    def __str__(self) -> str:
        """The operator, the ISA, the embedding and the schedule, in a line."""
        return f"{self.held.own.title} on {self.target.name}: {self.embedding}, {self.schedule}"

    def __call__(self, *arrays: Array, **named: Array) -> Array:
        """Run on numpy arrays of the inputs' shapes and dtypes, lying as pinned; returns the output."""
        names = [tensor.name for tensor in self.embedding.operator.inputs]
        result = simulate(self.bind(by_name(names, arrays, named)), self.machine)
        return self.unpack(next(iter(result.outputs.values())))

    def save(self, path: str | Path, arrays: Mapping[str, Array] | None = None) -> None:
        """Write a bundle that runs on `arrays`, zeros where none are given; raises UserError if it cannot."""
        zeros = {t.name: np.zeros(t.shape, numpy_dtype(t.dtype)) for t in self.held.own.inputs}
        bundle.save(self, Path(path), {**self.held.lying(zeros), **(arrays or {})})

    @cached_property
    def machine(self) -> Machine:
        return Machine.of(self.target)

    def bind(self, arrays: Mapping[str, Array]) -> Program:
        """The program with packed arrays in its segments."""
        segments = []
        for segment in self.code.segments:
            if segment.name in self.nest.layouts and segment.memory in OPERANDS:
                segments.append(self._filled(segment, arrays))
            else:
                segments.append(segment)
        return Program(self.code.isa, self.code.parameters, self.code.instructions, tuple(segments))

    def _filled(self, segment: Segment, arrays: Mapping[str, Array]) -> Segment:
        packed = self._packed(segment.name, arrays)
        return Segment(segment.name, segment.memory, segment.address, segment.size, packed.reshape(-1).view(np.uint8))

    def _packed(self, name: str, arrays: Mapping[str, Array]) -> Array:
        layout = self.nest.layouts[name]
        element = self.machine.roles.elements[self.plan.places[name].memory]
        return layout.pack(self.held.taken(layout.tensor, arrays), element.dtype)

    def unpack(self, data: Array) -> Array:
        """The user's output array, lying as pinned, from the bytes of the output segment."""
        layout = self.nest.layouts[self.nest.output]
        output = self.embedding.operator.output
        planes = data.reshape(self.nest.planes, -1)
        joined = np.ascontiguousarray(planes.T).reshape(-1).view(numpy_dtype(output.dtype))
        return self.held.handed(self.embedding.summed(layout.unpack(joined.reshape(layout.shape))))

    def expected(self, arrays: Mapping[str, Array]) -> Array:
        """The bytes of the output segment by the loop-nest interpreter, idle lanes included."""
        inputs = {name: self._packed(name, arrays) for name in self.nest.layouts if name != self.nest.output}
        packed = interpret(self.nest, inputs).reshape(-1)
        return np.ascontiguousarray(packed.view(np.uint8).reshape(-1, self.nest.planes).T).reshape(-1)

    def part(self, points: int) -> tuple["VtaKernel", dict[str, int]]:
        """A kernel for whole output tiles of about `points` iteration points, and how much of which dim it covers.

        It has this kernel's layouts, schedule and places, and computes the first tiles along one output dim; of an
        operator whose output dims are all rewritten, everything.
        """
        loop = max(self._single_loops(), key=lambda loop: loop.extent, default=None)
        if loop is None:
            return self, {}
        each = self.embedding.operator.main.points / loop.extent
        tile = self.schedule.tiles[loop.name]
        count = min(loop.extent, max(tile, int(points / each) // tile * tile))
        dim = loop.dims[0]
        radix = next((digit.radix for digit in self.embedding.digits if digit.loop == loop.name), 1)
        covered = min(self.embedding.extents[dim], count * radix)
        code = _code(self.nest, self.schedule, self.target, self.plan, {**self.nest.whole, loop.name: range(count)})
        return replace(self, code=code), {dim: covered}

    def _single_loops(self) -> list[TileLoop]:
        """Tile loops over one output dim of the user's."""
        results = self.embedding.asked.main.output_dims
        return [loop for loop in self.embedding.loops if len(loop.dims) == 1 and loop.dims[0] in results]

    def timing(self, model: TimingModel | None = None) -> TimingReport:
        """Simulated cycles of the whole program, under the ISA file's first timing section unless one is given."""
        return time_program(self.code, self.machine, model or TimingModel.from_table(self.target.timing.constants))


def compile_vta(
    embedding: Embedding, target: Isa, schedule: Schedule | None = None, held: Held | None = None
) -> VtaKernel:
    """Lower an embedding under a schedule, the best one unless it is given; `held` says how arrays lie."""
    schedule = schedule or scheduled(embedding, target)
    nest = build(embedding, schedule, plan(embedding.operator, target))
    return lowered(nest, schedule, target, held or Held.free(embedding.asked))


def scheduled(embedding: Embedding, target: Isa, below: int | None = None) -> Schedule:
    """The best schedule of an embedding, of fewer cycles than `below`; raises NoEmbedding where no tile fits."""
    return choose(task_of(embedding, target), below)


def task_of(embedding: Embedding, target: Isa) -> Task:
    """What there is to schedule, with the machine's prices and room."""
    epilogue = plan(embedding.operator, target)
    layouts = derive(embedding, epilogue)
    price = rates(embedding.operator, target.instructions[embedding.name], target)
    return Task(embedding, layouts, price, _room(embedding, _homes(embedding, layouts, target), epilogue, target))


def lowered(nest: Nest, schedule: Schedule, target: Isa, held: Held) -> VtaKernel:
    """Lower a nest under its schedule; `held` says how arrays lie."""
    places = memory.plan(nest, schedule, Machine.of(target), _homes(nest.embedding, nest.layouts, target))
    code = _code(nest, schedule, target, places, nest.whole)
    return VtaKernel(nest.embedding, target, schedule, nest, places, code, held)


def _code(nest: Nest, schedule: Schedule, target: Isa, places: memory.Plan, ranges: Ranges) -> Program:
    """The program over `ranges` of the tile loops, with its segments still without data."""
    stream = lower(nest, schedule, target, places, ranges)
    instructions = stream.finished(places.end // Machine.of(target).element_bytes[Scratchpad.UOP])
    segments = [Segment("uops", Scratchpad.UOP, places.end, stream.image.nbytes, stream.image.view(np.uint8))]
    for name, place in places.places.items():
        if name != nest.output:
            segments.append(Segment(name, place.memory, place.address, place.bytes))
    result = nest.embedding.operator.output.name
    segments.append(Segment(result, Scratchpad.OUT, places.result.address, places.result.bytes))
    return Program(target.name, dict(target.parameters), instructions, tuple(segments))


def _homes(embedding: Embedding, tensors: Iterable[str], target: Isa) -> dict[str, Scratchpad]:
    """The scratchpad of each tensor."""
    roles, operands = roles_of(target), target.instruction(embedding.name).operands
    role = roles.entries.get(embedding.name)
    if role is None or role.job is not Job.GEMM:
        raise NoEmbedding(f"'{embedding.name}' of {target.name} is not the product that its programs are made of")
    return {name: roles.memories[operands[embedding.operand(name)].memory] for name in tensors}


@remembered
def _fixed_cycles(target: Isa) -> dict[str, int]:
    """Cycles of fetching an instruction when the bus is idle, before the first load starts, and of bursts of stores."""
    if not target.timings:
        return {}
    model = TimingModel.from_table(target.timing.constants)
    chunk = -(-model.fetch_chunk * model.instruction_bytes // model.bus_bytes)
    read = model.fetch_overhead + model.memory_latency + chunk
    fetch = -(-(read + 1 + model.fetch_chunk) // model.fetch_chunk)
    bursts = {"store_burst": model.store_burst, "burst_bytes": model.burst_bytes}
    return {"fetch": fetch, "launch": read + 4, **bursts}


def _room(embedding: Embedding, homes: Mapping[str, Scratchpad], epilogue: Epilogue, target: Isa) -> Room:
    """What the machine has room for, and the fixed cycles of its instructions."""
    machine = Machine.of(target)
    output = embedding.operator.main.output.tensor
    costs = target.timing.costs if target.timings else {}
    loads = [machine.roles.name(Job.LOAD, homes[tensor]) for tensor in embedding.inputs]
    return Room(
        words={tensor: machine.depths[home] for tensor, home in homes.items()},
        shared=tuple(tensor for tensor in homes if tensor not in embedding.inputs and tensor != output),
        load_start=max((costs[name].start for name in loads if name in costs), default=0),
        pass_start=costs[embedding.name].start if embedding.name in costs else 0,
        passes=1 + len(epilogue.passes) + (epilogue.planes - 1) * len(epilogue.between),
        longest_load=min(machine.depths.values()),
        result_buffers=1 if epilogue.planes > 1 else 2,
        **_fixed_cycles(target),
    )
