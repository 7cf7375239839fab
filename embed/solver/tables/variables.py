"""The variables of the table model: phi(u) = base + the sum of one displacement for each lane group."""

from collections.abc import Callable
from dataclasses import dataclass, field

from ortools.sat.python import cp_model

from dataflow.symbolic import Vector
from embed.solver.tables.lanes import Problem

Expression = cp_model.LinearExpr | int


@dataclass(frozen=True, slots=True)
class TableEmbedding:
    """A solution: an operator point for each batch position, and moves by (operand that lacks, batch, position)."""

    problem: Problem
    base: dict[Vector, Vector]
    tables: dict[tuple[str, Vector, Vector], Vector]

    def point(self, lane: Vector) -> Vector:
        """phi: the operator point at a lane of the instruction's box."""
        batch = self.problem.position(self.problem.batch, lane)
        moves = [
            self.tables[name, batch, self.problem.position(dims, lane)] for name, dims in self.problem.groups.items()
        ]
        return tuple(map(sum, zip(self.base[batch], *moves, strict=True)))

    @property
    def images(self) -> tuple[Vector, ...]:
        """phi of every lane, row-major."""
        return tuple(map(self.point, self.problem.lanes))


@dataclass(frozen=True, slots=True)
class Tables:
    """Base points and displacements as CP-SAT variables; the displacement of a group's first position is 0.

    They determine phi and phi determines them, so solutions and embeddings are the same in number.
    """

    model: cp_model.CpModel
    problem: Problem
    base: dict[Vector, list[cp_model.IntVar]] = field(default_factory=dict)
    tables: dict[tuple[str, Vector, Vector], list[cp_model.IntVar]] = field(default_factory=dict)

    @classmethod
    def of(cls, problem: Problem) -> "Tables":
        """A new model with the variables of `problem` and no constraint."""
        found = cls(cp_model.CpModel(), problem)
        for batch in problem.positions(problem.batch):
            found.base[batch] = found._vector(f"base{list(batch)}", lambda extent: (0, extent - 1))
            for name, dims in problem.groups.items():
                for place, position in enumerate(problem.positions(dims)):
                    label = f"move[{name}{list(batch)}{list(position)}]"
                    found.tables[name, batch, position] = found._vector(label, _moving if place else _still)
        return found

    def _vector(self, label: str, domain: Callable[[int], tuple[int, int]]) -> list[cp_model.IntVar]:
        dims = self.problem.operator.dims
        return [self.model.new_int_var(*domain(dim.extent), f"{label}.{dim.name}") for dim in dims]

    def point(self, lane: Vector) -> list[Expression]:
        """Coordinates of phi(lane)."""
        batch = self.problem.position(self.problem.batch, lane)
        moves = [
            self.tables[name, batch, self.problem.position(dims, lane)] for name, dims in self.problem.groups.items()
        ]
        return [sum(terms) for terms in zip(self.base[batch], *moves, strict=True)]

    def element(self, operand: str, lane: Vector) -> list[Expression]:
        """Index, in the operator tensor bound to `operand`, of the element used at phi(lane)."""
        access, point = self.problem.access(operand), self.point(lane)
        rows = zip(access.matrix, access.offset, strict=True)
        return [sum(a * x for a, x in zip(row, point, strict=True) if a) + start for row, start in rows]

    def solution(self, value: Callable[[cp_model.IntVar], int]) -> TableEmbedding:
        """The embedding that an assignment of the variables stands for."""
        base = {key: tuple(map(value, vector)) for key, vector in self.base.items()}
        return TableEmbedding(
            self.problem, base, {key: tuple(map(value, vector)) for key, vector in self.tables.items()}
        )

    def distinct(self, vectors: list[list[Expression]], sizes: list[tuple[int, int]]) -> None:
        """Require integer vectors to differ pairwise; `sizes` bounds each coordinate, to number the vectors."""
        numbers = []
        for vector in vectors:
            number: Expression = 0
            span = 1
            for coordinate, (low, high) in zip(reversed(vector), reversed(sizes), strict=True):
                number += (coordinate - low) * span
                span *= high - low + 1
            variable = self.model.new_int_var(0, span - 1, "")
            self.model.add(variable == number)
            numbers.append(variable)
        self.model.add_all_different(numbers)


def _moving(extent: int) -> tuple[int, int]:
    return 1 - extent, extent - 1


def _still(_: int) -> tuple[int, int]:
    return 0, 0
