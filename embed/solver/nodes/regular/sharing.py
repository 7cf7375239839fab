"""Rule 2, sharing: what an operand element holds is one for all lanes and all addends that use it."""

from itertools import combinations

from dataflow.expression import Const, Read
from embed.nodes.labels import Match
from embed.nodes.placement import dims_of
from embed.solver.nodes.regular.variables import Literal, Variables


def add(variables: Variables) -> None:
    """Along a digit of a lane that an operand lacks nothing it holds moves; equal accesses hold equal elements."""
    chosen = list(variables.matches())
    for match, literal in chosen:
        for own, held in match.pairs:
            stays(variables, literal, own, held)
    for (one, left), (other, right) in combinations(chosen, 2):
        for own, held in one.pairs:
            for also, value in other.pairs:
                if own == also:
                    agree(variables, (one, left), (other, right), held, value)
    for match, literal in chosen:
        for (own, held), (also, value) in combinations(match.pairs, 2):
            if own == also and held != value:
                variables.forbid(literal)


def stays(variables: Variables, literal: Literal, own: Read, held: Read | Const) -> None:
    """Where `own` lacks a lane, the dims on the lane leave what it holds alone."""
    if isinstance(held, Const):
        return
    for digit, filled in variables.digits():
        lacking = digit.lane in variables.problem.pattern.extents and variables.problem.lacks(own, digit.lane)
        if lacking and dims_of(held).intersection(digit.dims):
            variables.forbid(literal, filled)


def agree(
    variables: Variables,
    one: tuple[Match, Literal],
    other: tuple[Match, Literal],
    held: Read | Const,
    value: Read | Const,
) -> None:
    """Two addends that use one element hold the same: the same access, and at the same copy if that moves it."""
    (first, left), (second, right) = one, other
    if first.addend == second.addend:
        return
    if held != value:
        variables.forbid(left, right)
        return
    for digit, literal in variables.copies_form.items():
        if digit is not None and isinstance(held, Read) and dims_of(held).intersection(digit.dims):
            variables.same_copy(first.addend, second.addend, left, right, literal)
