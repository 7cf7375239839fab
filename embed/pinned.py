"""Layouts that the user pins: the operator over the arrays as they lie.

A tensor pinned to NHWC becomes a tensor of shape [N, H, W, C], so that all below sees row-major arrays; blocks such as
those of NCHW16c stay a matter of where its elements lie.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from dataflow.computation import Computation, Tensor
from dataflow.errors import UserError
from dataflow.expression import Read, map_reads
from dataflow.operator import Operator
from dataflow.reference import check_array
from embed.embedding import Array
from embed.physical import LETTERS, Physical


@dataclass(frozen=True)
class Held:
    """An operator over arrays as they lie, and the user's own; `given` says how pinned tensors of the latter lie."""

    operator: Operator
    own: Operator
    given: Mapping[str, Physical] = field(default_factory=dict)

    @classmethod
    def free(cls, operator: Operator) -> "Held":
        """Without pins."""
        return cls(operator, operator)

    @property
    def names(self) -> dict[str, str]:
        """The layouts as the user writes them."""
        return {name: physical.name for name, physical in self.given.items()}

    @property
    def lies(self) -> dict[str, Physical]:
        """The same of the operator's own tensors, whose dimensions are in order."""
        return {name: _in_order(physical) for name, physical in self.given.items()}

    def taken(self, tensor: Tensor, arrays: Mapping[str, Array]) -> Array:
        """The user's array of an input as the operator's tensor; raises UserError for one that does not fit."""
        physical = self.given.get(tensor.name)
        if physical is None or tensor.name not in arrays:
            return check_array(tensor, arrays)
        return physical.unpack(physical.check(arrays[tensor.name])).transpose(physical.order)

    def lying(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Arrays of the user's tensors as `taken` wants them: copies that lie so where a layout is pinned."""
        return {name: self.given[name].pack(array) if name in self.given else array for name, array in arrays.items()}

    def plain(self, array: Array) -> Array:
        """What `handed` gave, in the shape of the user's tensor."""
        physical = self.given.get(self.operator.output.name)
        return array if physical is None else physical.unpack(array)

    def handed(self, array: Array) -> Array:
        """The user's array of the output, from the operator's tensor."""
        physical = self.given.get(self.operator.output.name)
        if physical is None:
            return array
        return physical.pack(array.transpose(np.argsort(physical.order)))


def hold(operator: Operator, layouts: Mapping[str, str], row_major: Iterable[str] = ()) -> Held:
    """The operator with the layouts pinned, `row_major` tensors that have none as they are.

    Raises UserError for a tensor or a layout that is not there.
    """
    tensors = {tensor.name: tensor for tensor in (*operator.inputs, operator.output)}
    for name in layouts:
        if name not in tensors:
            raise UserError(f"layouts: there is no tensor '{name}'; there are: {', '.join(tensors)}")
    names = {name: letters_of(operator, tensors[name]) for name in row_major if name in tensors}
    given = {name: Physical.of(tensors[name], layout) for name, layout in {**names, **layouts}.items()}
    over = _over_arrays(operator, {name: physical.order for name, physical in given.items()})
    return Held(_as_it_lies(over, [_in_order(given[name]) for name in layouts]), operator, given)


def letters_of(operator: Operator, tensor: Tensor) -> str | None:
    """The letters of a row-major tensor: those of the dims that its index names, else the usual ones."""
    choices = LETTERS.get(len(tensor.shape))
    read = operator.main.accesses.get(tensor.name)
    used = sorted(str(index).upper() for index in read.index) if read else []
    return next((letters for letters in choices if sorted(letters) == used), choices[0]) if choices else None


def held_as(operator: Operator, layouts: Mapping[str, str]) -> Held:
    """The same from an operator that is already over arrays as they lie."""
    tensors = {tensor.name: tensor for tensor in (*operator.inputs, operator.output)}
    orders = {name: Physical.of(tensors[name], layout).order for name, layout in layouts.items()}
    back = {name: tuple(map(int, np.argsort(order))) for name, order in orders.items()}
    return hold(_over_arrays(operator, back), layouts)


def _in_order(physical: Physical) -> Physical:
    """The layout of a tensor whose dimensions are permuted to lie in order."""
    order = physical.order
    tensor = replace(physical.tensor, shape=tuple(physical.tensor.shape[place] for place in order))
    blocks = tuple((order.index(dimension), size) for dimension, size in physical.blocks)
    letters = "".join(physical.letters[place] for place in order) if physical.letters else ""
    return Physical(tensor, tuple(range(len(order))), blocks, letters)


def _over_arrays(operator: Operator, orders: Mapping[str, Sequence[int]]) -> Operator:
    """Each tensor with its dimensions in the given order; what epilogues pass on lies as the output does."""
    if all(list(order) == sorted(order) for order in orders.values()):
        return operator
    written = [statement.output.tensor for statement in operator.statements]
    result = orders.get(operator.output.name)
    found = {**orders, **(dict.fromkeys(written, result) if result else {})}
    main, *rest = (_permuted(statement, found) for statement in operator.statements)
    if result:
        rest = [replace(each, dims=tuple(each.dims[place] for place in result)) for each in rest]
    return replace(operator, statements=(main, *rest))


def _as_it_lies(operator: Operator, pinned: Sequence[Physical]) -> Operator:
    """The operator with the dims of its box in the order in which pinned tensors have them, the first of these first.

    Digits of a lane follow the box, in an order that changes nothing but what is in place. Where a tensor has blocks,
    its words hold these alone.
    """
    main = operator.main
    order: list[str] = []
    for physical in pinned:
        is_output = physical.tensor.name == operator.output.name
        read = main.output if is_output else main.accesses.get(physical.tensor.name)
        places = [dimension for dimension, _ in physical.blocks] or list(physical.order)
        order += [dim for place in places for dim in read.index[place].dims] if read else []
    if not order:
        return operator
    rank = {dim: place for place, dim in reversed(list(enumerate(order)))}
    dims = tuple(sorted(main.dims, key=lambda dim: rank.get(dim.name, -1)))
    return replace(operator, statements=(replace(main, dims=dims), *operator.epilogue))


def _permuted(statement: Computation, orders: Mapping[str, Sequence[int]]) -> Computation:
    def moved(read: Read) -> Read:
        order = orders.get(read.tensor)
        return read if order is None else Read(read.tensor, tuple(read.index[place] for place in order))

    tensors = tuple(
        replace(tensor, shape=tuple(tensor.shape[place] for place in orders[tensor.name]))
        if tensor.name in orders
        else tensor
        for tensor in statement.tensors
    )
    return replace(statement, tensors=tensors, output=moved(statement.output), body=map_reads(statement.body, moved))
