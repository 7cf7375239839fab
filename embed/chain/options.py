"""What a choice is made from: how each operator of a chain can be done, and how its tensors lie then."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from dataflow.computation import Tensor
from dataflow.errors import UserError
from dataflow.operator import Operator
from embed.embedding import Embedding


@dataclass(frozen=True, slots=True)
class Form:
    """How a tensor lies; forms with the same `key` are the same. `bytes` counts padding and copies."""

    name: str
    key: Hashable
    bytes: int


@dataclass(frozen=True, slots=True)
class Option:
    """One way to do an operator: the form that it reads of the chain's tensor, the form that it writes, its cycles."""

    given: Form
    made: Form
    cycles: int
    embedding: Embedding


@dataclass(frozen=True, slots=True)
class Chain:
    """Operators of which each reads the output of the one before, as its input `flows`."""

    operators: tuple[Operator, ...]
    flows: tuple[str, ...]

    @classmethod
    def of(cls, operators: Sequence[Operator], flows: Sequence[str | None] | None = None) -> "Chain":
        """A chain through the named inputs, the first ones where none is named; raises UserError if it breaks."""
        if not operators:
            raise UserError("a chain needs at least one operator")
        named = [
            flow or operator.inputs[0].name
            for operator, flow in zip(operators, flows or [None] * len(operators), strict=True)
        ]
        for operator, flow in zip(operators, named, strict=True):
            known = [tensor.name for tensor in operator.inputs]
            if flow not in known:
                raise UserError(f"{operator.title} has no input '{flow}'; it has: {', '.join(known)}")
        for place, (before, after, flow) in enumerate(zip(operators, operators[1:], named[1:], strict=False), 1):
            made, wanted = before.output, next(tensor for tensor in after.inputs if tensor.name == flow)
            if (made.shape, made.dtype) != (wanted.shape, wanted.dtype):
                raise UserError(
                    f"operator {place} writes {made.dtype}{list(made.shape)}, but operator {place + 1} reads "
                    f"{wanted.dtype}{list(wanted.shape)} as '{flow}'"
                )
        return cls(tuple(operators), tuple(named))

    @property
    def enters(self) -> Tensor:
        """The tensor that flows into the first operator."""
        return next(tensor for tensor in self.operators[0].inputs if tensor.name == self.flows[0])


Repack = Callable[[Form, Form], int]
"""Cycles that it takes to bring a tensor from one form to another: none for the same."""


@dataclass(frozen=True, slots=True)
class Offers:
    """The options of each operator, the forms of the ends, the price of a repack, and whether these are all options."""

    options: Sequence[Sequence[Option]]
    ends: tuple[Form, Form]
    repack: Repack
    complete: bool

    def repacks(self, taken: Sequence[Option]) -> tuple[int, ...]:
        """Cycles of the repacks before each option taken and after the last."""
        first, last = self.repack(self.ends[0], taken[0].given), self.repack(taken[-1].made, self.ends[1])
        return (first, *(self.repack(before.made, after.given) for before, after in pairwise(taken)), last)

    def total(self, taken: Sequence[Option]) -> int:
        """Cycles of the options taken and of the repacks between them."""
        return sum(option.cycles for option in taken) + sum(self.repacks(taken))


def cheapest(options: Iterable[Option]) -> list[Option]:
    """Of options that read and write the same forms, the first of the cheapest."""
    best: dict[tuple[Hashable, Hashable], Option] = {}
    for option in options:
        key = option.given.key, option.made.key
        if key not in best or option.cycles < best[key].cycles:
            best[key] = option
    return list(best.values())
