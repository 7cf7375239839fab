"""One option for each operator of a chain, such that cycles and copies together are fewest: one CP-SAT model.

A reader of a tensor is a flow from the form that one operator makes to the form that another is given; flows along the
same pair of forms share one copy.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass

from ortools.sat.python import cp_model

from embed.chain.options import Flow, Form, Offers, Option
from embed.solver.deadline import Deadline
from embed.solver.settings import Settings, new_solver

Literals = list[cp_model.IntVar]
Groups = list[tuple[Form, cp_model.LinearExprT]]


@dataclass(frozen=True, slots=True)
class Choice:
    """Each operator's option, whether the total is proven least, and what none is below."""

    options: Sequence[Option]
    proven: bool
    bound: int


def choose(offers: Offers, known: Sequence[Option], settings: Settings, deadline: Deadline) -> Choice:
    """The options whose total is least; the `known` ones where the time ends before any better is found."""
    model = cp_model.CpModel()
    taken = [[model.new_bool_var("") for _ in options] for options in offers.options]
    for literals, options, hint in zip(taken, offers.options, known, strict=True):
        model.add_exactly_one(literals)
        for literal, option in zip(literals, options, strict=True):
            model.add_hint(literal, option is hint)
    cycles = [
        option.cycles * literal
        for options, literals in zip(offers.options, taken, strict=True)
        for option, literal in zip(options, literals, strict=True)
    ]
    copies = [term for flow in offers.chain.flows for term in _copies(model, offers, flow, taken)]
    model.minimize(sum([*cycles, *copies]))
    solver = new_solver(settings, deadline)
    solver.parameters.linearization_level = 2  # the relaxation of a shortest path has whole solutions
    status = solver.solve(model)
    least = sum(min(option.cycles for option in options) for options in offers.options)
    bound = max(least, round(solver.best_objective_bound))
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return Choice(known, False, bound)
    chosen = [
        next(option for option, literal in zip(options, literals, strict=True) if solver.value(literal))
        for options, literals in zip(offers.options, taken, strict=True)
    ]
    return Choice(min(chosen, known, key=offers.total), status == cp_model.OPTIMAL, bound)


def _copies(
    model: cp_model.CpModel, offers: Offers, flow: Flow, taken: Sequence[Literals]
) -> Iterator[cp_model.LinearExpr | int]:
    """Cycles of the copies of one tensor."""
    made = _made(offers, flow, taken)
    readers = [_given(offers.options[place], taken[place], entry) for place, entry in flow.readers]
    readers += [[(offers.ends[flow.name], 1)]] if flow.leaves else []
    flows = [_flow(model, made, given) for given in readers]
    copied: dict[tuple[Hashable, Hashable], tuple[int, Literals]] = {}
    for given, rows in zip(readers, flows, strict=True):
        for (before, _), row in zip(made, rows, strict=True):
            for (after, _), literal in zip(given, row, strict=True):
                price = offers.repack(before, after) if before.key != after.key else 0
                if price:
                    copied.setdefault((before.key, after.key), (price, []))[1].append(literal)
    for price, literals in copied.values():
        yield price * _shared(model, literals)


def _made(offers: Offers, flow: Flow, taken: Sequence[Literals]) -> Groups:
    """The forms in which a tensor is written."""
    if flow.source is None:
        return [(offers.ends[flow.name], 1)]
    return _grouped(offers.options[flow.source], taken[flow.source], lambda option: option.made)


def _given(options: Sequence[Option], literals: Literals, entry: str) -> Groups:
    """The forms in which an operator reads an input."""
    return _grouped(options, literals, lambda option: option.given[entry])


def _flow(model: cp_model.CpModel, made: Groups, given: Groups) -> list[Literals]:
    """A literal for each pair of forms, of which the one that is made and the one that is given holds."""
    rows = [[model.new_bool_var("") for _ in given] for _ in made]
    for (_, group), row in zip(made, rows, strict=True):
        model.add(sum(row) == group)
    for (_, group), column in zip(given, zip(*rows, strict=True), strict=True):
        model.add(sum(column) == group)
    return rows


def _shared(model: cp_model.CpModel, literals: Literals) -> cp_model.IntVar:
    """Whether any of the readers wants a copy."""
    if len(literals) == 1:
        return literals[0]
    copy = model.new_bool_var("")
    for literal in literals:
        model.add_implication(literal, copy)
    return copy


def _grouped(options: Sequence[Option], literals: Literals, form: Callable[[Option], Form]) -> Groups:
    """The literals of the options that have the same form, added up."""
    found: dict[Hashable, tuple[Form, Literals]] = {}
    for option, literal in zip(options, literals, strict=True):
        found.setdefault(form(option).key, (form(option), []))[1].append(literal)
    return [(form, sum(group)) for form, group in found.values()]
