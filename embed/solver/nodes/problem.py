"""What the per-node model is about: the instruction's nodes, the elements they use, and what each may be."""

from dataclasses import dataclass
from functools import cached_property
from itertools import product

from dataflow.computation import Tensor
from dataflow.expression import Const, Read
from dataflow.sums import Addend, Sums
from embed.nodes.labels import Match, matches

Point = tuple[int, ...]
Element = tuple[str, Point]


@dataclass(frozen=True, slots=True)
class Node:
    """One addend of the instruction at one point of its statement's box."""

    addend: Addend
    point: Point


@dataclass(frozen=True)
class Problem:
    """Place the nodes of `pattern` in `operator`."""

    operator: Sums
    pattern: Sums

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """Addend by addend, the points row-major."""
        return tuple(Node(addend, point) for addend in self.pattern.addends for point in self.points(addend))

    @cached_property
    def matches(self) -> dict[Addend, tuple[Match, ...]]:
        return {addend: matches(self.operator, self.pattern, addend) for addend in self.pattern.addends}

    @cached_property
    def constants(self) -> tuple[Const, ...]:
        """Literals of the operator that an operand may hold."""
        held = (each for found in self.matches.values() for match in found for each in match.held)
        return tuple(dict.fromkeys(each for each in held if isinstance(each, Const)))

    @cached_property
    def tensors(self) -> tuple[Tensor, ...]:
        """The operator's tensors, and after them each literal as a scalar that only it is."""
        literals = (Tensor(str(each.value), "literal", ()) for each in self.constants)
        return (*self.operator.tensors.values(), *literals)

    def number(self, held: Read | Const) -> int:
        """The place among `tensors` of what a read holds."""
        if isinstance(held, Const):
            return len(self.operator.tensors) + self.constants.index(held)
        return list(self.operator.tensors).index(held.tensor)

    def points(self, addend: Addend) -> tuple[Point, ...]:
        dims = self.pattern.statements[addend.statement].dims
        return tuple(product(*(range(dim.extent) for dim in dims)))

    def element(self, node: Node, read: Read) -> Element:
        """The element of an operand that a node reads or writes."""
        names = [dim.name for dim in self.pattern.statements[node.addend.statement].dims]
        place = dict(zip(names, node.point, strict=True))
        return read.tensor, tuple(index.evaluate(place) for index in read.index)

    def written(self, node: Node) -> Element:
        return self.element(node, self.pattern.output(node.addend))
