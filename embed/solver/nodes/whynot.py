"""Why an instruction that has an addend of the right kind cannot be placed: the constraint in the way, in words."""

from collections.abc import Iterator, Sequence
from itertools import combinations
from types import ModuleType

from ortools.sat.python import cp_model

from dataflow.expression import Apply, walk
from dataflow.operator import Operator
from dataflow.sums import Addend, Sums
from embed.solver.deadline import Deadline
from embed.solver.nodes.regular import CONSTRAINTS, accumulation, box, copies, idle, order, sharing
from embed.solver.nodes.regular.problem import Problem
from embed.solver.nodes.regular.variables import Variables
from embed.solver.settings import Settings, new_solver
from isa.model import Instruction

_SECONDS = 1.0
_WORDS = {
    box: "its addends would do statements over different dims",
    copies: "its addends do not do each addend of the operator equally often",
    order: "it reads before it writes, but one of the statements needs what another writes",
    sharing: "one element of an operand would have to hold several of the operator's",
    accumulation: "its outputs are other sums than the operator's",
    idle: "lanes past the end of a dim would add to sums in use, and no zeros keep them from it",
}


def reasons(operator: Operator, entries: Sequence[Instruction], addend: Addend) -> Iterator[str]:
    """For every instruction with an addend that agrees with this one, what keeps it from a placement."""
    none = True
    for entry in entries:
        found = _reason(operator, entry, addend)
        if found:
            none = False
            yield f"{entry.name}: {found}"
    if none:
        summed = ", ".join(_summed(entries))
        yield "no instruction has an addend with its types, operations and sign" + (
            f"; products are summed of {summed}" if summed else ""
        )


def _summed(entries: Sequence[Instruction]) -> list[str]:
    """The types of the two factors whose products some instruction adds to what it holds."""
    found: set[str] = set()
    for pattern in (entry.pattern for entry in entries if entry.pattern is not None):
        output = pattern.output.tensor
        factors = [pattern.tensor(read.tensor).dtype for read in pattern.reads if read.tensor != output]
        holds = pattern.accumulate or len(factors) < len(pattern.reads)
        multiplies = any(isinstance(part, Apply) and part.operation in ("mul", "fma") for part in walk(pattern.body))
        if holds and multiplies and len(factors) == 2:
            found.add("*".join(factors))
    return sorted(found)


def _reason(operator: Operator, entry: Instruction, addend: Addend) -> str:
    """Empty for an entry none of whose addends agrees."""
    pattern = Sums(entry.statements)
    problem = Problem(operator, entry.name, pattern, 1)
    if not any(match.image == addend for found in problem.matches.values() for match in found):
        return ""
    lacking = next((own for own, found in problem.matches.items() if not found), None)
    if lacking is not None:
        return (
            f"the operator has nothing like its addend {lacking.place + 1} of `{pattern.statements[lacking.statement]}`"
        )
    if problem.refusal:
        return problem.refusal
    for count in (1, 2):
        for left_out in combinations(CONSTRAINTS, count):
            if any(_possible(operator, entry, each, addend, left_out) for each in range(1, len(pattern.addends) + 1)):
                return ", and ".join(_WORDS[rule] for rule in left_out)
    return "more than two rules keep it out at once"


def _possible(
    operator: Operator, entry: Instruction, count: int, addend: Addend, left_out: Sequence[ModuleType]
) -> bool:
    """Whether the entry could do the addend if some constraints did not hold."""
    pattern = Sums(entry.statements)
    if len(pattern.addends) % count:
        return False
    variables = Variables(cp_model.CpModel(), Problem(operator, entry.name, pattern, count))
    for constraint in CONSTRAINTS:
        if constraint not in left_out:
            constraint.add(variables)
    variables.model.add_bool_or(literal for match, literal in variables.matches() if match.image == addend)
    solver = new_solver(Settings(), Deadline(_SECONDS))
    return solver.solve(variables.model) in (cp_model.OPTIMAL, cp_model.FEASIBLE)
