"""Running a plan on the patterns of an ISA file: pack the operands of each step, run its instructions, unpack."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dataflow.dtypes import numpy_dtype
from dataflow.errors import UserError
from dataflow.reference import check_array
from embed.embedding import TileLoop
from embed.nodes.pack import pack, unpack
from embed.nodes.placement import Placement
from embed.nodes.plan import Plan, Step
from embed.nodes.price import adds
from isa.batch import run_statements
from isa.model import Isa

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class PlanKernel:
    """A plan that can be called: it interprets the instructions, many invocations at once, loop by loop."""

    plan: Plan

    @property
    def target(self) -> Isa:
        return self.plan.target

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(tensor.name for tensor in self.plan.operator.inputs)

    def __call__(self, *arrays: Array, **named: Array) -> Array | tuple[Array, ...]:
        """Run on arrays in the shapes and dtypes of the operator's inputs; its output, or all of them in order."""
        if len(arrays) > len(self.names) or not named.keys() <= set(self.names[len(arrays) :]):
            raise UserError(f"the inputs are {', '.join(self.names)}, each once: in this order or by name")
        found = self.run(dict(zip(self.names, arrays, strict=False)) | named)
        outputs = tuple(found[tensor.name] for tensor in self.plan.operator.outputs)
        return outputs if len(outputs) > 1 else outputs[0]

    def run(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Everything that the operator writes, by name."""
        operator = self.plan.operator
        known = {tensor.name: check_array(tensor, arrays) for tensor in operator.inputs}
        for statement in operator.statements:
            tensor = statement.tensors[0]
            known[tensor.name] = np.zeros(tensor.shape, numpy_dtype(tensor.dtype))
        for step in self.plan.steps:
            run_step(step, self.target, known)
        return {each.output.tensor: known[each.output.tensor] for each in operator.statements}

    def save(self, path: str | Path) -> None:
        """There is nothing to save; raises UserError."""
        raise UserError(f"{path}: a plan of several instructions runs by their patterns; there is no code to save")


def run_step(step: Step, target: Isa, known: dict[str, Array]) -> None:
    """All invocations of a placement; the sums in `known` grow."""
    placement = step.placement
    packed = {operand: pack(placement, operand, known) for operand in placement.held}
    inner, outer = placement.split
    for origin in _origins(inner):
        run_batch(step, target, packed, outer, origin)
    for operand in placement.outputs:
        unpack(placement, operand, packed[operand], known)


def run_batch(
    step: Step, target: Isa, packed: dict[str, Array], outer: tuple[TileLoop, ...], origin: Mapping[str, int]
) -> None:
    """The invocations at one place of the loops over sums: every one of them has sums of its own."""
    placement, entry = step.placement, target.instruction(step.placement.name)
    rows = {operand: _rows(placement, operand, outer, origin) for operand in placement.held}
    count = next(iter(rows.values())).size
    wanted = {operand.name for operand in entry.inputs}
    arrays = {operand: packed[operand][rows[operand]] for operand in placement.held if operand in wanted}
    for operand, result in run_statements(entry, count, arrays).items():
        if step.adder and not adds(placement, operand):
            result = added(target, step.adder, packed[operand][rows[operand]], result)
        packed[operand][rows[operand]] = result


def added(target: Isa, adder: str, left: Array, right: Array) -> Array:
    """The sums of two lists of words, by an entry whose words may be narrower or wider."""
    entry = target.instruction(adder)
    assert entry.output is not None
    shape = entry.output.tensor.shape
    lanes = entry.output.tensor.size
    total = left.size + -left.size % lanes
    words = [np.resize(np.append(each.reshape(-1), np.zeros(total - each.size, each.dtype)), (total // lanes, *shape))
             for each in (left, right)]  # fmt: skip
    names = [operand.name for operand in entry.inputs]
    result = run_statements(entry, total // lanes, dict(zip(names, words, strict=True)))[entry.output.name]
    return np.asarray(result.reshape(-1)[: left.size].reshape(left.shape))


def _origins(loops: tuple[TileLoop, ...]) -> Iterator[dict[str, int]]:
    for place in np.ndindex(*(loop.extent for loop in loops)):
        yield {loop.name: int(value) for loop, value in zip(loops, place, strict=True)}


def _rows(placement: Placement, operand: str, outer: tuple[TileLoop, ...], origin: Mapping[str, int]) -> Array:
    """The number of the word that each invocation of a batch takes."""
    total: Array = np.zeros([loop.extent for loop in outer], np.int64)
    for loop in placement.loops_of(operand):
        if loop in outer:
            along = [-1 if each == loop else 1 for each in outer]
            total = total * loop.extent + np.arange(loop.extent).reshape(along)
        else:
            total = total * loop.extent + origin[loop.name]
    return total.reshape(-1)
