"""Nothing is lost: three independent methods find the same embeddings of small instructions in small operators.

Plain backtracking knows only the rules of an embedding, point by point. The graph search is networkx's subgraph
monomorphism on graphs cut out of the scalar dataflow graph. The table model is what the solver enumerates.
"""

from collections.abc import Callable, Iterator
from itertools import combinations, product

import networkx as nx
import pytest
from networkx.algorithms.isomorphism import GraphMatcher

import dataflow
from dataflow.computation import Computation
from dataflow.expression import Read
from dataflow.graph import elements_used, scalar_graph
from embed.binding import Binding, bindings
from embed.solver.tables import embeddings

Point = tuple[int, ...]
Images = tuple[Point, ...]


def gemm(i: int, j: int, k: int) -> Computation:
    return dataflow.infer("acc[i,j] += a[i,k] * b[j,k]", {"i": i, "j": j, "k": k}, "i8")


def dot(k: int) -> Computation:
    return dataflow.infer("acc += a[k] * b[k]", {"k": k}, "i8")


def broadcast_fma(lanes: int) -> Computation:
    return dataflow.infer("acc[l] += a[l] * b", {"l": lanes}, "i8")


def lane_fma(lanes: int) -> Computation:
    return dataflow.infer("acc[l] += a[l] * b[l]", {"l": lanes}, "i8")


def outer(i: int, j: int) -> Computation:
    return dataflow.infer("acc[i,j] += a[i] * b[j]", {"i": i, "j": j}, "i8")


def lane_dot(lanes: int, k: int) -> Computation:
    return dataflow.infer("acc[l] += a[l,k] * b[l,k]", {"l": lanes, "k": k}, "i8")


def fused_dot(i: int, k: int) -> Computation:
    return dataflow.infer("acc += a[i,k] * b[i,k]", {"i": i, "k": k}, "i8")


def window(x: int, r: int) -> Computation:
    return dataflow.infer("acc[x] += a[x+r] * b[r]", {"x": x, "r": r}, "i8")


def strided_window(x: int, r: int) -> Computation:
    return dataflow.infer("acc[x] += a[2*x+r] * b[r]", {"x": x, "r": r}, "i8")


def window_2d(y: int, x: int, r: int, s: int) -> Computation:
    sizes = {"y": y, "x": x, "r": r, "s": s}
    return dataflow.infer("acc[y,x] += a[y+r,x+s] * b[r,s]", sizes, "i8")


def channel_window(k: int, x: int, r: int) -> Computation:
    return dataflow.infer("acc[k,x] += a[x+r] * b[k,r]", {"k": k, "x": x, "r": r}, "i8")


STRIDED_2D = dataflow.conv2d(c=1, h=4, w=5, k=2, r=2, s=3, stride=(1, 2)).main
OVERLAPPING_2D = dataflow.conv2d(c=1, h=3, w=3, k=2, r=2, s=2).main
GROUPED_2D = dataflow.conv2d(c=4, h=2, w=3, k=4, r=1, s=2, groups=2).main
DEPTHWISE = dataflow.depthwise_conv2d(c=2, h=3, w=3, r=2, s=2).main
OVERLAPPING_1D = dataflow.conv1d(c=2, w=4, k=2, s=2).main
STRIDED_1D = dataflow.conv1d(c=1, w=5, k=4, s=3, stride=2).main
DILATED_1D = dataflow.conv1d(c=1, w=7, k=2, s=3, dilation=2).main
STRIDED_DILATED_1D = dataflow.conv1d(c=1, w=10, k=2, s=3, stride=2, dilation=3).main
PADDED_1D = dataflow.conv1d(c=2, w=3, k=2, s=2, pad=1).main
GROUPED_PADDED_1D = dataflow.conv1d(c=4, w=2, k=4, s=2, pad=1, groups=2).main

# Each row: instruction, operator, and the number of embeddings for the binding in order and for the swapped one.
CASES: dict[str, tuple[Computation, Computation, tuple[int, int]]] = {
    "gemm 1x2x2 in gemm": (gemm(1, 2, 2), dataflow.gemm(m=2, n=3, k=4).main, (144, 72)),
    "gemm 2x2x2 in gemm": (gemm(2, 2, 2), dataflow.gemm(m=3, n=2, k=2).main, (24, 24)),
    "gemm 2x2x2 in batched gemm": (gemm(2, 2, 2), dataflow.batched_gemm(batch=2, m=2, n=2, k=2).main, (16, 16)),
    "gemm 1x4x2 in gemv": (gemm(1, 4, 2), dataflow.gemv(m=4, k=4).main, (0, 288)),
    "gemm 1x2x3 in gemv": (gemm(1, 2, 3), dataflow.gemv(m=3, k=5).main, (0, 360)),
    "gemm 2x2x2 in overlapping conv1d": (gemm(2, 2, 2), OVERLAPPING_1D, (160, 160)),
    "gemm 1x2x2 in overlapping conv1d": (gemm(1, 2, 2), OVERLAPPING_1D, (104, 144)),
    "gemm 1x4x2 in strided conv1d": (gemm(1, 4, 2), STRIDED_1D, (288, 0)),
    "gemm 2x1x2 in dilated conv1d": (gemm(2, 1, 2), DILATED_1D, (72, 52)),
    "gemm 2x2x2 in strided dilated conv1d": (gemm(2, 2, 2), STRIDED_DILATED_1D, (24, 24)),
    "gemm 2x2x2 in padded conv1d": (gemm(2, 2, 2), PADDED_1D, (144, 144)),
    "gemm 1x2x2 in padded conv1d": (gemm(1, 2, 2), PADDED_1D, (104, 80)),
    "gemm 1x2x2 in grouped padded conv1d": (gemm(1, 2, 2), GROUPED_PADDED_1D, (128, 32)),
    "gemm 2x2x2 in overlapping conv2d": (gemm(2, 2, 2), OVERLAPPING_2D, (352, 352)),
    "gemm 1x2x3 in overlapping conv2d": (gemm(1, 2, 3), OVERLAPPING_2D, (192, 576)),
    "gemm 1x2x2 in strided conv2d": (gemm(1, 2, 2), STRIDED_2D, (600, 1800)),
    "gemm 1x2x2 in grouped conv2d": (gemm(1, 2, 2), GROUPED_2D, (256, 576)),
    "gemm 1x4x2 in depthwise conv2d": (gemm(1, 4, 2), DEPTHWISE, (0, 576)),
    "dot 2 in grouped conv2d": (dot(2), GROUPED_2D, (192, 192)),
    "dot 4 in gemm": (dot(4), dataflow.gemm(m=2, n=3, k=4).main, (144, 144)),
    "dot 4 in overlapping conv2d": (dot(4), OVERLAPPING_2D, (192, 192)),
    "dot 2 of 2 in gemv": (fused_dot(2, 2), dataflow.gemv(m=3, k=5).main, (360, 360)),
    "broadcast fma 4 in strided conv1d": (broadcast_fma(4), STRIDED_1D, (0, 1776)),
    "broadcast fma 4 in gemv": (broadcast_fma(4), dataflow.gemv(m=4, k=4).main, (96, 0)),
    "broadcast fma 2 in strided conv2d": (broadcast_fma(2), STRIDED_2D, (360, 248)),
    "lane fma 2 in batched gemm": (lane_fma(2), dataflow.batched_gemm(batch=2, m=2, n=2, k=2).main, (224, 224)),
    "lane dot 2x2 in strided dilated conv1d": (lane_dot(2, 2), STRIDED_DILATED_1D, (432, 432)),
    "window 3 of 2 in overlapping conv1d": (window(3, 2), OVERLAPPING_1D, (8, 0)),
    "window 2 of 2 in overlapping conv2d": (window(2, 2), OVERLAPPING_2D, (40, 0)),
    "window 2 of 3 in strided conv1d": (window(2, 3), STRIDED_1D, (0, 0)),
    "window 2 of 2 in dilated conv1d": (window(2, 2), DILATED_1D, (8, 4)),
    "window 2 of 2 in padded conv1d": (window(2, 2), PADDED_1D, (8, 0)),
    "window 2 of 2 in gemm": (window(2, 2), dataflow.gemm(m=2, n=3, k=4).main, (0, 0)),
    "window 2 of 2 in depthwise conv2d": (window(2, 2), DEPTHWISE, (40, 0)),
    "strided window 2 of 3 in strided conv1d": (strided_window(2, 3), STRIDED_1D, (8, 0)),
    "strided window 2 of 3 in strided conv2d": (strided_window(2, 3), STRIDED_2D, (352, 0)),
    "window 2x2 of 2x2 in overlapping conv2d": (window_2d(2, 2, 2, 2), OVERLAPPING_2D, (16, 0)),
    "window 2 of 2 for 2 channels in overlapping conv2d": (channel_window(2, 2, 2), OVERLAPPING_2D, (72, 0)),
    "outer 2x2 in strided conv2d": (outer(2, 2), STRIDED_2D, (728, 728)),
    "outer 2x3 in overlapping conv2d": (outer(2, 3), OVERLAPPING_2D, (192, 192)),
}


@pytest.mark.parametrize("name", CASES)
def test_three_methods_find_the_same_embeddings(name: str) -> None:
    pattern, operator, counts = CASES[name]
    found = bindings(operator, pattern)
    assert len(found) == 2
    for binding, count in zip(found, counts, strict=True):
        tables = [embedding.images for embedding in embeddings(operator, pattern, binding)]
        searched = list(backtrack(operator, pattern, binding))
        matched = list(match_graphs(operator, pattern, binding))
        assert (len(searched), len(matched), len(tables)) == (count, count, count)
        assert set(searched) == set(matched) == set(tables)
        assert len(set(tables)) == count


# Method 1: rules 1 to 4 on single points, in plain Python.


def backtrack(operator: Computation, pattern: Computation, binding: Binding) -> Iterator[Images]:
    """Images of the instruction's points in order, one point after the other."""
    lanes = [used for _, used in used_elements(pattern, {name: name for name in binding.tensors})]
    points = [(x, used) for x, used in used_elements(operator, binding.tensors) if None not in used.values()]
    agree = agreement(pattern.output.tensor)

    def extend(chosen: list[tuple[Point, dict[str, Point | None]]]) -> Iterator[Images]:
        if len(chosen) == len(lanes):
            yield tuple(point for point, _ in chosen)
            return
        lane = lanes[len(chosen)]
        for point, used in points:
            earlier = zip(lanes, chosen, strict=False)
            if all(point != taken and agree(lane, other, used, theirs) for other, (taken, theirs) in earlier):
                yield from extend([*chosen, (point, used)])

    return extend([])


def agreement(output: str) -> Callable[..., bool]:
    """Rules 2 and 3 for two lanes and their two points."""

    def agree(
        lane: dict[str, Point], other: dict[str, Point], used: dict[str, Point], theirs: dict[str, Point]
    ) -> bool:
        for operand, element in lane.items():
            same, shared = element == other[operand], used[operand] == theirs[operand]
            if same != shared and (same or operand == output):
                return False
        return True

    return agree


def used_elements(computation: Computation, tensors: dict[str, str]) -> Iterator[tuple[Point, dict[str, Point | None]]]:
    """Every point and, by operand, the index of the element that it uses; None where that is padding."""
    names = [dim.name for dim in computation.dims]
    for point in product(*(range(dim.extent) for dim in computation.dims)):
        place = dict(zip(names, point, strict=True))
        yield point, {operand: element(computation, tensor, place) for operand, tensor in tensors.items()}


def element(computation: Computation, tensor: str, place: dict[str, int]) -> Point | None:
    read: Read = next(r for r in (computation.output, *computation.reads) if r.tensor == tensor)
    index = tuple(part.constant + sum(factor * place[dim] for dim, factor in part.terms) for part in read.index)
    inside = all(0 <= value < size for value, size in zip(index, computation.tensor(tensor).shape, strict=True))
    return index if inside else None


# Method 2: subgraph monomorphism. Sums are nodes, so that two accumulators cannot share one; inputs are edges.


def match_graphs(operator: Computation, pattern: Computation, binding: Binding) -> Iterator[Images]:
    """Images of the instruction's points in order, from networkx's matches of one graph in the other."""
    large = sharing_graph(operator, binding.operands)
    small = sharing_graph(pattern, {name: name for name in binding.tensors})
    matcher = GraphMatcher(
        large,
        small,
        node_match=lambda one, other: one["label"] == other["label"],
        edge_match=lambda one, other: other["shared"] <= one["shared"],
    )
    lanes = sorted(node for node, kind in small.nodes(data="label") if kind != "sum")
    for match in matcher.subgraph_monomorphisms_iter():
        image = {lane: node for node, lane in match.items()}
        yield tuple(image[lane][1] for lane in lanes)


def sharing_graph(computation: Computation, roles: dict[str, str]) -> nx.Graph:
    """The products and sums of the scalar dataflow graph, with an edge between products that use one element."""
    graph = scalar_graph(computation)
    found = nx.Graph()
    uses = {}
    for added, total in (
        (source, node) for node in graph if node[0] == "result" for source in graph.predecessors(node)
    ):
        uses[added] = {(roles[tensor], index) for _, tensor, index in elements_used(graph, added)}
        found.add_node(added, label=frozenset(role for role, _ in uses[added]))
        found.add_node(total, label="sum")
        found.add_edge(added, total, shared=frozenset({"sum"}))
    for one, other in combinations(uses, 2):
        shared = frozenset(role for role, _ in uses[one] & uses[other])
        if shared:
            found.add_edge(one, other, shared=shared)
    return found
