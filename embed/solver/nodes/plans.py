"""The best plan of an operator: every placement of every instruction, and the cover that is fastest."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from ortools.sat.python import cp_model

from dataflow.operator import Operator
from dataflow.sums import Addend, Sums
from dataflow.symbolic import sums_apart, writes_apart
from embed.errors import NoEmbedding
from embed.nodes.checker import verify
from embed.nodes.cuts import cut
from embed.nodes.labels import matches
from embed.nodes.placement import Placement
from embed.nodes.plan import Plan, Step, in_order, text
from embed.nodes.price import priced
from embed.solver.deadline import Deadline
from embed.solver.nodes.regular import placements
from embed.solver.nodes.whynot import reasons
from embed.solver.questions import order_of, problems
from embed.solver.settings import Settings, dump_model, log, new_solver
from isa.model import Instruction, Isa

_LEAST = 1.0
"""Seconds to choose among what was found, however long finding it took."""


@dataclass
class Found:
    """The steps there are; of those that do the same addends only the best may stand in a plan, of equals the first."""

    steps: dict[frozenset[Addend], Step] = field(default_factory=dict)
    every: list[Step] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    complete: bool = True

    def add(self, placement: Placement, target: Isa, order: tuple[str, ...]) -> None:
        try:
            step = priced(placement, target)
        except NoEmbedding as error:
            self.refused[placement.name] = str(error)
            return
        self.every.append(step)
        known = self.steps.get(placement.covered)
        if known is None or rank(step, order) < rank(known, order):
            self.steps[placement.covered] = step


def rank(step: Step, order: tuple[str, ...]) -> tuple[tuple[int, ...], int, str]:
    """What the best step has least of: the terms of `order`, dims and accesses; of equals the same dims everywhere."""
    placement = step.placement
    held = [each for operand in placement.inputs for each in placement.held[operand]]
    filled = " ".join(map(str, placement.digits))
    return worth(step, order), len(held) + sum(len(digit.dims) for digit in placement.digits), filled


def worth(priced: Step | Plan, order: tuple[str, ...]) -> tuple[int, ...]:
    """The terms of `order`, those of an objective."""
    values = {
        "cycles": priced.cycles,
        "invocations": priced.invocations,
        "bytes": priced.bytes,
        "traffic": priced.bytes,
    }
    return tuple(values[term] for term in order)


def plan(operator: Operator, target: Isa, settings: Settings) -> Plan:
    """The plan with the least of the objective, by default cycles by the file's timing. Raises NoEmbedding.

    Bodies that no instruction does at once are planned cut into steps too.
    """
    found: list[Plan] = []
    reason: NoEmbedding | None = None
    for form in dict.fromkeys((operator, cut(operator, tuple(Sums(entry.statements) for entry in usable(target))))):
        own = settings if form is operator else replace(settings, dump=_beside(settings.dump, "cut"))
        try:
            found.append(whole_plan(form, target, own))
        except NoEmbedding as error:
            reason = reason or error  # of the statements as they were written
    if not found:
        assert reason is not None
        raise reason
    return min(found, key=lambda each: worth(each, order_of(settings)))


def whole_plan(operator: Operator, target: Isa, settings: Settings) -> Plan:
    """The same for the statements as they are."""
    start = time.perf_counter()
    deadline, order = Deadline(settings.time_limit), order_of(settings)
    _check(operator)
    found = Found()
    for entry in usable(target):
        own = replace(settings, dump=_beside(settings.dump, entry.name))
        some, complete = placements(operator, entry.name, Sums(entry.statements), own, deadline)
        log.info("%s: %d placements", entry.name, len(some))
        found.complete = found.complete and complete
        for placement in some:
            found.add(placement, target, order)
    steps, proven = _cover(operator, list(found.steps.values()), settings, deadline.at_least(_LEAST))
    if steps is None:
        raise NoEmbedding(_why_not(operator, target, found, settings))
    for step in steps:
        verify(step.placement)
    status = "OPTIMAL" if proven and found.complete else "FEASIBLE"
    seconds = time.perf_counter() - start
    every = tuple(sorted(found.every, key=lambda step: (step.placement.statements, rank(step, order))))
    return Plan(operator, target, in_order(operator, steps), status, seconds, every, found.complete)


def fallback(operator: Operator, target: Isa, settings: Settings) -> Plan | None:
    """The plan of an operator that no instruction does as one statement and its epilogue; None where one does.

    Raises NoEmbedding with the reason.
    """
    reason: NoEmbedding | None = None
    if not any(statement.accumulate for statement in operator.epilogue):
        try:
            if next(problems(operator, target), None):
                return None
        except NoEmbedding as error:
            if not _any_match(operator, target):
                raise
            reason = error
    try:
        return plan(operator, target, settings)
    except NoEmbedding:
        if reason is not None and operator.epilogue and _does_sums(operator, target):
            raise reason from None  # of the epilogue, for which the machine has no instructions
        raise


def _does_sums(operator: Operator, target: Isa) -> bool:
    """Whether some instruction does the operator's first statement."""
    try:
        return next(problems(replace(operator, statements=operator.statements[:1]), target), None) is not None
    except NoEmbedding:
        return False


def usable(target: Isa) -> Iterator[Instruction]:
    """Entries whose statements may be placed: they compute, and no predicate or value of a choice decides what.

    Sequences are left out: a plan has their instructions.
    """
    for entry in target.instructions.values():
        copies = entry.pattern is not None and not entry.pattern.accumulate and not _computes(entry)
        if entry.statements and not (entry.mask or entry.choice or entry.sequence or copies):
            yield entry


def _beside(path: Path | None, name: str) -> Path | None:
    """The file of one more model: each has its own."""
    return path and path.with_stem(f"{path.stem}-{name}")


def _computes(entry: Instruction) -> bool:
    sums = Sums(entry.statements)
    return len(sums.addends) > 1 or any(len(addend.reads) > 1 for addend in sums.addends)


def _any_match(operator: Operator, target: Isa) -> bool:
    """Whether some instruction has an addend like one of the operator's, or of its parts."""
    patterns = tuple(Sums(entry.statements) for entry in usable(target))
    sums = Sums(cut(operator, patterns).statements)
    return any(matches(sums, pattern, addend) for pattern in patterns for addend in pattern.addends)


def _check(operator: Operator) -> None:
    """What a statement reads is not written after it, and points of the output's dims have elements of their own."""
    read: set[str] = set()
    for statement in operator.statements:
        if not (sums_apart if statement.accumulate else writes_apart)(statement):
            raise NoEmbedding(f"`{statement}` writes one element from several points of its output dims")
        if statement.output.tensor in read:
            raise NoEmbedding(f"`{statement}` writes {statement.output.tensor}, which an earlier statement reads")
        read |= {tensor.name for tensor in statement.inputs}


def _cover(
    operator: Operator, steps: list[Step], settings: Settings, deadline: Deadline
) -> tuple[list[Step] | None, bool]:
    """Steps that do every addend once, with the least of the objective's terms; None where there are none."""
    model = cp_model.CpModel()
    taken = [model.new_bool_var(str(step.placement)) for step in steps]
    for addend in Sums(operator.statements).addends:
        model.add_exactly_one(
            literal for step, literal in zip(steps, taken, strict=True) if addend in step.placement.covered
        )
    dump_model(model, settings.dump)
    chosen: list[Step] | None = None
    proven = True
    for values in zip(*(worth(step, order_of(settings)) for step in steps), strict=True):
        total = cp_model.LinearExpr.weighted_sum(taken, values)
        model.minimize(total)
        solver = new_solver(settings, deadline)
        status = solver.solve(model)
        if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            return chosen, False
        proven = proven and status == cp_model.OPTIMAL
        chosen = [step for step, literal in zip(steps, taken, strict=True) if solver.value(literal)]
        model.add(total <= round(solver.objective_value))
    return chosen, proven


def _why_not(operator: Operator, target: Isa, found: Found, settings: Settings) -> str:
    """The addends that nothing does, and why; or that the steps there are do some addends twice."""
    if not found.complete:
        return f"no plan of {operator.title} on {target.name} was found within {settings.time_limit:g} s"
    done = {addend for step in found.steps.values() for addend in step.placement.covered}
    missing = [addend for addend in Sums(operator.statements).addends if addend not in done]
    if not missing:
        kinds = {f"{s.placement.name} does {len(s.placement.covered)} addends together" for s in found.steps.values()}
        return f"no choice of instructions does every addend of {operator.title} once: {'; '.join(sorted(kinds))}"
    told = [found.refused[name] for name in found.refused] or list(reasons(operator, list(usable(target)), missing[0]))
    what = text(operator.statements, missing[0])
    return f"nothing of {target.name} does `{what}`: {'; '.join(dict.fromkeys(told))}"
