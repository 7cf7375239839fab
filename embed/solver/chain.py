"""One option for each operator of a chain, such that cycles and repacks together are fewest: one CP-SAT model.

A repack between two operators is a flow from the form that one makes to the form that the next is given.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence

from ortools.sat.python import cp_model

from embed.chain.options import Form, Offers, Option
from embed.errors import NoEmbedding
from embed.solver.settings import Settings, new_solver

Literals = list[cp_model.IntVar]


def choose(offers: Offers, deadline: float) -> tuple[list[int], bool]:
    """The place of each operator's option, and whether the total is proven least; NoEmbedding if the time runs out."""
    model = cp_model.CpModel()
    taken = [[model.new_bool_var("") for _ in options] for options in offers.options]
    for literals in taken:
        model.add_exactly_one(literals)
    model.minimize(sum(_terms(model, offers, taken)))
    solver = new_solver(Settings(), deadline)
    solver.parameters.linearization_level = 2  # the relaxation of a shortest path has whole solutions
    status = solver.solve(model)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        raise NoEmbedding("the time ran out before a plan of the chain was found; raise the time limit")
    places = [next(place for place, literal in enumerate(one) if solver.value(literal)) for one in taken]
    return places, status == cp_model.OPTIMAL


def _terms(model: cp_model.CpModel, offers: Offers, taken: Sequence[Literals]) -> Iterator[cp_model.LinearExpr | int]:
    """Cycles of what is taken, of packing at the start and unpacking at the end, and of the repacks between."""
    first, last = offers.ends
    for options, literals in zip(offers.options, taken, strict=True):
        yield from (option.cycles * literal for option, literal in zip(options, literals, strict=True))
    for form, group in _grouped(offers.options[0], taken[0], lambda option: option.given):
        yield offers.repack(first, form) * sum(group)
    for form, group in _grouped(offers.options[-1], taken[-1], lambda option: option.made):
        yield offers.repack(form, last) * sum(group)
    for step in range(len(taken) - 1):
        made = _grouped(offers.options[step], taken[step], lambda option: option.made)
        given = _grouped(offers.options[step + 1], taken[step + 1], lambda option: option.given)
        flows = [[model.new_bool_var("") for _ in given] for _ in made]
        for (_, group), row in zip(made, flows, strict=True):
            model.add(sum(row) == sum(group))
        for (_, group), column in zip(given, zip(*flows, strict=True), strict=True):
            model.add(sum(column) == sum(group))
        for (before, _), row in zip(made, flows, strict=True):
            yield from (offers.repack(before, after) * flow for (after, _), flow in zip(given, row, strict=True))


def _grouped(
    options: Sequence[Option], literals: Literals, form: Callable[[Option], Form]
) -> list[tuple[Form, Literals]]:
    """The literals of the options that have the same form."""
    found: dict[Hashable, tuple[Form, Literals]] = {}
    for option, literal in zip(options, literals, strict=True):
        found.setdefault(form(option).key, (form(option), []))[1].append(literal)
    return list(found.values())
