"""Which lanes a register machine's instruction gets: placements whose result words lie as the user's tensor does."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from math import prod

from dataflow.dtypes import bits
from dataflow.operator import Operator
from embed.binding import bindings
from embed.costs import Rates
from embed.cpu.indexed import indexed
from embed.embedding import Placeable
from embed.errors import NoEmbedding
from embed.physical import Physical
from embed.solver.deadline import Deadline
from embed.solver.model import Found, PricedPlacements
from embed.solver.problem import Problem
from embed.solver.settings import Settings
from isa.memo import remembered
from isa.model import Isa


@dataclass(frozen=True)
class Option:
    """An instruction, a binding, and dims that may fill its lanes: a placement problem, needing `least` invocations.

    `usual` lanes leave the output where the user has it.
    """

    problem: Problem
    least: int
    usual: bool

    def solve(self, most: list[int], settings: Settings, deadline: Deadline) -> Found | None:
        """The placement with the fewest invocations; None where none is as good as `most`."""
        return PricedPlacements(self.problem).minimise(("invocations", "traffic"), most, settings, deadline)


def options(operator: Operator, target: Isa, physical: Mapping[str, Physical]) -> list[Option]:
    """The placement problems of an operator; raises NoEmbedding where no instruction fits.

    The usual ones come first, and of these the instructions that pick a lane themselves, which load less; last those
    that are several instructions.
    """
    found = []
    picking = [name for name, entry in target.instructions.items() if indexed(entry) is not None]
    for instruction in register_instructions(target):
        for binding in bindings(operator.main, instruction.pattern):
            usual = _neighbours(operator, instruction, physical)
            vector = len(instruction.pattern.tensors[0].shape) == 1
            for only in (usual, *(_others(operator, instruction, usual) if vector else ())):
                problem = Problem(operator, instruction, binding, _rates(instruction), only)
                found.append(Option(problem, _least(problem), vector and only is usual))
    if not found:
        raise NoEmbedding(f"no instruction of {target.name} on registers computes `{operator.main}`")
    return sorted(found, key=lambda option: _turn(option, target, picking))


def _turn(option: Option, target: Isa, picking: Collection[str]) -> tuple[bool, bool, bool]:
    """What options are sorted by; of those with as few invocations the search takes the first."""
    name = option.problem.instruction.name
    return not option.usual, bool(target.instructions[name].sequence), name not in picking


def _others(
    operator: Operator, instruction: Placeable, usual: Mapping[str, tuple[str, ...]]
) -> Iterator[dict[str, tuple[str, ...]]]:
    """One dim of the output or of the sum on the lanes that is not among the usual ones."""
    main = operator.main
    results = {lane for index in instruction.pattern.output.index for lane in index.dims}
    for lane, dims in usual.items():
        for dim in main.output_dims if lane in results else main.reduction_dims:
            if dim not in dims and main.extents[dim] > 1 and instruction.pattern.extents[lane] > 1:
                yield {**usual, lane: (dim,)}


def _least(problem: Problem) -> int:
    """Invocations that cover the operator at least, each lane dimension filled with all dims that it may hold."""
    held: dict[str, int] = {}
    for lane, dims in problem.allowed.items():
        for dim in dims:
            held[dim] = held.get(dim, 1) * problem.lanes[lane]
    return prod(-(-extent // held.get(dim, 1)) for dim, extent in problem.operator.main.extents.items())


@remembered
def register_instructions(target: Isa) -> tuple[Placeable, ...]:
    """Contractions of registers without a mask."""
    found = []
    for entry in target.instructions.values():
        kinds = {target.memories[o.memory].kind for o in entry.operands.values() if o.memory in target.memories}
        if entry.pattern is None or kinds != {"register"} or entry.mask:
            continue
        placeable = Placeable.of(target, entry.name)
        if placeable.pattern.accumulate and placeable.pattern.output_dims:
            found.append(placeable)
    return tuple(found)


def _neighbours(
    operator: Operator, instruction: Placeable, physical: Mapping[str, Physical]
) -> dict[str, tuple[str, ...]]:
    """For the innermost lanes of the result, the dims along which the output's elements are neighbours in memory.

    The other lanes of a matrix take the other dims of the output: such words are packed.
    """
    read = operator.main.output
    strides = physical[operator.output.name].plain.strides()
    near = tuple(
        dim
        for dim in operator.main.extents
        if sum(index.coefficient(dim) * stride for index, stride in zip(read.index, strides, strict=True)) == 1
    )
    *outer, inner = [lane for index in instruction.pattern.output.index for lane in index.dims]
    far = tuple(dim for dim in operator.main.output_dims if dim not in near)
    results = {inner: near, **dict.fromkeys(outer, far)}
    groups = _summed_neighbours(operator, physical)
    return {**results, **{lane: groups for lane in instruction.pattern.extents if lane not in results}}


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
