"""The forms of one lane dimension: which dims stand in which digit, and with which radix; as rows of a table."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

from ortools.sat.python import cp_model

from embed.lanes import useful_radices
from embed.solver.problem import Problem
from embed.solver.variables import Variables

Group = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Form:
    """Digits as groups of dims, each led by its first, with their points and their radices."""

    groups: tuple[Group, ...]
    sizes: tuple[int, ...]
    radices: tuple[int, ...]

    @property
    def taken(self) -> int:
        """Lanes that the digits take."""
        return prod(self.radices)

    def row(self, variables: Variables, lane: str) -> tuple[int, ...]:
        """The form as values of `columns`."""
        keys = variables.of_lane(lane)
        group = {group[0]: group for group in self.groups}
        radix = {group[0]: radix for group, radix in zip(self.groups, self.radices, strict=True)}
        members = [int(dim in group.get(lead, ())) for _, lead in keys for dim in variables.members[lane, lead]]
        return (*members, *(radix.get(lead, 1) for _, lead in keys))


def columns(variables: Variables, lane: str) -> list[cp_model.IntVar]:
    """The variables that say what fills a lane dimension."""
    keys = variables.of_lane(lane)
    members = [literal for key in keys for literal in variables.members[key].values()]
    return [*members, *(variables.radix[key] for key in keys)]


def forms(problem: Problem, lane: str) -> Iterator[Form]:
    """Every form of useful radices that fit the lanes."""
    for groups in _groupings(problem.allowed[lane]):
        sizes = tuple(prod(problem.extents[dim] for dim in group) for group in groups)
        options = [useful_radices(size, problem.lanes[lane]) for size in sizes]
        for radices in _products(options, problem.lanes[lane]):
            yield Form(groups, sizes, radices)


def _groupings(dims: Sequence[str]) -> Iterator[tuple[Group, ...]]:
    """Every way to leave some dims out and split the others into groups, each in order and led by its first."""
    if not dims:
        yield ()
        return
    first, rest = dims[0], dims[1:]
    for groups in _groupings(rest):
        yield groups
        yield ((first,), *groups)
        for place, group in enumerate(groups):
            yield ((first, *group), *groups[:place], *groups[place + 1 :])


def _products(options: Sequence[Sequence[int]], limit: int) -> Iterator[tuple[int, ...]]:
    """One of each option, with a product of at most `limit`."""
    if not options:
        yield ()
        return
    for first in options[0]:
        if first > limit:
            return
        for rest in _products(options[1:], limit // first):
            yield (first, *rest)
