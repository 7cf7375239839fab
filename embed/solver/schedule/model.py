"""The schedule as a CP-SAT model: `embed.nest.price` in solver variables, one model for each loop order.

Every quantity is an exact integer; what the objective only ever pushes down is bounded from below. The solution is
priced again without the solver.
"""

from dataclasses import dataclass

from ortools.sat.python import cp_model

from embed.errors import NoEmbedding
from embed.nest.floor import Floor
from embed.nest.price import price
from embed.nest.task import Choice, Task
from embed.solver.schedule import inputs, results
from embed.solver.schedule.price import Price
from embed.solver.schedule.variables import Variables

_CYCLE = 1 << 13
"""A cycle's weight in the objective: more than all places for input tiles together."""

_EFFORT = 4.0
"""Deterministic time for each loop order, about a second each: the same limit on every machine."""


@dataclass(frozen=True, slots=True)
class Planned:
    """The best schedule found, its cycles, and the cycles that no schedule of the model goes below."""

    choice: Choice
    cycles: int
    bound: int

    @property
    def proven(self) -> bool:
        return self.cycles == self.bound


def plan(task: Task, below: int | None = None) -> Planned:
    """The cheapest schedule that fits; raises NoEmbedding where not even single iterations do.

    Or where, of those that take less than `below` cycles, there is none.
    """
    best: Planned | None = None
    bound: int | None = None
    floor = Floor(task)
    for order in task.orders:
        limit = best.cycles if best else below
        if limit is not None and floor.least(order) >= limit:
            bound = limit if bound is None else min(bound, limit)
            continue
        found, lowest = Model(task, order).solve(limit - 1 if limit is not None else None)
        if found is not None:
            cycles = price(task, found)
            best = Planned(found, cycles, cycles)
        bound = lowest if bound is None else min(bound, lowest)
    if best is None:
        fast = f" in less than {below} cycles" if below is not None else ""
        raise NoEmbedding(f"no tile of {task.embedding} fits the scratchpads{fast}: {dict(task.room.words)} words")
    return Planned(best.choice, best.cycles, min(best.cycles, bound or 0))


class Model:
    """The model of one loop order."""

    def __init__(self, task: Task, order: tuple[str, ...]) -> None:
        self.task, self.order = task, order
        self.variables = Variables(task, order)
        self.model = self.variables.model
        self.inputs = {tensor: inputs.build(self.variables, tensor) for tensor in task.inputs}
        self.results = results.build(self.variables)
        self.cycles = Price(self.variables, self.inputs, self.results).cycles()

    def solve(self, most: int | None) -> tuple[Choice | None, int]:
        """The best choice of at most `most` cycles, if there is one, and a lower bound of all.

        Of equals it is one with the fewest places for input tiles: each combination of places has micro-ops of its own.
        """
        if most is not None:
            self.model.add(self.cycles <= most)
        self.model.minimize(_CYCLE * self.cycles + sum(found.slots for found in self.inputs.values()))
        solver = cp_model.CpSolver()
        solver.parameters.num_workers = 1
        solver.parameters.random_seed = 0
        solver.parameters.linearization_level = 0
        solver.parameters.max_deterministic_time = _EFFORT
        status = solver.solve(self.model)
        bound = round(solver.best_objective_bound) // _CYCLE
        if status == cp_model.INFEASIBLE:
            return None, most + 1 if most is not None else 1 << 60
        return (None if status == cp_model.UNKNOWN else self._choice(solver)), bound

    def _choice(self, solver: cp_model.CpSolver) -> Choice:
        variables, made = self.variables, self.results
        tiles = {
            name: solver.value(variables.tile[name]) if name in variables.tile else self.task.options[name][0]
            for name in self.task.extents
        }
        kept = {}
        for tensor, found in self.inputs.items():
            depth = next(depth for depth, literal in enumerate(found.depths) if solver.value(literal))
            free = variables.free
            kept[tensor] = self.order.index(free[depth]) if depth < len(free) else len(self.order)
        whole = tuple(name for name, literal in made.whole.items() if solver.value(literal))
        double = bool(solver.value(variables.double))
        return Choice(tiles, self.order, kept, double, solver.value(made.buffers), whole, solver.value(made.pieces))
