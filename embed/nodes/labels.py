"""Labels node by node: which addend of an instruction may do which of an operator, and what its reads then hold."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dataflow.dtypes import is_integer, limits
from dataflow.expression import COMMUTATIVE, Apply, Cast, Const, Expression, Read
from dataflow.sums import Addend, Sums


@dataclass(frozen=True, slots=True)
class Match:
    """An addend of the instruction does one of the operator's: `held` says what each of its reads, in order, holds.

    A read holds an element of a tensor, or a literal of the operator.
    """

    addend: Addend
    image: Addend
    held: tuple[Read | Const, ...]

    @property
    def pairs(self) -> tuple[tuple[Read, Read | Const], ...]:
        return tuple(zip(self.addend.reads, self.held, strict=True))


def matches(operator: Sums, pattern: Sums, addend: Addend) -> tuple[Match, ...]:
    """Every addend of the operator that agrees in sign, types and operations, commutative operands in each order."""
    found: dict[Match, None] = {}
    for image in operator.addends:
        if image.sign != addend.sign or _written(operator, image) != _written(pattern, addend):
            continue
        for held in _held(addend.body, image.body, operator, pattern):
            found[Match(addend, image, held)] = None
    return tuple(found)


def _written(sums: Sums, addend: Addend) -> str:
    """The type of what an addend is added to."""
    return sums.tensors[sums.output(addend).tensor].dtype


def _held(pattern: Expression, body: Expression, operator: Sums, own: Sums) -> Iterator[tuple[Read | Const, ...]]:
    """What the reads of `pattern` hold, left to right, in every way in which it is the same tree as `body`."""
    match pattern, body:
        case Const(a), Const(b) if a == b:
            yield ()
        case Read(tensor), Read(name) if own.tensors[tensor].dtype == operator.tensors[name].dtype:
            yield (body,)
        case ((Read(tensor) | Cast(_, Read(tensor))), Const(value)) if _fits(value, own.tensors[tensor].dtype):
            yield (body,)
        case Cast(a, inner), Cast(b, other) if a == b:
            yield from _held(inner, other, operator, own)
        case Apply(a, inner), Apply(b, other) if a == b:
            for order in (other, other[::-1]) if a in COMMUTATIVE else (other,):
                yield from _all_held(inner, order, operator, own)


def _fits(value: int | float, dtype: str) -> bool:
    """Whether an operand's element can be the literal."""
    if not is_integer(dtype):
        return True
    low, high = limits(dtype)
    return isinstance(value, int) and low <= value <= high


def _all_held(
    patterns: Sequence[Expression], bodies: Sequence[Expression], operator: Sums, own: Sums
) -> Iterator[tuple[Read | Const, ...]]:
    if not patterns:
        yield ()
        return
    for first in _held(patterns[0], bodies[0], operator, own):
        for rest in _all_held(patterns[1:], bodies[1:], operator, own):
            yield first + rest
