"""Instructions whose lanes slide over an operand: every regular embedding that shares rightly, and no other."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import regular

import dataflow
import embed
import isa
from dataflow import Operator
from embed.binding import bindings
from embed.checker import CheckError, verify
from embed.embedding import Embedding, Placeable
from embed.errors import NoEmbedding
from embed.solver.deadline import Deadline
from embed.solver.listing import written
from embed.solver.settings import Settings

ENGINE = isa.load(str(Path(__file__).parent.parent / "isa_files" / "conv_engine.toml"))
OPERATORS = {
    "conv2d": dataflow.conv2d(c=2, h=5, w=9, k=2, r=3, s=3),
    "padded conv2d": dataflow.conv2d(c=1, h=4, w=9, k=2, r=2, s=4, pad=1),
    "strided conv2d": dataflow.conv2d(c=2, h=7, w=9, k=2, r=3, s=3, stride=(1, 2)),
    "dilated conv2d": dataflow.conv2d(c=1, h=7, w=9, k=2, r=2, s=3, stride=2, dilation=2),
    "depthwise conv2d": dataflow.depthwise_conv2d(c=3, h=6, w=6, r=3, s=2),
    "gemm": dataflow.gemm(m=5, n=9, k=7),
}


def brute_force(operator: Operator) -> Iterator[Embedding]:
    """Every regular placement that breaks no rule, looked at point by point in plain Python."""
    instruction = Placeable.of(ENGINE, "convolve")
    for binding in bindings(operator.main, instruction.pattern):
        for embedding in regular.placements(operator, instruction, binding):
            if regular.full(embedding) and shares(embedding):
                yield embedding


def shares(embedding: Embedding) -> bool:
    """Whether busy lanes that use one element of an operand use one element of its tensor."""
    reads = regular.reads(embedding.operator, embedding.binding)
    for origin in regular.invocations(embedding):
        held: dict[tuple[str, tuple[int, ...]], tuple[int, ...]] = {}
        for lane in regular.lane_positions(embedding):
            point = regular.phi(embedding, origin, lane)
            if point is None:
                continue
            for operand, read in embedding.pattern.accesses.items():
                register = operand, tuple(index.evaluate(lane) for index in read.index)
                element = tuple(index.evaluate(point) for index in reads[operand].index)
                if held.setdefault(register, element) != element:
                    return False
    return True


def placed(embedding: Embedding) -> object:
    """The map itself, all invocations, with the smallest radices for their runs.

    A fused digit whose runs end with its inner dim is that dim alone, with a loop over the other.
    """
    digits = tuple(
        replace(digit, radix=-(-embedding.size(digit) // embedding.steps(digit))) for digit in embedding.digits
    )
    return regular.executed(replace(embedding, digits=digits))


@pytest.mark.parametrize("name", OPERATORS)
def test_the_solver_finds_what_brute_force_finds(name: str) -> None:
    operator = OPERATORS[name]
    wanted = {placed(embedding) for embedding in brute_force(operator)}
    found = {placed(solution.embedding) for solution in written(operator, ENGINE, Settings(), False, Deadline(60))}
    assert found == wanted
    assert wanted


def test_the_checker_refuses_lanes_that_do_not_slide() -> None:
    operator = dataflow.conv2d(c=1, h=4, w=5, k=1, r=3, s=3)
    instruction = Placeable.of(ENGINE, "convolve")
    [binding, *_] = bindings(operator.main, instruction.pattern)
    few = [embedding for embedding in regular.placements(operator, instruction, binding) if embedding.invocations <= 24]
    wrong = [embedding for embedding in few if not shares(embedding)]
    assert wrong
    for embedding in wrong:
        with pytest.raises(CheckError, match="sharing"):
            verify(embedding)


def test_an_operator_without_windows_leaves_taps_idle() -> None:
    found = embed.best(dataflow.gemm(m=16, n=16, k=16), ENGINE).embedding
    assert found.utilisation == pytest.approx(1 / 3)
    with pytest.raises(NoEmbedding):
        embed.best(dataflow.gemm(m=4, n=4, k=4, dtype="f32"), ENGINE)
