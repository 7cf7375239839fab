"""A plan explained and run: what each instruction does of the operator, its lanes, layouts, loops and price."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy.typing as npt
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from dataflow import Operator, UserError
from dataflow.expression import render
from embed.cli.console import new_table
from embed.cli.machines import compared
from embed.embedding import Digit
from embed.nodes.checker import verify
from embed.nodes.front import lane_strides
from embed.nodes.kernel import PlanKernel
from embed.nodes.layout import packed_accesses, word_axes
from embed.nodes.placement import ADDENDS
from embed.nodes.plan import Plan, Step, does, text
from embed.solver.nodes.plans import fallback
from embed.solver.settings import Settings
from isa.model import Isa

Array = npt.NDArray[Any]
_NONE: Mapping[str, object] = {}


def plan_of(operator: Operator, target: Isa, settings: Settings, given: Mapping[str, object] = _NONE) -> Plan | None:
    """The plan of instructions that are no contraction, if the operator takes one.

    Raises UserError for settings that such a plan has not, and those of `given`, options by name, that have a value.
    """
    found = fallback(operator, target, replace(settings, demands=(), layouts=()))
    if found is None:
        return None
    own = {"--demand": settings.demands, "--layout": settings.layouts, "--relax": settings.relax}
    for option in (option for option, value in {**own, **given}.items() if value):
        raise UserError(f"{option}: {operator.title} takes a plan of several instructions, which has no such option")
    return found


def refuse_plan(operator: Operator, target: Isa, settings: Settings) -> None:
    """Raise UserError for an operator that takes a plan, of which there is no code."""
    found = plan_of(operator, target, settings)
    if found is not None:
        raise UserError(
            f"{operator.title} takes a plan, {found}, for which there is no code to save; isa-embed run executes it"
        )


def explain_plan(plan: Plan, command: str) -> Iterator[RenderableType]:
    """What `isa-embed embed` prints of a plan, piece by piece; `command` runs it."""
    yield from _heading(plan)
    for step in plan.steps:
        yield from _explain_step(plan, step)
    yield plan_table(plan)
    yield Text("run by", style="bold")
    yield Text(f"  {command}", no_wrap=True, overflow="ignore")


def explain_placement(plan: Plan, number: int) -> Iterator[RenderableType]:
    """The same of one placement of the list, checked; raises UserError for a number beyond it."""
    step = numbered(plan, number)
    yield from _heading(plan)
    yield from _explain_step(plan, step)
    table = new_table("costs")
    step_costs(step, table)
    table.add_row("in the plan", "yes" if step in plan.steps else f"no: {plan}")
    yield table


def numbered(plan: Plan, number: int) -> Step:
    """The placement with a number of the list, checked; raises UserError for one beyond it."""
    if number > len(plan.every):
        so_far = "" if plan.complete else " so far; raise the time limit"
        raise UserError(f"--show: there is no placement {number}; the list has {len(plan.every)}{so_far}")
    verify(plan.every[number - 1].placement)
    return plan.every[number - 1]


def _heading(plan: Plan) -> Iterator[RenderableType]:
    yield Text(plan.operator.title, style="bold")
    for statement in plan.operator.statements:
        yield Text(f"  {statement}")
    yield Text(f"on {plan.target.name} {' '.join(f'{key}={value}' for key, value in plan.target.parameters.items())}\n")


def _explain_step(plan: Plan, step: Step) -> Iterator[RenderableType]:
    yield Text(str(step.placement), style="bold")
    yield Text(f"  {step.placement.name}: {plan.target.instruction(step.placement.name).text}\n")
    yield addends_table(step)
    yield lanes_table(step)
    yield operands_table(step)


def placements_table(plan: Plan, limit: int) -> Table:
    """One row for each placement that a plan may have, the first `limit` of them, each checked."""
    proven = "complete" if plan.complete else "not complete: the time ran out"
    shown = plan.every[:limit]
    title = f"{plan.operator.title}: {len(plan.every)} placements ({proven}), {len(shown)} shown"
    numbers = ("#", "utilisation", "invocations", "cycles", "bytes", "strides")
    table = new_table(title, "#", "placement", "does", *numbers[1:], "in the plan", right=numbers)
    for number, step in enumerate(shown, 1):
        verify(step.placement)
        prices = (f"{step.placement.utilisation:.4f}", f"{step.invocations:,}", f"{step.cycles:,}", f"{step.bytes:,}")
        chosen = "yes" if step in plan.steps else ""
        strides = str(lane_strides(step.placement))
        table.add_row(str(number), Text(str(step)), Text(", ".join(does(step.placement))), *prices, strides, chosen)
    return table


def addends_table(step: Step) -> Table:
    """What each addend of the instruction does."""
    placement = step.placement
    table = new_table("addends", "of the instruction", "does", "copy", right=["copy"])
    for image in placement.images:
        own = text(placement.pattern.statements, image.match.addend)
        table.add_row(Text(own), Text(text(placement.operator.statements, image.match.image)), str(image.copy))
    return table


def lanes_table(step: Step) -> Table:
    """One row for each digit of each lane dimension; ADDENDS is that of the copies."""
    placement = step.placement
    lanes = {**placement.pattern.extents, ADDENDS: placement.copies}
    table = new_table("lanes", "dimension", "lanes", "filled with", "runs", "idle at the end", right=["lanes", "runs"])
    for lane, extent in lanes.items():
        if extent > 1:
            [*digits] = placement.frame.digits_of(lane)
            cells = _cells(step, digits[0]) if digits else [f"one point, {extent - 1} lanes idle", "1", "0"]
            table.add_row(lane, str(extent), *cells)
    return table


def _cells(step: Step, digit: Digit) -> list[str]:
    frame = step.placement.frame
    size, runs = frame.size(digit), frame.steps(digit)
    what = f"{digit.radix} of {' x '.join(f'{dim}={frame.extents[dim]}' for dim in reversed(digit.dims))}"
    return [what, f"{runs:,}", str(runs * digit.radix - size)]


def operands_table(step: Step) -> Table:
    """What the words of each operand hold, as index expressions over the loops and the instruction's dims."""
    placement = step.placement
    table = new_table("layouts: packed[loops|elements]", "operand", "one word for each", "holds", right=[])
    for operand in placement.held:
        for number, (own, held) in enumerate(packed_accesses(placement, operand)):
            words = ", ".join(word_axes(placement, operand)) or "the whole step"
            table.add_row("" if number else operand, "" if number else words, Text(f"{own} = {render(held)}"))
    return table


def plan_table(plan: Plan) -> Table:
    """Instructions, utilisation, cycles by the file's timing, bytes, and what was proven."""
    table = new_table("costs")
    costs(plan, table)
    proof = f"{plan.status} among {len(plan.every):,} placements, in {plan.seconds * 1000:.1f} ms"
    table.add_row("status", proof)
    return table


def costs(plan: Plan, table: Table) -> None:
    """Rows for what the steps take."""
    for step in plan.steps:
        _invocations(step, table)
    _prices(plan, plan.utilisation, table)


def step_costs(step: Step, table: Table) -> None:
    """The same of one step."""
    _invocations(step, table)
    _prices(step, step.placement.utilisation, table)


def _invocations(step: Step, table: Table) -> None:
    table.add_row(f"{step.placement.name}", f"{step.invocations:,} invocations")
    if step.adder:
        table.add_row(f"  {step.adder}", f"{step.additions:,} to add its partial sums up")


def _prices(priced: Plan | Step, utilisation: float, table: Table) -> None:
    table.add_row("utilisation", f"{utilisation:.4f}")
    table.add_row("cycles at full rate", f"{priced.cycles:,}")
    table.add_row("bytes, packed", f"{priced.bytes:,}")


def run_plan(plan: Plan, arrays: Mapping[str, Array]) -> tuple[Array, Table]:
    """Interpret a plan, check every output, and show what it took; raises Defect for a wrong result."""
    found = PlanKernel(plan).run(arrays)
    table = new_table("")
    table.add_row("result", _compared(plan, arrays, found))
    table.add_row("ran in", f"the interpreter of {plan.target.name}'s patterns")
    costs(plan, table)
    return found[plan.operator.output.name], table


def _compared(plan: Plan, arrays: Mapping[str, Array], found: Mapping[str, Array]) -> str:
    """How every output agrees with the reference, each from the statements up to the last that writes it."""
    statements = plan.operator.statements
    said: dict[str, None] = {}
    for tensor in plan.operator.outputs:
        last = max(number for number, each in enumerate(statements) if each.output.tensor == tensor.name)
        part = replace(plan.operator, statements=statements[: last + 1])
        said[compared(part, arrays, found[tensor.name])] = None
    return "; ".join(said)
