"""The placement problems of rewritten operators: which can beat what is known, by their lower bounds."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from heapq import heappop, heappush
from itertools import count
from math import prod
from types import MappingProxyType

from embed.costs import rates
from embed.physical import Physical
from embed.relax.candidates import Candidates
from embed.relax.rewritten import Rewritten
from embed.relax.steps import EXACT
from embed.solver.bound import least
from embed.solver.problem import Problem
from isa.model import Isa


def usual(target: Isa) -> tuple[str, ...]:
    """The relaxations of a machine for which nobody named any: none where kernels keep to the user's layouts."""
    return () if target.processor else EXACT


def rewritten(
    plain: Iterable[Problem], target: Isa, kinds: Sequence[str], lies: Mapping[str, Physical] = MappingProxyType({})
) -> Iterator[Problem]:
    """The problems of every useful rewriting, for the instruction and the binding of each plain problem.

    `lies` are the pinned layouts of the operator's tensors.
    """
    for problem in plain:
        found = Candidates(problem.operator, problem.pattern, problem.binding, kinds)
        yield from (_posed(problem, relaxed, target, lies) for relaxed in found)


def _posed(plain: Problem, relaxed: Rewritten, target: Isa, lies: Mapping[str, Physical]) -> Problem:
    """The problem of a rewriting."""
    entry = target.instructions[plain.instruction.name]
    price = rates(relaxed.operator, entry, target, lies) if plain.rates.extras else plain.rates
    return Problem(relaxed.operator, plain.instruction, plain.binding, price, relaxed=relaxed)


def promising(
    plain: Sequence[Problem],
    target: Isa,
    kinds: Sequence[str],
    lies: Mapping[str, Physical],
    term: str,
    goal: Callable[[], int | None],
) -> Iterator[tuple[int, Problem]]:
    """Rewritten problems by what they cannot go below of a cost term, the lowest first, while that is under `goal`.

    Of those equal in this, the ones of lane dimensions' extents come first. What splits a dim further is looked at
    when its turn comes: it cannot go below what it splits.
    """
    known = goal()
    number = count()
    queue: list[tuple[tuple[int, bool, int, int], Problem, Candidates]] = []

    def enter(problem: Problem, source: Candidates, found: Iterable[Rewritten], further: bool) -> None:
        for relaxed in found:
            posed = _posed(problem, relaxed, target, lies)
            heappush(queue, ((least(posed, term), further, _uneven(posed), next(number)), posed, source))

    for problem in plain if kinds else ():
        if known is None or _ideal(problem, term) < known:
            source = Candidates(problem.operator, problem.pattern, problem.binding, kinds)
            enter(problem, source, source.first(), False)
    while queue:
        (bound, further, *_), problem, source = heappop(queue)
        known = goal()
        if known is not None and bound >= known:
            return
        yield bound, problem
        if problem.relaxed is not None and not further:
            enter(problem, source, source.further(problem.relaxed), True)


def _uneven(problem: Problem) -> int:
    """Steps whose factor is no lane dimension's extent: of equal bounds the others are reached more often."""
    steps = problem.relaxed.steps if problem.relaxed else ()
    return sum(step.factor not in problem.lanes.values() for step in steps)


def _ideal(problem: Problem, term: str) -> int:
    """A bound that holds for any rewriting: no lane is ever idle."""
    pattern, output = problem.pattern, problem.operator.main.output_dims
    invocations = -(-problem.points // pattern.points)
    if term == "invocations":
        return invocations
    results = prod(problem.operator.main.extents[dim] for dim in output)
    words = -(-results // prod(pattern.tensors[0].shape))
    if term == "bytes":
        return problem.rates.result_bytes * words
    return problem.rates.compute(invocations, words)
