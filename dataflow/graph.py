"""The scalar dataflow graph of a small computation, node by node: what `dataflow.symbolic` says in matrices, spelt out.

Nodes are tuples. `("element", tensor, index)` is an element that is read, `("constant", value)` a literal or the zero
that a read outside its tensor yields, `("scalar", point, path)` the node of the body at `path` (argument numbers from
the root) evaluated at one point, `("result", tensor, index)` an element after the computation.
"""

import networkx as nx

from dataflow.computation import Computation
from dataflow.errors import UserError
from dataflow.expression import Apply, Cast, Const, Expression, Read, children, walk

Point = tuple[int, ...]
Node = tuple[object, ...]

LARGEST = 200_000
"""Scalars of the largest graph that is built by default."""


def scalar_graph(computation: Computation, largest: int = LARGEST) -> nx.DiGraph:
    """One node for every scalar and one edge for every use, from the operand to the user.

    Node attributes: `kind` (element, constant, cast, operation, sum or store), `label` (tensor name, value, type or
    operation) and, for the scalars of the body, `point`. Edge attribute `positions`: the argument numbers of the use,
    more than one where a scalar is used twice. A result that accumulates is one `sum` of what all its points add, in
    no order. Raises UserError if the body has more than `largest` scalars over the box.
    """
    scalars = computation.points * sum(1 for _ in walk(computation.body))
    if scalars > largest:
        raise UserError(
            f"the graph of '{computation}' has {scalars} scalars, more than {largest}; make its sizes smaller"
        )
    builder = _Builder(computation)
    for point in _points(computation):
        builder.write(point)
    return builder.graph


def elements_used(graph: nx.DiGraph, node: Node) -> frozenset[Node]:
    """The elements that flow into a node; a read of padding is a constant and not among them."""
    return frozenset(source for source in nx.ancestors(graph, node) if source[0] == "element")


def _points(computation: Computation) -> list[Point]:
    points: list[Point] = [()]
    for dim in computation.dims:
        points = [(*point, value) for point in points for value in range(dim.extent)]
    return points


class _Builder:
    """Adds the scalars of one point after another."""

    def __init__(self, computation: Computation) -> None:
        self.computation = computation
        self.graph: nx.DiGraph = nx.DiGraph()
        self.names = [dim.name for dim in computation.dims]

    def write(self, point: Point) -> None:
        root = self.scalar(self.computation.body, point, ())
        output = self.computation.output
        result: Node = ("result", output.tensor, self.index(output, point))
        kind = "sum" if self.computation.accumulate else "store"
        self.graph.add_node(result, kind=kind, label=output.tensor)
        self.use(root, result, 0)

    def scalar(self, body: Expression, point: Point, path: Point) -> Node:
        """The node of `body` at `point`, with all it depends on."""
        match body:
            case Const(value):
                return self.constant(value)
            case Read():
                return self.element(body, point)
            case Cast(label, _):
                kind = "cast"
            case Apply(label, _):
                kind = "operation"
        node: Node = ("scalar", point, path)
        self.graph.add_node(node, kind=kind, label=label, point=point)
        for position, argument in enumerate(children(body)):
            self.use(self.scalar(argument, point, (*path, position)), node, position)
        return node

    def element(self, read: Read, point: Point) -> Node:
        index = self.index(read, point)
        shape = self.computation.tensor(read.tensor).shape
        if not all(0 <= value < size for value, size in zip(index, shape, strict=True)):
            return self.constant(0)
        node: Node = ("element", read.tensor, index)
        self.graph.add_node(node, kind="element", label=read.tensor)
        return node

    def constant(self, value: int | float) -> Node:
        node: Node = ("constant", value)
        self.graph.add_node(node, kind="constant", label=value)
        return node

    def index(self, read: Read, point: Point) -> Point:
        place = dict(zip(self.names, point, strict=True))
        return tuple(index.evaluate(place) for index in read.index)

    def use(self, source: Node, user: Node, position: int) -> None:
        earlier = self.graph.get_edge_data(source, user, {"positions": ()})["positions"]
        self.graph.add_edge(source, user, positions=(*earlier, position))
