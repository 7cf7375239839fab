"""A plan: placements that together do every addend of an operator once, each after those that make what it reads."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from dataflow.computation import Computation
from dataflow.dtypes import bits
from dataflow.expression import Read, render
from dataflow.operator import Operator
from dataflow.sums import Addend, Sums
from embed.errors import NoEmbedding
from embed.nodes.placement import Placement
from isa.model import Instruction, Isa


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


def priced(placement: Placement, target: Isa) -> Step:
    """The step of a placement; raises NoEmbedding where it leaves partial sums that no entry adds up."""
    leaving = [operand for operand in placement.outputs if leaves_parts(placement, operand)]
    adder, additions = "", 0
    for operand in leaving:
        tensor = placement.pattern.tensors[operand]
        found = min(adders(target, tensor.dtype), key=lambda entry: -_lanes(entry), default=None)
        if found is None:
            raise NoEmbedding(
                f"{placement.name} leaves partial sums in {operand}, and {target.name} has no entry that adds them up, "
                f"such as `c[l] = a[l] + b[l]` on {tensor.dtype}"
            )
        adder = found.name
        additions += placement.invocations * -(-tensor.size // _lanes(found))
    cycles = placement.invocations * trip(target, placement.name) + (additions * trip(target, adder) if adder else 0)
    return Step(placement, adder, additions, cycles, packed_bytes(placement))


def packed_bytes(placement: Placement) -> int:
    """Bytes of the packed arrays of all operands."""
    sizes = placement.pattern.tensors
    return sum(placement.words(name) * -(-sizes[name].size * bits(sizes[name].dtype) // 8) for name in placement.held)


def leaves_parts(placement: Placement, operand: str) -> bool:
    """Whether invocations leave in an output less than the operator's whole sums."""
    sums = Sums(placement.operator.statements)
    numbers = [n for n, each in enumerate(placement.pattern.statements) if each.output.tensor == operand]
    if all(placement.pattern.accumulates[number] for number in numbers):
        return False
    written = {image.match.image.statement for image in placement.images if image.match.addend.statement in numbers}
    whole = {addend for addend in sums.addends if addend.statement in written} <= placement.covered
    return not whole or placement.words(operand) < placement.invocations


def adders(target: Isa, dtype: str) -> Iterator[Instruction]:
    """Entries that add two words element by element."""
    for entry in target.instructions.values():
        if entry.pattern is None or entry.mask or entry.pattern.tensors[0].dtype != dtype:
            continue
        sums = Sums((entry.pattern,))
        operands = [addend.body for addend in sums.addends]
        index = entry.pattern.output.index
        plain = all(isinstance(each, Read) and each.index == index for each in operands)
        if plain and len(set(operands)) + sums.accumulates[0] == 2 and all(a.sign > 0 for a in sums.addends):
            yield entry


def _lanes(entry: Instruction) -> int:
    assert entry.pattern is not None
    return entry.pattern.tensors[0].size


def trip(target: Isa, name: str) -> int:
    """Cycles of one instruction at full rate by the file's first core; 1 where the file does not time it."""
    costs = target.timing.costs if target.timings else {}
    return costs[name].trip or 1 if name in costs else 1


def in_order(operator: Operator, steps: list[Step]) -> tuple[Step, ...]:
    """The steps so that each comes after those that write what it reads."""
    sums = Sums(operator.statements)
    left, done = list(steps), []
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
