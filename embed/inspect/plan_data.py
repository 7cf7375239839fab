"""What the page shows of a plan: its placements, each addend of an instruction as one more lane."""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from operator import mul

from dataflow.affine import Affine
from dataflow.expression import Const, Read, render
from embed.inspect.data import Value, affine, digits
from embed.nodes.front import lane_strides, pareto
from embed.nodes.layout import nest, packed_accesses, word_axes
from embed.nodes.placement import ADDENDS, Image, Placement
from embed.nodes.plan import Plan, Step, does


def plan_data(plan: Plan, limit: int, command: str) -> Value:
    """Everything the page needs: the steps of the plan first, then other placements, `limit` in all."""
    best = set(map(str, pareto(plan).every))
    shown = shown_steps(plan, limit)
    proven = "complete" if plan.complete else "more may exist"
    chosen = "number 1 is" if len(plan.steps) == 1 else f"numbers 1 to {len(plan.steps)} are"
    return {
        "title": plan.operator.title,
        "statements": [str(statement) for statement in plan.operator.statements],
        "heading": f"{len(shown)} of {len(plan.every)} placements, {proven}; {chosen} the plan",
        "square": "an addend of the instruction, a product or a value that it adds",
        "action": "Run the plan",
        "alternatives": [{**_placement(plan, step), "pareto": str(step) in best, "command": command} for step in shown],
    }


def shown_steps(plan: Plan, limit: int) -> Sequence[Step]:
    """The plan's steps, and as many other placements as the limit leaves."""
    others = [step for step in plan.every if step not in plan.steps]
    return [*plan.steps, *others[: max(0, limit - len(plan.steps))]]


def _placement(plan: Plan, step: Step) -> Value:
    placement = step.placement
    frame = placement.frame
    entry = plan.target.instruction(placement.name)
    accumulates = all(placement.pattern.accumulates)
    return {
        "text": str(step),
        "pattern": "\n".join([f"{placement.name}: {entry.text}", *(f"does {each}" for each in does(placement))]),
        "utilisation": placement.utilisation,
        "invocations": step.invocations,
        "cycles": step.cycles,
        "bytes": step.bytes,
        "strides": lane_strides(placement),
        "lanes": {**placement.pattern.extents, ADDENDS: len(placement.images)},
        "extents": frame.extents,
        "places": [],
        "zeros": [],
        "digits": digits(frame),
        "loops": [{"name": loop.name, "extent": loop.extent} for loop in placement.loops],
        "outer": frame.outer_dims,
        "verb": "adds to" if accumulates else "is part of",
        "nodes": [{"copy": image.copy, "operands": list(_operands(placement, image))} for image in placement.images],
        "layouts": list(_layouts(placement)),
        "packings": [],
        "nest": nest(placement, step.adder),
    }


def _operands(placement: Placement, image: Image) -> Iterator[Value]:
    """What an addend writes, and what it reads in order."""
    for own, held in placement.uses(image):
        if isinstance(held, Const):
            yield {"operand": own.tensor, "literal": str(held.value)}
        else:
            yield _operand(placement, own, held)


def _operand(placement: Placement, own: Read, held: Read) -> Value:
    shapes = {tensor.name: tensor.shape for each in placement.operator.statements for tensor in each.tensors}
    return {
        "access": held.tensor,
        "operand": own.tensor,
        "tensor": held.tensor,
        "shape": shapes[held.tensor],
        "index": [affine(_moving(placement, index)) for index in held.index],
        "inner": affine(_flat(own, placement.pattern.tensors[own.tensor].shape)),
        "axes": [
            {"name": loop.name, "extent": loop.extent, "before": 0, "loops": [(loop.name, 1)]}
            for loop in placement.loops_of(own.tensor)
        ],
    }


def _moving(placement: Placement, index: Affine) -> Affine:
    """An index without the dims of one point that the statements do not share."""
    return Affine.of([term for term in index.terms if term[0] in placement.frame.extents], index.constant)


def _flat(own: Read, shape: Sequence[int]) -> Affine:
    """The row-major number of an operand's element."""
    strides = list(accumulate([1, *reversed(shape[1:])], mul))[::-1] if shape else []
    terms = [
        (dim, factor * step) for index, step in zip(own.index, strides, strict=True) for dim, factor in index.terms
    ]
    constant = sum(index.constant * step for index, step in zip(own.index, strides, strict=True))
    return Affine.of(terms, constant)


def _layouts(placement: Placement) -> Iterator[str]:
    for operand in placement.held:
        words = ", ".join(word_axes(placement, operand)) or "one word"
        for own, held in packed_accesses(placement, operand):
            yield f"{operand}, {words}: {own} = {render(held)}"
