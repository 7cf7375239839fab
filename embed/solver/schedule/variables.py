"""What a schedule chooses, and what tables say of it: tile sizes, trips of loops, tiles along each axis."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product as combinations

from ortools.sat.python import cp_model

from embed.nest.task import Task
from embed.solver.arithmetic import product

Expression = cp_model.LinearExpr | int


@dataclass(frozen=True, slots=True)
class AxisTerms:
    """Words of a tile along an axis, those that all tiles read, whether it ends a copy and is cut, and its bursts.

    Then the most words that a tile may have.
    """

    span: cp_model.IntVar
    read: cp_model.IntVar
    broken: cp_model.IntVar
    cut: cp_model.IntVar
    bursts: cp_model.IntVar
    most: int


class Variables:
    """Those of one loop order; loops with one tile size are constants. `double` loads a tile while one is in use."""

    def __init__(self, task: Task, order: tuple[str, ...]) -> None:
        self.task, self.order = task, order
        self.model = cp_model.CpModel()
        self.free = [name for name in order if len(task.options[name]) > 1]
        self.tile = {name: self._loop(name) for name in self.free}
        self.count = {name: self._count(name) for name in self.free}
        self.double = self.model.new_bool_var("double")
        self.axes = {t: [self._axis(t, n) for n in range(len(task.layouts[t].axes))] for t in task.layouts}
        self.words = {t: self.product([axis.span for axis in axes], f"words {t}") for t, axes in self.axes.items()}

    def _loop(self, name: str) -> cp_model.IntVar:
        domain = cp_model.Domain.from_values(self.task.options[name])
        return self.model.new_int_var_from_domain(domain, f"tile {name}")

    def _count(self, name: str) -> cp_model.IntVar:
        extent = self.task.extents[name]
        rows = [(size, -(-extent // size)) for size in self.task.options[name]]
        return self._looked_up([name], rows, f"count {name}")[0]

    def _looked_up(self, loops: Sequence[str], rows: Sequence[tuple[int, ...]], name: str) -> list[cp_model.IntVar]:
        """Variables that a table gives for the tile sizes of some loops: the columns after theirs."""
        found = []
        for column in range(len(loops), len(rows[0])):
            values = sorted({row[column] for row in rows})
            domain = cp_model.Domain.from_values(values)
            found.append(self.model.new_int_var_from_domain(domain, f"{name} {column}"))
        self.model.add_allowed_assignments([*(self.tile[loop] for loop in loops), *found], rows)
        return found

    def _axis(self, tensor: str, number: int) -> AxisTerms:
        task, axes = self.task, self.task.layouts[tensor].axes
        loops = [loop for loop, _ in axes[number].loops if loop in self.tile]
        rows = []
        for sizes in combinations(*(task.options[loop] for loop in loops)):
            tiles = {**{name: task.options[name][0] for name in task.extents}, **dict(zip(loops, sizes, strict=True))}
            rows.append((*sizes, *self._axis_numbers(tensor, number, tiles)))
        terms = self._looked_up(loops, rows, f"{tensor} {number}") if loops else map(self.model.new_constant, rows[0])
        span, read, broken, cut, bursts = terms
        return AxisTerms(span, read, broken, cut, bursts, max(row[len(loops)] for row in rows))

    def _axis_numbers(self, tensor: str, number: int, tiles: Mapping[str, int]) -> tuple[int, ...]:
        """Words of a tile along an axis, those that all tiles read, whether it ends a copy, is cut, and its bursts."""
        task, axes = self.task, self.task.layouts[tensor].axes
        axis = axes[number]
        span = task.span(axis, tiles)
        bursts = task.bursts(number, tiles) if tensor == task.output else 0
        ends_copy = int(task.breaks(axes, number, tiles))
        return span, task.reads(axis, tiles), ends_copy, int(span < axis.extent), bursts

    def product(self, factors: Iterable[cp_model.IntVar], name: str, limit: int = 1 << 40) -> Expression:
        """The exact product; constants 1 are left out."""
        return product(self.model, list(factors), limit, name)

    def variable(self, value: Expression, low: int, high: int, name: str) -> cp_model.IntVar:
        found = self.model.new_int_var(low, high, name)
        self.model.add(found == value)
        return found

    def times(self, left: Expression, right: Expression, name: str, limit: int = 1 << 40) -> cp_model.IntVar:
        found = self.model.new_int_var(0, limit, name)
        self.model.add_multiplication_equality(found, [left, right])
        return found

    def beats(self, tensor: str, words: Expression) -> Expression:
        size, bus = self.task.word_bytes(tensor), self.task.rates.bus
        if not bus:
            return 0
        if size % bus == 0:
            return size // bus * words
        found = self.model.new_int_var(0, 1 << 40, f"beats {tensor}")
        self.model.add_division_equality(found, size * words, bus)
        return found
