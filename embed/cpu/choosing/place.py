"""Which lanes a register machine's instruction gets: placements whose result words lie as the user's tensor does."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from math import prod

from dataflow.dtypes import bits, is_integer
from dataflow.operator import Operator
from embed.binding import bindings
from embed.costs import Rates
from embed.cpu.arrays.streams import steps
from embed.cpu.lowering.indexed import indexed
from embed.demands import Demand
from embed.embedding import Embedding, Placeable
from embed.errors import NoEmbedding
from embed.physical import Physical
from embed.solver.deadline import Deadline
from embed.solver.model import Found, PricedPlacements
from embed.solver.problem import Problem
from embed.solver.settings import Settings
from isa.memo import remembered
from isa.model import Isa

_FUSED = 2
"""Dims in a row that are worth a digit of their own."""


@dataclass(frozen=True)
class Option:
    """An instruction, a binding, and dims that may fill its lanes: a placement problem, needing `least` invocations.

    `usual` lanes leave the output where the user has it. The dims of `row` must all stand in `lane`: in this order
    their elements are neighbours.
    """

    problem: Problem
    least: int
    usual: bool
    lane: str = ""
    row: tuple[str, ...] = ()

    def solve(self, most: list[int], settings: Settings, deadline: Deadline) -> Found | None:
        """The placement with the fewest invocations; None where none is as good as `most`."""
        priced = PricedPlacements(self.problem, [Demand("lane", (self.lane, dim)) for dim in self.row])
        found = priced.minimise(("invocations", "traffic"), most, settings, deadline)
        if found is None or found.embedding is None or not self.row:
            return found
        return replace(found, embedding=self._in_a_row(found.embedding))

    def _in_a_row(self, embedding: Embedding) -> Embedding:
        """The same digits in the order of the row, which matters to the order of words' elements alone."""
        others = [digit for digit in embedding.digits if digit.lane != self.lane]
        own = [
            replace(digit, dims=tuple(sorted(digit.dims, key=self.row.index)))
            for digit in embedding.digits_of(self.lane)
        ]
        own.sort(key=lambda digit: self.row.index(digit.dims[0]))
        lanes = [lane for lane in embedding.lanes if lane != self.lane]
        placed = sorted([*others, *own], key=lambda digit: [*lanes, self.lane].index(digit.lane))
        return replace(embedding, digits=tuple(placed))


def options(operator: Operator, target: Isa, physical: Mapping[str, Physical]) -> list[Option]:
    """The placement problems of an operator; raises NoEmbedding where no instruction fits.

    The usual ones come first, and of these the instructions that pick a lane themselves, which load less; last those
    that are several instructions.
    """
    found = []
    row = _summed_row(operator, physical)
    picking = [name for name, entry in target.instructions.items() if indexed(entry) is not None]
    for instruction in register_instructions(target):
        for binding in bindings(operator.main, instruction.pattern):
            usual = _neighbours(operator, instruction, physical)
            vector = len(instruction.pattern.tensors[0].shape) == 1
            fillings = [(usual, "")]
            if vector:
                fillings += [({**usual, lane: row}, lane) for lane in _in_rows(operator, instruction, row)]
                fillings += [(only, "") for only in _others(operator, instruction, usual)]
            for only, lane in fillings:
                problem = Problem(operator, instruction, binding, _rates(instruction), only)
                near = vector and (only is usual or bool(lane))
                found.append(Option(problem, _least(problem), near, lane, row if lane else ()))
    if not found:
        raise NoEmbedding(f"no instruction of {target.name} on registers computes `{operator.main}`")
    return sorted(found, key=lambda option: _turn(option, target, picking))


def _turn(option: Option, target: Isa, picking: Collection[str]) -> tuple[bool, bool, bool]:
    """What options are sorted by; of those with as few invocations the search takes the first."""
    name = option.problem.instruction.name
    return not option.usual, bool(target.instructions[name].sequence), name not in picking


def _in_rows(operator: Operator, instruction: Placeable, row: Sequence[str]) -> Iterator[str]:
    """The lanes of a sum of which all dims that lie in a row leave fewer idle than the first of them alone.

    Of floats they leave none: what follows a row may be no number, and zero times that is none either.
    """
    pattern = instruction.pattern
    extents = [operator.main.extents[dim] for dim in row]
    integers = all(is_integer(tensor.dtype) for tensor in pattern.tensors)
    for lane, lanes in pattern.extents.items():
        if lane in pattern.output_dims or len(row) < _FUSED or not (integers or prod(extents) % lanes == 0):
            continue
        if -(-prod(extents) // lanes) < -(-extents[0] // lanes) * prod(extents[1:]):
            yield lane


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
    extents, uses = problem.operator.main.extents, Counter(chain.from_iterable(problem.allowed.values()))
    held, least = dict[str, int](), 1
    for lane, dims in problem.allowed.items():
        if all(uses[dim] == 1 for dim in dims):
            size = prod([extents[dim] for dim in dims])
            held |= dict.fromkeys(dims, size)
            least *= -(-size // problem.lanes[lane])
            continue
        for dim in dims:
            held[dim] = held.get(dim, 1) * problem.lanes[lane]
    return least * prod(-(-extent // held.get(dim, 1)) for dim, extent in extents.items())


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
    moves = _moves(operator, physical)
    read = main.accesses[main.inputs[0].name]
    near = []
    for dim in main.reduction_dims:
        alone = all(index.dims == (dim,) for index in read.index if index.coefficient(dim))
        if moves.get(dim) == 1 and alone and main.extents[dim] > 1:
            near.append(dim)
    return tuple(near) or main.reduction_dims[:1]


def _summed_row(operator: Operator, physical: Mapping[str, Physical]) -> tuple[str, ...]:
    """Dims summed over whose elements, flattened in this order, are neighbours in the first input."""
    main = operator.main
    moves = _moves(operator, physical)
    row, reach = list[str](), 1
    while following := [
        dim for dim in main.reduction_dims if moves.get(dim) == reach and dim not in row and main.extents[dim] > 1
    ]:
        row.append(following[0])
        reach *= main.extents[following[0]]
    return tuple(row)


def _moves(operator: Operator, physical: Mapping[str, Physical]) -> dict[str, int]:
    """Elements from one iteration to the next of every dim, in the first input."""
    tensor = operator.main.inputs[0].name
    return steps(operator.main.accesses[tensor], physical[tensor].plain.strides())


def _rates(instruction: Placeable) -> Rates:
    pattern = instruction.pattern
    size = {tensor.name: prod(tensor.shape) * bits(tensor.dtype) // 8 for tensor in pattern.tensors}
    return Rates(1, 0, 0, 0, size, {}, 0, size[pattern.output.tensor])
