"""The model of a core: units against a flow, bytes against counting, and the ranking that follows from its prices."""

from collections.abc import Mapping
from itertools import product

import networkx as nx
import numpy as np
import pytest
from here import NATIVE, TARGET, arrays
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

import isa
from dataflow import conv2d, evaluate, gemm, requantise
from dataflow.operator import Operator
from embed.cpu.choosing import core
from embed.cpu.choosing.core import Units
from embed.cpu.choosing.rank import ACCURACY, Ranking
from embed.cpu.choosing.reach import Reach
from embed.cpu.compile import candidates, compile_cpu, kernel_of
from embed.errors import NoEmbedding
from embed.solver.deadline import Deadline
from isa.model import Cost, MicroOperations

PORTS = ("p0", "p1", "p5")


def least_cycles(costs: list[Cost], counts: list[int], most: float = 1000) -> float:
    """The least time in which all micro-operations find a unit, by maximum flows; they may be divided."""
    need = sum(uop.count * count for cost, count in zip(costs, counts, strict=True) for uop in cost.uops)
    low, high = 0.0, most
    for _ in range(40):
        time = (low + high) / 2
        graph = nx.DiGraph()
        graph.add_nodes_from(["from", "to"])
        for place, (cost, count) in enumerate(zip(costs, counts, strict=True)):
            for number, uop in enumerate(cost.uops):
                graph.add_edge("from", (place, number), capacity=uop.count * count)
                for unit in uop.units:
                    graph.add_edge((place, number), unit)
        for unit in PORTS:
            graph.add_edge(unit, "to", capacity=time)
        fits = need == 0 or nx.maximum_flow_value(graph, "from", "to") >= need - 1e-6
        low, high = (low, time) if fits else (time, high)
    return high


UOPS = st.builds(
    MicroOperations,
    st.integers(1, 2),
    st.lists(st.sampled_from(PORTS), min_size=1, unique=True).map(lambda found: tuple(sorted(found))),
)


@settings(max_examples=25, deadline=None)
@drawn(st.lists(st.lists(UOPS, min_size=1, max_size=2), min_size=1, max_size=3), st.data())
def test_units_take_what_a_flow_takes(uops: list[list[MicroOperations]], data: st.DataObject) -> None:
    costs = [Cost("", 0, {}, tuple(parts), 4) for parts in uops]
    counts = [data.draw(st.integers(0, 5)) for _ in costs]
    rows = core._rows(costs, dispatch=1000)
    assert Units(rows).cycles(counts) == pytest.approx(least_cycles(costs, counts), abs=1e-3)


def ranking(operator: Operator, layouts: Mapping[str, str], **options: object) -> Ranking:
    return candidates(operator, isa.load("avx512"), layouts=layouts, **options)  # type: ignore[arg-type]


NHWC = {"inp": "NHWC", "out": "NHWC"}
SMALL = [
    (gemm(m=9, n=40, k=6, dtype="f32"), {}),
    (gemm(m=40, n=5, k=6, dtype="f32"), {"a": "CR", "b": "CR", "out": "CR"}),
    (conv2d(c=3, h=6, w=9, k=5, r=3, s=2, pad=1, dtype="f32"), NHWC),
]


@pytest.mark.parametrize(("operator", "layouts"), SMALL, ids=str)
def test_bytes_are_those_of_the_elements_touched(operator: Operator, layouts: dict[str, str]) -> None:
    """Of tensors in place, for some iterations of each loop from the first on: every element counted."""
    found = ranking(operator, layouts).candidates[0]
    kernel = compile_cpu(operator, isa.load("avx512"), layouts=layouts, embedding=found.embedding)
    main = operator.main
    radix = {digit.loop: digit.radix for digit in found.embedding.digits}
    spans = {loop.name: min(2, loop.extent) for loop in found.embedding.loops}
    points = {
        dim: range(min(main.extents[dim], spans[loop.name] * radix.get(loop.name, 1)))
        for loop in found.embedding.loops
        for dim in loop.dims
    }
    for operand, stream in kernel.streams.items():
        if stream.feed.layout is not None:
            continue
        read = main.accesses[stream.tensor]
        dims = sorted({dim for index in read.index for dim in index.dims})
        at = [dict(zip(dims, values, strict=True)) for values in product(*(points[dim] for dim in dims))]
        touched = {tuple(index.evaluate(point) for index in read.index) for point in at}
        owners = {dim: loop for loop in found.embedding.loops for dim in loop.dims}
        reach = Reach(found.embedding, operand, found.site.ways[operand], owners)
        assert reach.bytes(spans) == 4 * len(touched), operand


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("operator", "layouts"), SMALL, ids=str)
def test_the_ranking_never_prefers_what_costs_more(operator: Operator, layouts: dict[str, str], threads: int) -> None:
    found = ranking(operator, layouts, threads=threads, thorough=True)
    prices = [candidate.price.total for candidate in found.candidates]
    assert prices[0] <= ACCURACY * min(prices)
    assert prices[1:] == sorted(prices[1:])
    assert len({str(candidate.embedding) for candidate in found.candidates}) > 2
    again = ranking(operator, layouts, threads=threads, thorough=True)
    assert list(map(str, again.candidates)) == list(map(str, found.candidates))
    best = ranking(operator, layouts, threads=threads).candidates[0]
    assert best.price.total <= ACCURACY * min(prices)


@NATIVE
@pytest.mark.parametrize(("operator", "layouts"), SMALL, ids=str)
def test_every_candidate_is_right(operator: Operator, layouts: dict[str, str]) -> None:
    for candidate in candidates(operator, TARGET, layouts=layouts, thorough=True).candidates[::3]:
        kernel = kernel_of(operator, candidate, layouts=layouts)
        given = arrays(kernel)
        assert np.array_equal(kernel(**given), evaluate(operator, given)), str(candidate)


def test_what_fits_a_cache_comes_once_and_what_does_not_comes_with_each_tile() -> None:
    """A product whose operands fit no cache but the last, by hand."""
    operator = gemm(m=1024, n=1024, k=1024, dtype="f32")
    found = ranking(operator, {}).candidates[0]
    tiles = found.schedule.tiles
    size = 4 * 1024 * 1024
    beyond_l1 = found.price.transfers[0]
    rate = isa.load("avx512").timing["l2_read"]
    streamed = (1024 / tiles["m"] + 1024 / (16 * tiles["n_o"]) + 1) * size / rate
    assert beyond_l1 == pytest.approx(streamed, rel=0.1)


def test_a_time_limit_says_what_it_has() -> None:
    operator = conv2d(c=3, h=6, w=9, k=5, r=3, s=2, pad=1, dtype="f32")
    with pytest.raises(
        NoEmbedding, match=r"the time limit of 1e-09 s ended the search .* before an embedding was found"
    ):
        ranking(operator, NHWC, deadline=Deadline(1e-9))
    assert ranking(operator, NHWC).note == ""


def test_an_output_has_the_bytes_that_its_epilogue_leaves() -> None:
    sums = conv2d(c=64, h=56, w=56, k=256, r=1, s=1, dtype="u8*i8")
    target = isa.load("avx512_vnni")
    found = [candidates(each, target, layouts=NHWC).candidates[0] for each in (sums, requantise(sums, dtype="u8"))]
    beyond = [candidate.price.transfers[-1] * target.timing["memory_read"] for candidate in found]
    assert beyond[0] - beyond[1] == pytest.approx(3 * sums.output.size, rel=0.01)
