"""Which lanes a register machine's instruction gets: placements whose result words lie as the user's tensor does."""

import time
from collections.abc import Mapping
from math import prod

from dataflow.dtypes import bits
from dataflow.operator import Operator
from embed.binding import bindings
from embed.checker import verify
from embed.costs import Rates
from embed.cpu.physical import Physical
from embed.embedding import Embedding, Placeable
from embed.errors import NoEmbedding
from embed.solver.model import Found, PricedPlacements
from embed.solver.problem import Problem
from embed.solver.settings import Settings
from isa.model import Isa


def place(operator: Operator, target: Isa, physical: Mapping[str, Physical]) -> Embedding:
    """The embedding with the fewest invocations that needs no shuffling; raises NoEmbedding with the reason."""
    best: Found | None = None
    for instruction in register_instructions(target):
        for binding in bindings(operator.main, instruction.pattern):
            only = _neighbours(operator, instruction, physical)
            problem = Problem(operator, instruction, binding, _rates(instruction), only)
            bound = best.values if best else []
            settings = Settings("invocations")
            found = PricedPlacements(problem).minimise(
                ("invocations", "traffic"), bound, settings, time.perf_counter() + 10
            )
            if found is not None and found.embedding is not None and (best is None or found.values < best.values):
                best = found
    if best is None or best.embedding is None:
        raise NoEmbedding(f"no instruction of {target.name} on registers computes `{operator.main}`")
    verify(best.embedding)
    return best.embedding


def register_instructions(target: Isa) -> list[Placeable]:
    """Contractions of registers without a mask, whose result is a vector: a matrix would need shuffles to store."""
    found = []
    for entry in target.instructions.values():
        kinds = {target.memories[o.memory].kind for o in entry.operands.values() if o.memory in target.memories}
        if entry.pattern is None or kinds != {"register"} or entry.mask:
            continue
        placeable = Placeable.of(target, entry.name)
        if placeable.pattern.accumulate and len(placeable.pattern.tensors[0].shape) == 1:
            found.append(placeable)
    return found


def _neighbours(
    operator: Operator, instruction: Placeable, physical: Mapping[str, Physical]
) -> dict[str, tuple[str, ...]]:
    """For each lane dimension of the result, the dims along which the output's elements are neighbours in memory."""
    read = operator.main.output
    strides = physical[operator.output.name].plain.strides()
    near = tuple(
        dim
        for dim in operator.main.extents
        if sum(index.coefficient(dim) * stride for index, stride in zip(read.index, strides, strict=True)) == 1
    )
    lanes = {lane for index in instruction.pattern.output.index for lane in index.dims}
    groups = _summed_neighbours(operator, physical)
    return {**dict.fromkeys(lanes, near), **{lane: groups for lane in instruction.pattern.extents if lane not in lanes}}


def _summed_neighbours(operator: Operator, physical: Mapping[str, Physical]) -> tuple[str, ...]:
    """Dims summed over along which alone the first input's elements are neighbours; else the first one."""
    main = operator.main
    tensor = main.inputs[0].name
    read = main.accesses[tensor]
    strides = physical[tensor].plain.strides()
    near = []
    for dim in main.reduction_dims:
        moved = [index for index in read.index if index.coefficient(dim)]
        step = sum(index.coefficient(dim) * stride for index, stride in zip(read.index, strides, strict=True))
        if step == 1 and all(index.dims == (dim,) for index in moved) and main.extents[dim] > 1:
            near.append(dim)
    return tuple(near) or main.reduction_dims[:1]


def _rates(instruction: Placeable) -> Rates:
    pattern = instruction.pattern
    size = {tensor.name: prod(tensor.shape) * bits(tensor.dtype) // 8 for tensor in pattern.tensors}
    return Rates(1, 0, 0, 0, size, {}, 0, size[pattern.output.tensor])
