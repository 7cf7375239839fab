"""Statements as sums of addends: `out += a*b - c*d` adds `+a*b` and `-c*d`, in no order, to one element.

Integers wrap, so that a sum has one value however it is cut. The sum of a float statement is in no order only where it
accumulates; an assigned float body is one addend.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from dataflow.computation import Computation, Tensor
from dataflow.dtypes import is_integer
from dataflow.expression import Apply, Expression, Read, reads


@dataclass(frozen=True, slots=True)
class Addend:
    """One addend of what statement number `statement` writes: `place` counts from the left, `sign` is 1 or -1."""

    statement: int
    place: int
    sign: int
    body: Expression

    @property
    def reads(self) -> tuple[Read, ...]:
        return reads(self.body)


@dataclass(frozen=True)
class Sums:
    """Statements that are done one after another, each as its addends; one that reads its output accumulates."""

    statements: tuple[Computation, ...]

    @cached_property
    def addends(self) -> tuple[Addend, ...]:
        """Every addend of every statement, in the order of the text."""
        return tuple(
            Addend(number, place, sign, body)
            for number, statement in enumerate(self.statements)
            for place, (sign, body) in enumerate(_own(statement))
        )

    @cached_property
    def accumulates(self) -> tuple[bool, ...]:
        """Whether each statement adds to what its output held."""
        return tuple(each.accumulate or len(list(_parts(each))) > len(_own(each)) for each in self.statements)

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        return {tensor.name: tensor for statement in self.statements for tensor in statement.tensors}

    @cached_property
    def extents(self) -> dict[str, int]:
        """Extents of all dims, in the order in which the statements name them."""
        return {name: extent for statement in self.statements for name, extent in statement.extents.items()}

    @cached_property
    def needs(self) -> tuple[frozenset[int], ...]:
        """For every statement the numbers of those that must be done before it, directly or through others."""
        found: list[frozenset[int]] = []
        for number, statement in enumerate(self.statements):
            read = {tensor.name for tensor in statement.inputs}
            direct = {other for other in range(number) if self.statements[other].output.tensor in read}
            found.append(frozenset(direct.union(*(found[other] for other in direct))))
        return tuple(found)

    def output(self, addend: Addend) -> Read:
        return self.statements[addend.statement].output

    def together(self, numbers: Sequence[int]) -> bool:
        """Whether none of these statements needs another of them."""
        return not any(other in self.needs[number] for number in numbers for other in numbers)


def _own(statement: Computation) -> tuple[tuple[int, Expression], ...]:
    """The addends without the output's old value."""
    parts = list(_parts(statement))
    if len(parts) > 1 and not statement.accumulate and (1, statement.output) in parts:
        parts.remove((1, statement.output))
    return tuple(parts)


def _parts(statement: Computation) -> Iterator[tuple[int, Expression]]:
    if not statement.accumulate and not is_integer(statement.tensors[0].dtype):
        yield from _float(statement)
    else:
        yield from _addends(statement.body, 1)


def _float(statement: Computation) -> Iterator[tuple[int, Expression]]:
    """A float body is one addend, but `fma(a, b, out)` adds a product to `out`."""
    match statement.body:
        case Apply("fma", (left, right, Read() as addend)) if addend == statement.output:
            yield 1, Apply("mul", (left, right))
            yield 1, addend
        case body:
            yield 1, body


def _addends(body: Expression, sign: int) -> Iterator[tuple[int, Expression]]:
    match body:
        case Apply("add", (left, right)):
            yield from _addends(left, sign)
            yield from _addends(right, sign)
        case Apply("sub", (left, right)):
            yield from _addends(left, sign)
            yield from _addends(right, -sign)
        case Apply("neg", (argument,)):
            yield from _addends(argument, -sign)
        case Apply("mul", (Apply("neg", (left,)), right)) | Apply("mul", (right, Apply("neg", (left,)))):
            yield from _addends(Apply("mul", (left, right)), -sign)
        case _:
            yield sign, body
