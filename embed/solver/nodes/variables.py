"""The variables: for each node the operator's addend and point, for each operand element what it holds."""

from collections.abc import Callable
from dataclasses import dataclass, field

from ortools.sat.python import cp_model

from dataflow.affine import Affine
from dataflow.expression import Read
from dataflow.sums import Addend
from embed.nodes.labels import Match
from embed.solver.nodes.problem import Element, Node, Point, Problem

Expression = cp_model.LinearExpr | int


@dataclass(frozen=True, slots=True)
class NodeEmbedding:
    """A solution: (statement, place, point) of the operator for every node, and what each operand element holds.

    What is held is a tensor's name, or a literal's text, with an index.
    """

    nodes: tuple[tuple[int, int, Point], ...]
    held: frozenset[tuple[Element, Element]]


@dataclass(frozen=True)
class Variables:
    """`chosen` has a literal for every match of every node, `points` a coordinate for every dim of the operator.

    `elements` has for each operand element the number of a tensor and an index of as many coordinates as any has.
    """

    model: cp_model.CpModel
    problem: Problem
    chosen: dict[Node, dict[Match, cp_model.IntVar]] = field(default_factory=dict)
    points: dict[Node, dict[str, cp_model.IntVar]] = field(default_factory=dict)
    elements: dict[Element, list[cp_model.IntVar]] = field(default_factory=dict)

    @classmethod
    def of(cls, problem: Problem) -> "Variables":
        """A new model with the variables of `problem` and no constraint."""
        found = cls(cp_model.CpModel(), problem)
        for number, node in enumerate(problem.nodes):
            found.chosen[node] = {
                match: found.model.new_bool_var(f"node{number} does {match.image.statement}.{match.image.place}")
                for match in problem.matches[node.addend]
            }
            found.points[node] = {
                dim: found.model.new_int_var(0, extent - 1, f"node{number}.{dim}")
                for dim, extent in problem.operator.extents.items()
            }
            for read in (problem.pattern.output(node.addend), *node.addend.reads):
                found._element(problem.element(node, read))
        return found

    def _element(self, element: Element) -> None:
        if element in self.elements:
            return
        tensors = self.problem.tensors
        rank = max(len(tensor.shape) for tensor in tensors)
        sizes = [max((t.shape[axis] for t in tensors if axis < len(t.shape)), default=1) for axis in range(rank)]
        name = f"{element[0]}{list(element[1])}"
        variables = [self.model.new_int_var(0, len(tensors) - 1, f"{name} holds")]
        variables += [self.model.new_int_var(0, size - 1, f"{name}[{axis}]") for axis, size in enumerate(sizes)]
        self.elements[element] = variables

    def value(self, node: Node, index: Affine) -> Expression:
        """An index of the operator at a node's point."""
        return index.constant + sum(factor * self.points[node][dim] for dim, factor in index.terms)

    def written(self, node: Node) -> list[cp_model.IntVar]:
        """The variables of the operand element that a node writes."""
        return self.elements[self.problem.written(node)]

    def used(self, node: Node, read: Read) -> list[cp_model.IntVar]:
        return self.elements[self.problem.element(node, read)]

    def image(self, node: Node, value: Callable[[cp_model.IntVar], int]) -> tuple[Addend, Point]:
        """What a node does in a solution."""
        match = next(match for match, literal in self.chosen[node].items() if value(literal))
        dims = self.problem.operator.statements[match.image.statement].extents
        return match.image, tuple(value(self.points[node][dim]) for dim in dims)

    def solution(self, value: Callable[[cp_model.IntVar], int]) -> NodeEmbedding:
        """The embedding that an assignment of the variables stands for."""
        images = [self.image(node, value) for node in self.problem.nodes]
        held = set()
        for element, (number, *index) in self.elements.items():
            tensor = self.problem.tensors[value(number)]
            held.add((element, (tensor.name, tuple(value(axis) for axis in index[: len(tensor.shape)]))))
        nodes = tuple((image.statement, image.place, point) for image, point in images)
        return NodeEmbedding(nodes, frozenset(held))

    def distinct(self, vectors: list[list[cp_model.IntVar]]) -> None:
        """Require integer vectors to differ pairwise."""
        numbers = []
        for vector in vectors:
            number: Expression = 0
            for coordinate in vector:
                number = number * (_largest(coordinate) + 1) + coordinate
            variable = self.model.new_int_var(0, _span(vector) - 1, "")
            self.model.add(variable == number)
            numbers.append(variable)
        self.model.add_all_different(numbers)


def _largest(variable: cp_model.IntVar) -> int:
    return int(variable.domain.max())


def _span(vector: list[cp_model.IntVar]) -> int:
    span = 1
    for coordinate in vector:
        span *= _largest(coordinate) + 1
    return span
