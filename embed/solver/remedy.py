"""Layouts in which a tensor could be used in place, and relaxations, with which demands could be met."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import permutations

from dataflow.operator import Operator
from embed.demands import Demand, in_place
from embed.embedding import Embedding
from embed.layout import word_lanes
from embed.physical import Physical
from embed.pinned import letters_of
from embed.relax.steps import RELAXATIONS
from embed.solver.bound import least
from embed.solver.deadline import Deadline
from embed.solver.in_place import choices
from embed.solver.problem import Problem
from embed.solver.settings import Settings
from embed.solver.whynot import possible

Posed = Callable[[Settings], Sequence[Problem]]
"""The problems of an operator under the layouts of some settings."""


def remedies(operator: Operator, posed: Posed, settings: Settings, deadline: Deadline) -> Iterator[str]:
    """For each tensor to be used in place a usual layout, as the user writes it, under which the demands can be met."""
    for name in in_place(settings.demands):
        tensor = next(tensor for tensor in (*operator.inputs, operator.output) if tensor.name == name)
        names = usual(letters_of(operator, tensor) or "", set(_words(posed(settings), name)))
        for layout in sorted(names, key=lambda layout: Physical.of(tensor, layout).size):
            asked = replace(settings, layouts=(*settings.layouts, (name, layout)))
            problems = posed(asked)
            if _fits(problems, name) and possible(problems, settings.demands, asked, deadline):
                yield f"{name}={layout}"
                break


def rewritings(posed: Posed, settings: Settings, deadline: Deadline) -> Iterator[str]:
    """Each relaxation that nobody named and with which the demands can be met."""
    named = settings.relax or ()
    for name in (name for name in RELAXATIONS if name not in named):
        problems = posed(replace(settings, relax=(*named, name)))
        steps = ((problem, problem.relaxed.steps if problem.relaxed else ()) for problem in problems)
        new = [problem for problem, taken in steps if any(step.kind == name for step in taken)]
        hopeful = [problem for problem in new if not any(_beyond(problem, demand) for demand in settings.demands)]
        if possible(hopeful, settings.demands, settings, deadline):
            yield name


def _beyond(problem: Problem, demand: Demand) -> bool:
    """Whether no placement of a problem meets a demand, by arithmetic alone."""
    match demand.kind:
        case "max-cycles":
            return least(problem, "cycles") > demand.number
        case "max-bytes":
            return least(problem, "bytes") > demand.number
        case "min-utilisation":
            paid = least(problem, "invocations") * problem.pattern.points
            return problem.points / paid < demand.number - 1e-9
        case "bind":
            return problem.binding.operands.get(demand.about[0]) != demand.about[1]
    return False


def _fits(problems: Sequence[Problem], tensor: str) -> bool:
    """Whether some lanes make the words of a tensor its array, whatever else is demanded: quicker than a model."""
    return any(
        next(choices(problem, access, pin), None) is not None
        for problem in problems
        for access, pin in problem.rates.pins.items()
        if pin.physical.tensor.name == tensor
    )


def usual(letters: str, words: set[tuple[int, ...]]) -> Iterator[str]:
    """Row-major and with the second dimension last, plain and with blocks as large as words."""
    for blocks in [(), *sorted(words)]:
        for dimensions in permutations(letters, len(blocks)):
            inner = "".join(f"{size}{letter.lower()}" for size, letter in zip(blocks, dimensions, strict=True))
            yield letters + inner
            if len(letters) > 2:
                yield letters[0] + letters[2:] + letters[1] + inner


def _words(problems: Sequence[Problem], tensor: str) -> Iterator[tuple[int, ...]]:
    """The shapes of the words that a tensor may be packed in, without dimensions of 1."""
    for problem in problems:
        for access, pin in problem.rates.pins.items():
            if pin.physical.tensor.name == tensor:
                embedding = Embedding(problem.operator, problem.instruction, problem.binding, ())
                lanes = word_lanes(embedding, problem.operand(access))
                yield tuple(problem.lanes[lane] for lane in lanes if lane in problem.lanes)
