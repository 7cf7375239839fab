"""The Pareto front and lane strides, against their definitions on all embeddings and all addresses."""

from typing import Any

import numpy as np
import pytest
from regular import SMALL

import embed
from dataflow import conv2d, depthwise_conv2d, gemm
from embed.embedding import Embedding
from embed.pareto import criteria, lane_strides

OPERATORS = {
    "convolution": conv2d(c=3, h=6, w=7, k=5, r=3, s=2, stride=2, pad=1),
    "depthwise": depthwise_conv2d(c=3, h=5, w=5, r=2, s=2),
    "gemm": gemm(m=6, n=5, k=9),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_the_front_is_what_nothing_beats(name: str) -> None:
    everything = embed.alternatives(OPERATORS[name], SMALL, dominated=True)
    points = [criteria(*one) for one in everything.ranked]
    expected = {one for one in points if not any(beats(other, one) for other in points)}
    found = [criteria(one.embedding, one.costs) for one in everything.pareto()]
    assert set(found) == expected
    assert len(found) == len(expected), "one of equals"


def beats(other: tuple[float, ...], one: tuple[float, ...]) -> bool:
    return other != one and all(a <= b for a, b in zip(other, one, strict=True))


@pytest.mark.parametrize("name", OPERATORS)
def test_lane_strides_are_digits_whose_first_two_lanes_are_no_neighbours(name: str) -> None:
    for solution in embed.alternatives(OPERATORS[name], SMALL):
        assert lane_strides(solution.embedding) == counted(solution.embedding)


def counted(embedding: Embedding) -> int:
    """Addresses at the first two lanes of every digit, in tensors that lie row-major."""
    shapes = {tensor.name: tensor.shape for tensor in embedding.operator.main.tensors}
    found = 0
    for operand, name in embedding.binding.pairs:
        used = {dim for index in embedding.pattern.accesses[operand].index for dim in index.dims}
        for lane in used:
            inner = 1
            for digit in embedding.digits_of(lane):
                first, second = (address(embedding, name, shapes, lane, place) for place in (0, inner))
                found += abs(second - first) > 1
                inner *= digit.radix
    return found


def address(embedding: Embedding, name: str, shapes: dict[str, tuple[int, ...]], lane: str, place: int) -> int:
    origin = {loop.name: 0 for loop in embedding.loops}
    lanes: dict[str, Any] = {each: np.array(place if each == lane else 0) for each in embedding.lanes}
    point, _ = embedding.points(origin, lanes)
    read = embedding.accesses[name]
    total = 0
    for index, extent in zip(read.index, shapes[read.tensor], strict=True):
        total = total * extent + sum(int(point[dim]) * factor for dim, factor in index.terms)
    return total
