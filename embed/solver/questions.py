"""What is asked of the solver: an operator over pinned arrays with every instruction and binding, and what is least."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import combinations
from pathlib import Path

from dataflow.computation import Computation
from dataflow.errors import UserError
from dataflow.operator import Operator
from dataflow.symbolic import sums_apart
from embed.binding import bindings
from embed.costs import rates
from embed.demands import in_place
from embed.embedding import Embedding, Placeable, as_accumulation
from embed.errors import NoEmbedding
from embed.physical import Physical
from embed.pinned import Held, hold
from embed.solver.deadline import Deadline
from embed.solver.problem import Problem
from embed.solver.relaxed import rewritten, usual
from embed.solver.remedy import remedies, rewritings
from embed.solver.settings import Settings
from embed.solver.whynot import conflict, explained
from isa.model import Isa

OBJECTIVES = {
    "cycles": ("cycles", "traffic"),
    "invocations": ("invocations", "cycles", "traffic"),
    "bytes": ("bytes", "cycles", "traffic"),
}
"""What each objective minimises, in order; `traffic` is packed bytes, and of equals the fewest dims and digits."""


def problems(operator: Operator, target: Isa, lies: Mapping[str, Physical] | None = None) -> Iterator[Problem]:
    """Every (instruction, binding) whose bodies agree, under pinned layouts; raises NoEmbedding where there is none."""
    check_operator(operator)
    none = True
    for instruction in target.instructions.values():
        if instruction.pattern is None or not as_accumulation(instruction.pattern).accumulate:
            continue
        for binding in bindings(operator.main, as_accumulation(instruction.pattern)):
            none = False
            rate = rates(operator, instruction, target, lies or {})
            yield Problem(operator, Placeable.of(target, instruction.name), binding, rate)
    if none:
        raise NoEmbedding(f"no instruction of {target.name} computes `{operator.main}`: {_offers(target)}")


def problem_of(embedding: Embedding, target: Isa, lies: Mapping[str, Physical]) -> Problem:
    """The problem that has an embedding among its placements, under pinned layouts."""
    price = rates(embedding.operator, target.instructions[embedding.name], target, lies)
    return Problem(embedding.operator, embedding.instruction, embedding.binding, price, relaxed=embedding.relaxed)


def every(operator: Operator, target: Isa, settings: Settings) -> Iterator[Problem]:
    """The operator's problems under pinned layouts, and where relaxations are named those of its rewritings."""
    held = held_under(operator, target, settings)
    plain = list(problems(held.operator, target, held.lies))
    yield from plain
    yield from rewritten(plain, target, settings.relax or (), held.lies)


def unlisted(operator: Operator, target: Isa, settings: Settings) -> bool:
    """Whether the best embedding may be one of a rewritten operator, though nobody named a relaxation to list them."""
    kinds = relaxations(target, settings)
    if settings.relax is not None or not kinds:
        return False
    held = held_under(operator, target, settings)
    plain = list(problems(held.operator, target, held.lies))
    return next(rewritten(plain, target, kinds, held.lies), None) is not None


def held_under(operator: Operator, target: Isa, settings: Settings) -> Held:
    """The operator over the arrays that the layouts pin, and over those that are to be used in place.

    Raises UserError for pins on a CPU, whose kernels read tensors where lanes are neighbours, and for unknown ones.
    """
    named = in_place(settings.demands)
    if target.processor and (named or settings.layouts):
        raise UserError(f"layouts: what {target.name} reads in place depends on the kernel; compile and run take them")
    return hold(operator, dict(settings.layouts), named)


def relaxations(target: Isa, settings: Settings) -> tuple[str, ...]:
    """The relaxations to try. Demands speak of the user's dims: with them only those that were named."""
    if settings.relax is not None:
        return settings.relax
    return () if settings.demands else usual(target)


def order_of(settings: Settings) -> tuple[str, ...]:
    """The terms that the objective minimises; raises UserError for one that is none."""
    if settings.objective not in OBJECTIVES:
        raise UserError(f"objective '{settings.objective}' is unknown; there are: {', '.join(OBJECTIVES)}")
    return OBJECTIVES[settings.objective]


def why_not(operator: Operator, target: Isa, asked: list[Problem], settings: Settings) -> str:
    """The demands that no embedding meets together, and what could be."""
    deadline = Deadline(settings.time_limit)
    clash = conflict(asked, settings.demands, settings, deadline)
    text = explained(asked, clash, settings, deadline)

    def posed(other: Settings) -> list[Problem]:
        return list(every(operator, target, other))

    clashing = replace(settings, demands=clash.demands)
    pins = list(remedies(operator, posed, clashing, deadline))
    text += f", or pin --layout {' or '.join(pins)}" if pins else ""
    allowed = list(rewritings(posed, settings, deadline))
    text += f", or allow --relax {' or '.join(allowed)}" if allowed else ""
    return f"{operator.title}: {text}"


def numbered(path: Path, number: int) -> Path:
    """The file of the first model, and numbered ones for the others."""
    return path if number == 1 else path.with_stem(f"{path.stem}-{number}")


def check_operator(operator: Operator) -> None:
    """Raises NoEmbedding where points of the output's dims share a sum, UserError where loops could share a name."""
    if not sums_apart(operator.main):
        raise NoEmbedding(f"`{operator.main}` adds to one element from several points of its output dims")
    _check_names(operator.main)


def _check_names(operator: Computation) -> None:
    """Tile loops are named after their dims, `c_o` or `crs_o`; raises UserError where two names could be one."""
    dims = list(operator.extents)
    endings = [dim for dim in dims if dim.endswith("_o")]
    if endings:
        raise UserError(f"dim '{endings[0]}' is named like a loop over tiles; choose a name that does not end in _o")
    if max(map(len, dims), default=1) > 1:
        found = ["".join(some) for count in range(1, len(dims) + 1) for some in combinations(dims, count)]
        clash = next((name for name, count in Counter(found).items() if count > 1), None)
        if clash is not None:
            raise UserError(f"dims {', '.join(dims)}: several of them read '{clash}' in a row; choose other names")


def _offers(target: Isa) -> str:
    patterns = {e.name: e.pattern for e in target.instructions.values() if e.pattern}
    found = [f"{name} is `{pattern}`" for name, pattern in patterns.items() if as_accumulation(pattern).accumulate]
    return "; ".join(found) if found else "it has no instruction that accumulates"
