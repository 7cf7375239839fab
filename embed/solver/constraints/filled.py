"""Filled: no digit could have fewer runs on lanes that are idle. Only enumeration asks for it; a price would anyway.

Each lane dimension gets a table of its forms: which dims stand in which digit, and with which radix.
"""

from collections.abc import Iterator, Mapping, Sequence
from math import prod

from ortools.sat.python import cp_model

from embed.solver.constraints.runs import useful_radices
from embed.solver.problem import Problem
from embed.solver.variables import Literal, Variables

Group = tuple[str, ...]


def build(model: cp_model.CpModel, problem: Problem, variables: Variables) -> dict[tuple[str, str], Literal]:
    """Add the tables; returns a literal for each lane and dim: on idle lanes, the dim would save invocations."""
    saving: dict[tuple[str, str], Literal] = {}
    for lane, dims in problem.allowed.items():
        own = {(lane, dim): model.new_bool_var(f"saving {lane} {dim}") for dim in dims}
        rows = list(_rows(problem, variables, lane))
        if dims:
            model.add_allowed_assignments([*_columns(variables, lane), *own.values()], rows)
        saving |= own
    return saving


def _columns(variables: Variables, lane: str) -> list[cp_model.IntVar]:
    keys = variables.of_lane(lane)
    members = [literal for key in keys for literal in variables.members[key].values()]
    return [*members, *(variables.radix[key] for key in keys)]


def _rows(problem: Problem, variables: Variables, lane: str) -> Iterator[tuple[int, ...]]:
    """A row for every form: members of every possible digit, their radices, and which dims would still save."""
    lanes, keys, dims = problem.lanes[lane], variables.of_lane(lane), problem.allowed[lane]
    for groups in _groupings(dims):
        by_lead = {group[0]: group for group in groups}
        sizes = [prod(problem.extents[dim] for dim in group) for group in groups]
        members = [int(dim in by_lead.get(lead, ())) for _, lead in keys for dim in variables.members[lane, lead]]
        for chosen in _radices(sizes, lanes):
            radix = dict(zip(by_lead, chosen, strict=True))
            saving = (int(_saves(problem.extents[dim], sizes, chosen, lanes)) for dim in dims)
            yield (*members, *(radix.get(lead, 1) for _, lead in keys), *saving)


def _saves(extent: int, sizes: Sequence[int], chosen: Sequence[int], lanes: int) -> bool:
    """Whether another dim takes fewer invocations as a digit of its own, or fused with one, than as a loop."""
    taken = prod(chosen)
    fused = any(
        -(-size * extent // (lanes * radix // taken)) < -(-size // radix) * extent
        for size, radix in zip(sizes, chosen, strict=True)
    )
    return fused or 2 * taken <= lanes


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


def _radices(sizes: Sequence[int], lanes: int) -> Iterator[tuple[int, ...]]:
    """Useful radices that fit the lanes together, none of which could grow to a useful one beside the others."""
    options = [useful_radices(size, lanes) for size in sizes]
    for chosen in _products(options, lanes):
        taken = prod(chosen)
        grown = (
            next((larger for larger in own if larger > radix), None) for radix, own in zip(chosen, options, strict=True)
        )
        if all(larger is None or taken // radix * larger > lanes for radix, larger in zip(chosen, grown, strict=True)):
            yield chosen


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


def only_maximal(model: cp_model.CpModel, variables: Variables, saving: Mapping[tuple[str, str], Literal]) -> None:
    """No dim that is a loop would save invocations on idle lanes."""
    for (_, dim), literal in saving.items():
        model.add_implication(variables.outer[dim], ~literal)
