"""Placements that tile: the model finds all that the solver-free checker accepts, and no others."""

from collections.abc import Iterator
from itertools import product
from types import ModuleType

import pytest

import dataflow
from dataflow import Operator
from dataflow.sums import Sums
from embed.checker import CheckError
from embed.nodes.checker import verify
from embed.nodes.placement import ADDENDS, Image, Placement
from embed.solver.deadline import Deadline
from embed.solver.nodes.regular import CONSTRAINTS, placements
from embed.solver.nodes.regular.enumeration import problems, solutions
from embed.solver.nodes.regular.problem import Problem
from embed.solver.settings import Settings

PAIRS = "d[l] = i32(a[2*l])*i32(b[2*l]) + i32(a[2*l+1])*i32(b[2*l+1])"
TURNED = "d[l,0] += -(a[l,1]*b[l,1]); d[l,1] += a[l,1]*b[l,0]"
DOT = "d[l] += a[l,0]*b[l,0] - a[l,1]*b[l,1] + a[l,2]*b[l,2] - a[l,3]*b[l,3]"
BUTTERFLY = "s[l] = a[l] + b[l]; d[l] = a[l] - b[l]"
TWO = "s[l] = a[l] + b[l]; d[l] = e[l] - f[l]"
SCALED = "d[l] += a[l,0]*b[0] + a[l,1]*b[1]"
GEMM = "c[i,j] += a[i,k]*b[k,j]"
FILTER = "y[n] += x[n+t]*h[t]"
COMPLEX = "c[i,j,0] += a[i,k,0]*b[k,j,0] - a[i,k,1]*b[k,j,1]; c[i,j,1] += a[i,k,0]*b[k,j,1] + a[i,k,1]*b[k,j,0]"
PLANES = "c += a[k]*b[k] - d[k]*e[k]"
STAGE = "y[0,i,j] = x[0,i,j] + x[1,i,j]; y[1,i,j] = x[0,i,j] - x[1,i,j]"
CLIPPED = "c[i] += max(x[i,k], 3)"
COPIED = "y[i,j] = x[i] + z[j]"

# Each row: instruction, its lanes, operator, its sizes, its types.
CASES = {
    "pairs in gemm": (PAIRS, {"l": 2}, GEMM, {"i": 2, "j": 3, "k": 3}, "i16"),
    "pairs in a vector product": (PAIRS, {"l": 4}, "y[i] += a[i,k]*b[k]", {"i": 3, "k": 2}, "i16"),
    "pairs in a filter": (PAIRS, {"l": 2}, FILTER, {"n": 3, "t": 3}, "i16"),
    "turned product in complex gemm": (TURNED, {"l": 3}, COMPLEX, {"i": 2, "j": 2, "k": 2}, "i16"),
    "complex dot in complex product": (DOT, {"l": 1}, PLANES, {"k": 3}, "i16"),
    "scaled pairs in gemm": (SCALED, {"l": 2}, GEMM, {"i": 2, "j": 2, "k": 2}, "i16"),
    "butterfly in a stage": (BUTTERFLY, {"l": 2}, STAGE, {"i": 2, "j": 3}, "i16:i16"),
    "sum of clipped numbers": ("d[l] += max(a[l,q], 3)", {"l": 2, "q": 4}, CLIPPED, {"i": 2, "k": 3}, "i16:i16"),
    "sum and difference in a chain": (TWO, {"l": 2}, "s[i] = x[i] + y[i]; d[i] = s[i] - y[i]", {"i": 2}, "i16:i16"),
    "sum and difference apart": (TWO, {"l": 2}, "s[i] = x[i] + y[i]; d[j] = x[j] - y[j]", {"i": 2, "j": 3}, "i16:i16"),
    "sum and difference": (TWO, {"l": 2}, "s[i] = x[i] + y[i]; d[i] = x[i] - y[i]", {"i": 3}, "i16:i16"),
    "sum in an outer sum": ("d[l] = a[l] + b[l]", {"l": 4}, COPIED, {"i": 2, "j": 3}, "i16:i16"),
    "sum with one number": ("d[l] = a[l] + b", {"l": 4}, COPIED, {"i": 2, "j": 3}, "i16:i16"),
}


def operator(text: str, dtype: str, extents: dict[str, int]) -> Operator:
    return Operator("expr", dataflow.infer_all(text.split(";"), extents, dtype), tuple(extents.items()))


def asked(name: str) -> tuple[Operator, Sums]:
    pattern, lanes, text, sizes, dtype = CASES[name]
    return operator(text, dtype, sizes), Sums(operator(pattern, dtype, lanes).statements)


def everything(problem: Problem) -> Iterator[Placement]:
    """Every choice of matches, copies and forms that has the first addend as the first copy, good or not."""
    addends = problem.pattern.addends
    copies = [range(1), *[range(problem.copies)] * (len(addends) - 1)]
    numberings = [numbers for numbers in product(*copies) if max(numbers) == problem.copies - 1]
    for matches in product(*(problem.matches[addend] for addend in addends)):
        for numbers in numberings:
            images = tuple(Image(match, number) for match, number in zip(matches, numbers, strict=True))
            for forms in product(*problem.forms.values()):
                digits = tuple(form for form in forms if form is not None)
                yield Placement(problem.operator, problem.name, problem.pattern, images, digits)


def spread(placement: Placement) -> bool:
    """Whether copies, if there are any, lie along a digit: what an addend that is always idle holds is no matter."""
    return placement.copies == 1 or any(digit.lane == ADDENDS for digit in placement.digits)


def accepted(placement: Placement) -> bool:
    try:
        verify(placement)
    except CheckError:
        return False
    return True


@pytest.mark.parametrize("name", CASES)
def test_the_model_finds_what_the_checker_accepts(name: str) -> None:
    whole, pattern = asked(name)
    for problem in problems(whole, "it", pattern):
        found, complete = solutions(problem, CONSTRAINTS, Settings(), Deadline(10))
        assert complete
        assert len(found) == len(set(found))
        assert {each for each in found if spread(each)} == {
            each for each in everything(problem) if spread(each) and accepted(each)
        }


@pytest.mark.parametrize("name", CASES)
def test_placements_that_are_alike_leave_the_fewest_invocations(name: str) -> None:
    whole, pattern = asked(name)
    every = [
        each
        for problem in problems(whole, "it", pattern)
        for each in solutions(problem, CONSTRAINTS, Settings(), Deadline(10))[0]
    ]
    plain, _ = placements(whole, "it", pattern, Settings(), Deadline(10))
    assert set(plain) <= set(every)
    for covered in {each.covered for each in every}:
        least = min(each.invocations for each in every if each.covered == covered)
        assert least == min(each.invocations for each in plain if each.covered == covered)


@pytest.mark.parametrize("rule", CONSTRAINTS, ids=lambda rule: rule.__name__.rpartition(".")[2])
def test_no_rule_can_be_left_out(rule: ModuleType) -> None:
    others = tuple(each for each in CONSTRAINTS if each is not rule)

    def refused(name: str) -> bool:
        whole, pattern = asked(name)
        wrong = (
            placement
            for problem in problems(whole, "it", pattern)
            for placement in solutions(problem, others, Settings(), Deadline(10))[0]
        )
        return any(spread(each) and not accepted(each) for each in wrong)

    assert any(map(refused, CASES))
