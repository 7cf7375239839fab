"""A plan: placements that together do every addend of an operator once, each after those that make what it reads."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from dataflow.computation import Computation
from dataflow.expression import render
from dataflow.operator import Operator
from dataflow.sums import Addend, Sums
from embed.errors import NoEmbedding
from embed.nodes.placement import Placement
from isa.model import Isa


@dataclass(frozen=True, slots=True)
class Step:
    """All invocations of one placement; `adder` is the entry that adds partial sums up, empty where none are left.

    An instruction that assigns leaves a partial sum at each invocation, unless one invocation makes the whole sum;
    `additions` is how many times the adder runs.
    """

    placement: Placement
    adder: str
    additions: int
    cycles: int
    bytes: int

    @property
    def invocations(self) -> int:
        return self.placement.invocations

    def __str__(self) -> str:
        return f"{self.placement}{f' + {self.adder}' if self.adder else ''}"


@dataclass(frozen=True)
class Plan:
    """The steps in order; `status` is OPTIMAL where nothing has less of the objective, by default cycles.

    `seconds` is the time of the search, `every` all placements that it has priced, which are `complete` if time was
    enough for all that are not alike.
    """

    operator: Operator
    target: Isa
    steps: tuple[Step, ...]
    status: str
    seconds: float
    every: tuple[Step, ...]
    complete: bool

    @property
    def cycles(self) -> int:
        return sum(step.cycles for step in self.steps)

    @property
    def bytes(self) -> int:
        return sum(step.bytes for step in self.steps)

    @property
    def invocations(self) -> int:
        return sum(step.invocations for step in self.steps)

    @cached_property
    def utilisation(self) -> float:
        """Useful addends over those that the invocations pay for."""
        useful = paid = 0.0
        for step in self.steps:
            done = len(step.placement.covered) * step.placement.frame.operator.main.points
            useful += done
            paid += done / step.placement.utilisation
        return useful / paid

    def __str__(self) -> str:
        return "; ".join(map(str, self.steps))


def in_order(operator: Operator, steps: list[Step]) -> tuple[Step, ...]:
    """The steps, each after those that write what it reads; where that leaves a choice, who begins sums is first."""
    sums = Sums(operator.statements)
    left, done = sorted(steps, key=lambda step: _continued(step.placement)), []
    while left:
        for step in left:
            needed = {other for number in step.placement.statements for other in sums.needs[number]}
            if not any(needed.intersection(other.placement.statements) for other in left if other is not step):
                break
        else:
            raise NoEmbedding("steps need each other's results: no order of them works")
        left.remove(step)
        done.append(step)
    return tuple(done)


def _continued(placement: Placement) -> int:
    """Statements of which it does not do the first addend."""
    begun = {addend.statement for addend in placement.covered if addend.place == 0}
    return len(set(placement.statements) - begun)


def does(placement: Placement) -> Iterator[str]:
    """The addends of the operator that a placement does, each as part of its statement."""
    statements = placement.operator.statements
    return (text(statements, addend) for addend in Sums(statements).addends if addend in placement.covered)


def text(statements: Sequence[Computation], addend: Addend) -> str:
    """An addend as part of its statement."""
    statement = statements[addend.statement]
    if not statement.accumulate and len(Sums((statement,)).addends) == 1 and addend.sign > 0:
        return str(statement)
    return f"{statement.output} {'+' if addend.sign > 0 else '-'}= {render(addend.body, 3)}"
