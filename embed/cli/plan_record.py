"""A plan as `--json` writes it: its steps, what each addend of an instruction does, lanes, layouts and prices."""

from dataclasses import dataclass
from typing import Any

from dataflow.expression import render
from embed.cli.record import JsonRecord
from embed.nodes.front import lane_strides
from embed.nodes.layout import packed_accesses, word_axes
from embed.nodes.plan import Plan, Step, text


@dataclass(frozen=True, slots=True)
class PlanRecord(JsonRecord):
    """A plan, or one placement of the list as its only step; cycles are modelled, bytes those of the packed operands.

    `complete` says whether the `placements` priced are proven to be all that a plan may have.
    """

    objective: str
    placements: int
    complete: bool
    solve_s: float
    utilisation: float
    invocations: int
    modelled_cycles: int
    modelled_bytes: int
    steps: list[dict[str, Any]]


def plan_record(plan: Plan, objective: str) -> PlanRecord:
    """The whole plan."""
    return PlanRecord(
        problem=plan.operator.title,
        suite="",
        op=plan.operator.title,
        isa=plan.target.name,
        parameters=dict(plan.target.parameters),
        status=plan.status,
        objective=objective,
        placements=len(plan.every),
        complete=plan.complete,
        solve_s=plan.seconds,
        utilisation=plan.utilisation,
        invocations=plan.invocations,
        modelled_cycles=plan.cycles,
        modelled_bytes=plan.bytes,
        steps=[_step(step) for step in plan.steps],
    )


def _step(step: Step) -> dict[str, Any]:
    placement = step.placement
    statements, own = placement.operator.statements, placement.pattern.statements
    return {
        "instruction": placement.name,
        "placement": str(placement),
        "addends": [
            {
                "own": text(own, image.match.addend),
                "does": text(statements, image.match.image),
                "copy": image.copy,
            }
            for image in placement.images
        ],
        "digits": [{"lane": d.lane, "dims": list(d.dims), "radix": d.radix} for d in placement.digits],
        "layouts": {
            operand: {
                "words": list(word_axes(placement, operand)),
                "holds": {str(access): render(held) for access, held in packed_accesses(placement, operand)},
            }
            for operand in placement.held
        },
        "adder": step.adder,
        "additions": step.additions,
        "utilisation": placement.utilisation,
        "strides": lane_strides(placement),
        "invocations": step.invocations,
        "modelled_cycles": step.cycles,
        "modelled_bytes": step.bytes,
    }
