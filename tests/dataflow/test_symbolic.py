"""The symbolic dataflow graph against the explicit one, and integer kernels against plain search."""

from itertools import combinations, product
from math import gcd

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dataflow
from dataflow.computation import Computation
from dataflow.graph import elements_used, scalar_graph
from dataflow.symbolic import (
    Access,
    accesses,
    common_kernel,
    dims_used,
    integer_kernel,
    short_kernel_vectors,
    split_matrix,
)

SMALL = [
    dataflow.gemm(m=2, n=3, k=2).main,
    dataflow.gemv(m=2, k=3).main,
    dataflow.conv1d(c=2, w=6, k=2, s=3, stride=2).main,
    dataflow.conv1d(c=1, w=7, k=2, s=2, dilation=3, pad=2).main,
    dataflow.conv2d(c=4, h=2, w=3, k=4, r=1, s=2, groups=2).main,
    dataflow.depthwise_conv2d(c=2, h=3, w=2, r=2, s=2, pad=(1, 0)).main,
]


def box(computation: Computation) -> list[tuple[int, ...]]:
    return list(product(*(range(dim.extent) for dim in computation.dims)))


@pytest.mark.parametrize("computation", SMALL, ids=str)
def test_elements_are_those_of_the_explicit_graph(computation: Computation) -> None:
    graph = scalar_graph(computation)
    for point in box(computation):
        used = {name: index for _, name, index in elements_used(graph, ("scalar", point, ()))}
        for name, access in list(accesses(computation).items())[1:]:
            inside = all(0 <= i < n for i, n in zip(access.element(point), computation.tensor(name).shape, strict=True))
            assert used.get(name) == (access.element(point) if inside else None)


@pytest.mark.parametrize("computation", SMALL, ids=str)
def test_points_share_an_element_iff_their_elements_are_equal(computation: Computation) -> None:
    extents = [dim.extent for dim in computation.dims]
    for access in accesses(computation).values():
        split = Access(access.tensor, split_matrix(access, extents), ())
        for one, other in combinations(box(computation), 2):
            same = access.element(one) == access.element(other)
            assert access.shares(one, other) == same
            assert (split.shares(one, other)) == same


def test_dims_used() -> None:
    grouped = dataflow.conv1d(n=2, c=4, w=6, k=4, s=3, groups=2).main
    assert dims_used(grouped, "inp") == ("n", "g", "x", "c", "s")
    assert dims_used(grouped, "wgt") == ("g", "k", "c", "s")
    assert dims_used(grouped, "out") == ("n", "g", "k", "x")


matrices = st.integers(1, 5).flatmap(
    lambda width: st.lists(st.tuples(*[st.integers(-4, 4)] * width), max_size=4).map(lambda rows: (rows, width))
)


@given(matrices)
@settings(max_examples=150, deadline=None)
def test_the_kernel_basis_generates_every_kernel_vector(case: tuple[list[tuple[int, ...]], int]) -> None:
    rows, width = case
    basis = integer_kernel(rows, width)
    assert all(_dot(row, vector) == 0 for row in rows for vector in basis)
    assert len(basis) == width - _volume(tuple(rows))[0]
    assert _volume(basis)[1] == 1, "maximal minors without a common divisor: no integer vector is left out"


def _dot(row: tuple[int, ...], vector: tuple[int, ...]) -> int:
    return sum(a * b for a, b in zip(row, vector, strict=True))


def _volume(vectors: tuple[tuple[int, ...], ...]) -> tuple[int, int]:
    """Rank of the lattice and the common divisor of its maximal minors."""
    for rank in range(len(vectors), 0, -1):
        width = len(vectors[0])
        divisor = 0
        for rows in combinations(vectors, rank):
            for columns in combinations(range(width), rank):
                divisor = gcd(divisor, _determinant([[row[c] for c in columns] for row in rows]))
        if divisor:
            return rank, divisor
    return 0, 1


def _determinant(matrix: list[list[int]]) -> int:
    if not matrix:
        return 1
    minors = ([row[:c] + row[c + 1 :] for row in matrix[1:]] for c in range(len(matrix)))
    return sum((-1) ** c * matrix[0][c] * _determinant(minor) for c, minor in enumerate(minors))


@given(matrices, st.integers(0, 3), st.integers(1, 4))
@settings(max_examples=150, deadline=None)
def test_short_vectors_are_all_of_them(case: tuple[list[tuple[int, ...]], int], reach: int, terms: int) -> None:
    rows, width = case
    access = Access("t", tuple(rows), (0,) * len(rows))
    found = short_kernel_vectors([access], [reach] * width, terms)
    expected = {
        vector
        for vector in product(range(-reach, reach + 1), repeat=width)
        if gcd(*vector) == 1
        and next(value for value in vector if value) > 0
        and sum(map(bool, vector)) <= terms
        and all(_dot(row, vector) == 0 for row in rows)
    }
    assert set(found) == expected
    assert len(found) == len(expected)


def test_directions_of_a_strided_dilated_convolution() -> None:
    conv = dataflow.conv2d(c=64, h=99, w=99, k=64, r=3, s=3, stride=2, dilation=3).main
    names = [dim.name for dim in conv.dims]
    found = accesses(conv)
    short = short_kernel_vectors([found["inp"]], [4] * len(names))
    shown = [{n: v for n, v in zip(names, vector, strict=True) if v} for vector in short]
    assert shown == [{"k": 1}, {"y": 3, "r": -2}, {"x": 3, "s": -2}]
    assert common_kernel([found["inp"], found["wgt"]], len(names)) == ()
    assert short_kernel_vectors([found["inp"], found["wgt"]], [4] * len(names)) == ()


def test_every_direction_is_free_without_an_access() -> None:
    assert short_kernel_vectors([], [1, 1], terms=1) == ((1, 0), (0, 1))


def test_a_digit_is_split_off_only_where_it_cannot_carry() -> None:
    access = Access("t", ((12, 4, 1, 0),), (0,))
    assert split_matrix(access, (9, 3, 4, 5)) == ((0, 0, 1, 0), (0, 4, 0, 0), (12, 0, 0, 0))
    assert split_matrix(access, (9, 4, 4, 5)) == ((0, 0, 1, 0), (12, 4, 0, 0))
    assert split_matrix(access, (9, 3, 5, 5)) == ((12, 4, 1, 0),)
    assert split_matrix(Access("t", ((0, 0),), (1,)), (2, 2)) == ((0, 0),)


def test_the_explicit_graph_node_by_node() -> None:
    graph = scalar_graph(dataflow.infer("o[i] += a[i-1] * a[i-1]", {"i": 2}, "i8"))
    kinds = sorted(kind for _, kind in graph.nodes(data="kind"))
    assert kinds == ["cast"] * 4 + ["constant", "element"] + ["operation"] * 2 + ["sum"] * 2
    product_node = ("scalar", (1,), ())
    assert set(graph.predecessors(product_node)) == {("scalar", (1,), (0,)), ("scalar", (1,), (1,))}
    assert graph.edges[("scalar", (1,), (1,)), product_node]["positions"] == (1,)
    assert graph.nodes[product_node]["point"] == (1,)
    assert set(graph.predecessors(("scalar", (0,), (0,)))) == {("constant", 0)}
    assert nx.is_directed_acyclic_graph(graph)


def test_a_scalar_used_twice_is_one_edge_with_two_positions() -> None:
    graph = scalar_graph(dataflow.infer("o[i] = a[i] * a[i]", {"i": 1}, "f32"))
    assert graph.edges[("element", "a", (0,)), ("scalar", (0,), ())]["positions"] == (0, 1)


def test_a_sum_has_one_use_for_every_point_that_adds_to_it() -> None:
    computation = dataflow.gemm(m=2, n=3, k=5).main
    graph = scalar_graph(computation)
    sums = [node for node, kind in graph.nodes(data="kind") if kind == "sum"]
    assert [graph.in_degree(node) for node in sums] == [5] * 6


def test_an_updated_tensor_is_read_before_and_written_after() -> None:
    graph = scalar_graph(dataflow.infer("o[i] = o[i] + a[i]", {"i": 1}, "f32"))
    assert nx.has_path(graph, ("element", "o", (0,)), ("result", "o", (0,)))


def test_a_graph_that_is_too_large_says_so() -> None:
    with pytest.raises(dataflow.UserError, match="has 3000 scalars, more than 100; make its sizes smaller"):
        scalar_graph(dataflow.gemm(m=10, n=10, k=6).main, largest=100)
