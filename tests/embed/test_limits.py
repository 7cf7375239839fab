"""Lists of embeddings below a number of cycles: those of the whole list that take fewer, each once."""

from dataclasses import replace

import pytest

import isa
from dataflow import Operator, conv2d, gemm, requantise
from embed.costs import evaluate
from embed.solver.deadline import Deadline
from embed.solver.model import Placements
from embed.solver.questions import every
from embed.solver.settings import Settings

LITTLE = isa.load("vta", {"batch": 2, "block_in": 4, "block_out": 4})

CASES = [
    requantise(conv2d(n=2, c=3, h=5, w=5, k=6, r=3, s=3, pad=1)),
    requantise(conv2d(n=3, c=2, h=5, w=4, k=4, r=2, s=2, stride=2)),
    requantise(gemm(m=5, n=12, k=9), bias=True),
]


@pytest.mark.parametrize("operator", CASES, ids=lambda operator: operator.title)
@pytest.mark.parametrize("relax", [(), ("split",), ("toeplitz",)], ids=str)
def test_a_limit_leaves_what_takes_fewer_cycles(operator: Operator, relax: tuple[str, ...]) -> None:
    asked = replace(Settings(), relax=relax)
    for problem in list(every(operator, LITTLE, asked))[:4]:
        found = list(Placements(problem).stream(asked, Deadline(60), maximal=False))
        cycles = {str(one): evaluate(one, problem.rates).total for one in found}
        for below in sorted({0, *list(cycles.values())[::9], max(cycles.values()) + 1})[:4]:
            fewer = [str(one) for one in Placements(problem).stream(asked, Deadline(60), False, below)]
            assert sorted(fewer) == sorted(one for one in map(str, found) if cycles[one] < below)
