"""The placement problems of rewritten operators: which can beat what is known, by their lower bounds."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import prod
from types import MappingProxyType

from embed.costs import rates
from embed.physical import Physical
from embed.relax.candidates import candidates
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
        entry = target.instructions[problem.instruction.name]
        for relaxed in candidates(problem.operator, problem.pattern, problem.binding, kinds):
            price = rates(relaxed.operator, entry, target, lies) if problem.rates.extras else problem.rates
            yield Problem(relaxed.operator, problem.instruction, problem.binding, price, relaxed=relaxed)


def promising(
    plain: Sequence[Problem],
    target: Isa,
    kinds: Sequence[str],
    lies: Mapping[str, Physical],
    term: str,
    below: int | None,
) -> list[tuple[int, Problem]]:
    """Rewritten problems by what they cannot go below of a cost term, the lowest first, if that is under `below`."""
    hopeful = [problem for problem in plain if below is None or _ideal(problem, term) < below]
    found = [(least(problem, term), problem) for problem in rewritten(hopeful, target, kinds, lies)]
    kept = [entry for entry in found if below is None or entry[0] < below]
    return sorted(kept, key=lambda entry: (entry[0], _uneven(entry[1])))


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
    return problem.rates.invocation * invocations + problem.rates.result * words
