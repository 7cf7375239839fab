"""What no placement of a problem goes below, by arithmetic alone: a problem that cannot win is never solved."""

from collections.abc import Iterable
from functools import cache
from math import prod

import numpy as np

from dataflow.affine import Affine
from embed.relax.sums import added_bytes
from embed.solver.problem import Problem


def least(problem: Problem, term: str) -> int:
    """A lower bound of the cost term `cycles`, `invocations` or `bytes`."""
    match term:
        case "invocations":
            return _runs(problem, problem.extents, problem.lanes)
        case "bytes":
            return _read(problem) + problem.rates.result_bytes * _results(problem) + added_bytes(problem.relaxed)
    rates = problem.rates
    results = _results(problem)
    compute = rates.compute(_runs(problem, problem.extents, problem.lanes), results)
    program = max(1, compute, rates.storing(results), rates.moving(_read(problem)))
    return program + rates.moving(added_bytes(problem.relaxed))


def _runs(problem: Problem, dims: Iterable[str], lanes: Iterable[str]) -> int:
    """Runs that cover some dims in some lane dimensions, where all that may share lanes are fused."""
    left = set(dims)
    total = 1
    for group in _connected(problem, left, lanes):
        held = {dim for lane in group for dim in problem.allowed[lane]} & left
        left -= held
        points = prod(problem.extents[dim] for dim in held)
        total *= -(-points // prod(problem.lanes[lane] for lane in group))
    return total * prod(problem.extents[dim] for dim in left)


def _connected(problem: Problem, dims: set[str], lanes: Iterable[str]) -> list[set[str]]:
    """Lane dimensions in groups, so that no two groups may hold one of the dims."""
    groups: list[set[str]] = []
    for lane in lanes:
        own = dims & set(problem.allowed[lane])
        near = [group for group in groups if any(own & set(problem.allowed[other]) for other in group)]
        groups = [group for group in groups if group not in near]
        groups.append({lane}.union(*near))
    return groups


def _lanes_of(problem: Problem, access: str) -> list[str]:
    """The lane dimensions of the words that an access is packed in."""
    used = {dim for index in problem.pattern.accesses[problem.operand(access)].index for dim in index.dims}
    return [lane for lane in problem.lanes if lane in used]


def _results(problem: Problem) -> int:
    """Output words: output dims in the lanes of a word."""
    output = problem.operator.main.output.tensor
    dims = [dim for dim in problem.extents if problem.uses(output, dim)]
    return _runs(problem, dims, _lanes_of(problem, output))


def _read(problem: Problem) -> int:
    """Bytes of all packed inputs: what is read at all, in full words."""
    rates, operands = problem.rates, problem.binding.operands
    total = 0
    for access in problem.reads:
        if access != problem.operator.main.output.tensor:
            size = rates.input_bytes[operands[access]] if access in operands else rates.extra_bytes
            total += size * _words(problem, access)
    return total


def _words(problem: Problem, access: str) -> int:
    """Words that hold what an access reads: no fewer than its elements fill, overlapping windows counted once.

    What moves along dims that no lane of the word may hold needs words of its own.
    """
    dims = [dim for dim in problem.extents if problem.uses(access, dim)]
    lanes = _lanes_of(problem, access)
    index = problem.reads[access].index
    single = {dim for dim in dims if sum(1 for part in index if part.coefficient(dim)) == 1}
    if all(len(single & set(part.dims)) < 2 for part in index):
        return _runs(problem, dims, lanes)
    held = {dim for lane in lanes for dim in problem.allowed[lane]}
    counts = [({dim}, problem.extents[dim]) for dim in dims if dim not in single]
    for part, size in zip(index, problem.shape(access), strict=True):
        own = single & set(part.dims)
        counts.append((own, _positions(problem, part, own, size if problem.pads(access) else None)))
    apart = prod(count for own, count in counts if held.isdisjoint(own))
    filled = prod(count for own, count in counts if not held.isdisjoint(own))
    return apart * -(-filled // prod(problem.lanes[lane] for lane in lanes))


def _positions(problem: Problem, index: Affine, own: set[str], size: int | None) -> int:
    """Positions along a tensor dimension that the dims of `own` reach, within `size` if given.

    Dims that move backwards share none with others, and leave no padding out.
    """
    ahead = tuple((index.coefficient(dim), problem.extents[dim]) for dim in own if index.coefficient(dim) > 0)
    behind = prod(problem.extents[dim] for dim in own if index.coefficient(dim) < 0)
    return behind * _distinct(ahead, index.constant, None if behind > 1 or len(ahead) < len(index.dims) else size)


@cache
def _distinct(moves: tuple[tuple[int, int], ...], start: int, size: int | None) -> int:
    """Different sums of one multiple of each move, of (step, extent), from `start` and within 0..size-1 if given."""
    reached = np.array([start])
    for step, extent in moves:
        reached = np.unique(reached[:, None] + step * np.arange(extent))
    return len(reached) if size is None else int(((reached >= 0) & (reached < size)).sum())
