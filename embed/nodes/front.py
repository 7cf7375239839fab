"""The Pareto front of placements: of those that do the same addends, which no other beats."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from dataflow.expression import Read
from dataflow.sums import Addend
from embed.nodes.placement import ADDENDS, Placement, dims_of
from embed.nodes.plan import Plan, Step
from embed.pareto import apart, unbeaten


def pareto(plan: Plan) -> Plan:
    """The plan with those of its placements that no other beats or equals in all that `criteria` says."""
    kept = set(map(id, front(plan.every)))
    return replace(plan, every=tuple(step for step in plan.every if id(step) in kept))


def front(steps: Iterable[Step]) -> Iterator[Step]:
    """The front of each set of addends."""
    groups: dict[frozenset[Addend], list[Step]] = {}
    for step in steps:
        groups.setdefault(step.placement.covered, []).append(step)
    for group in groups.values():
        yield from (group[place] for place in unbeaten([criteria(step) for step in group]))


def criteria(step: Step) -> tuple[float, ...]:
    """What is to be small: cycles, packed bytes, unused share of the lanes, lane strides."""
    return step.cycles, step.bytes, 1 - step.placement.utilisation, lane_strides(step.placement)


def lane_strides(placement: Placement) -> int:
    """Digits whose neighbouring lanes, or copies, hold elements of a row-major tensor that are no neighbours in it."""
    shapes = {tensor.name: tensor.shape for each in placement.operator.statements for tensor in each.tensors}
    moved = {
        (digit, own.tensor, held.tensor)
        for own, held in placement.accesses
        if isinstance(held, Read)
        for digit in placement.digits
        if digit.dims[0] in dims_of(held)
        if digit.lane == ADDENDS or digit.lane in dims_of(own)
        if apart(held, digit, shapes)
    }
    return len(moved)
