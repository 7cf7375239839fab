"""The schedule as a CP-SAT model: `embed.nest.price` in solver variables, one model for each loop order.

Every quantity is an exact integer; what the objective only ever pushes down is bounded from below. The solution is
priced again without the solver.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product as combinations
from math import prod

from ortools.sat.python import cp_model

from embed.errors import NoEmbedding
from embed.nest.price import MOST_PIECES, price
from embed.nest.task import Choice, Task
from embed.solver.arithmetic import product

Expression = cp_model.LinearExpr | int

_MOST_SLOTS = 1 << 11
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
    for order in task.orders:
        limit = best.cycles if best else below
        found, lowest = _Model(task, order).solve(limit - 1 if limit is not None else None)
        if found is not None:
            cycles = price(task, found)
            best = Planned(found, cycles, cycles)
        bound = lowest if bound is None else min(bound, lowest)
    if best is None:
        fast = f" in less than {below} cycles" if below is not None else ""
        raise NoEmbedding(f"no tile of {task.embedding} fits the scratchpads{fast}: {dict(task.room.words)} words")
    return Planned(best.choice, best.cycles, min(best.cycles, bound or 0))


class _Model:
    """The variables of one loop order. Loops with one tile size are constants."""

    def __init__(self, task: Task, order: tuple[str, ...]) -> None:
        self.task, self.order = task, order
        self.model = cp_model.CpModel()
        self.free = [name for name in order if len(task.options[name]) > 1]
        self.tile = {name: self._loop(name) for name in self.free}
        self.count = {name: self._count(name) for name in self.free}
        self.double = self.model.new_bool_var("double")
        self.axes = {t: [self._axis(t, n) for n in range(len(task.layouts[t].axes))] for t in task.layouts}
        self.words = {t: self._product([axis.span for axis in axes], f"words {t}") for t, axes in self.axes.items()}
        self.inputs = {t: self._input(t) for t in task.inputs}
        self._accumulators()
        self.cycles = self._cycles()

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
        tiles = {
            name: solver.value(self.tile[name]) if name in self.tile else self.task.options[name][0]
            for name in self.task.extents
        }
        kept = {}
        for tensor, found in self.inputs.items():
            depth = next(depth for depth, literal in enumerate(found.depths) if solver.value(literal))
            kept[tensor] = self.order.index(self.free[depth]) if depth < len(self.free) else len(self.order)
        whole = tuple(name for name, literal in self.whole.items() if solver.value(literal))
        double = bool(solver.value(self.double))
        return Choice(tiles, self.order, kept, double, solver.value(self.buffers), whole, solver.value(self.pieces))

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

    def _axis(self, tensor: str, number: int) -> "_AxisTerms":
        task, axes = self.task, self.task.layouts[tensor].axes
        loops = [loop for loop, _ in axes[number].loops if loop in self.tile]
        rows = []
        for sizes in combinations(*(task.options[loop] for loop in loops)):
            tiles = {**{name: task.options[name][0] for name in task.extents}, **dict(zip(loops, sizes, strict=True))}
            rows.append((*sizes, *self._axis_numbers(tensor, number, tiles)))
        terms = self._looked_up(loops, rows, f"{tensor} {number}") if loops else map(self.model.new_constant, rows[0])
        span, read, broken, cut, bursts = terms
        return _AxisTerms(span, read, broken, cut, bursts, max(row[len(loops)] for row in rows))

    def _axis_numbers(self, tensor: str, number: int, tiles: Mapping[str, int]) -> tuple[int, ...]:
        """Words of a tile along an axis, those that all tiles read, whether it ends a copy, is cut, and its bursts."""
        task, axes = self.task, self.task.layouts[tensor].axes
        axis = axes[number]
        span = task.span(axis, tiles)
        bursts = task.bursts(number, tiles) if tensor == task.output else 0
        ends_copy = int(task.breaks(axes, number, tiles))
        return span, task.reads(axis, tiles), ends_copy, int(span < axis.extent), bursts

    def _product(self, factors: Iterable[cp_model.IntVar], name: str, limit: int = 1 << 40) -> Expression:
        """The exact product; constants 1 are left out."""
        return product(self.model, list(factors), limit, name)

    def _variable(self, value: Expression, low: int, high: int, name: str) -> cp_model.IntVar:
        found = self.model.new_int_var(low, high, name)
        self.model.add(found == value)
        return found

    def _times(self, left: Expression, right: Expression, name: str, limit: int = 1 << 40) -> cp_model.IntVar:
        found = self.model.new_int_var(0, limit, name)
        self.model.add_multiplication_equality(found, [left, right])
        return found

    def _beats(self, tensor: str, words: Expression) -> Expression:
        size, bus = self.task.word_bytes(tensor), self.task.rates.bus
        if not bus:
            return 0
        if size % bus == 0:
            return size // bus * words
        found = self.model.new_int_var(0, 1 << 40, f"beats {tensor}")
        self.model.add_division_equality(found, size * words, bus)
        return found

    def _input(self, tensor: str) -> "_InputTerms":
        """How often an input is loaded, at which cost, and that its tiles fit."""
        task, model, free = self.task, self.model, self.free
        moving = task.moves(tensor)
        depths = [model.new_bool_var(f"{tensor} kept from {depth}") for depth in range(len(free) + 1)]
        model.add_exactly_one(depths)
        most = prod(task.extents[name] for name in free)
        slots = model.new_int_var(1, min(task.room.words[tensor], task.room.most_slots, _MOST_SLOTS), f"slots {tensor}")
        times = model.new_int_var(1, most, f"loads {tensor}")
        again = model.new_int_var(1, most, f"again {tensor}")
        for depth, literal in enumerate(depths):
            below = self._product((self.count[n] for n in free[depth:] if n in moving), f"below {tensor} {depth}")
            outer = self._product((self.count[n] for n in free[:depth]), f"outer {tensor} {depth}")
            apart = self._product((self.count[n] for n in free[:depth] if n not in moving), f"apart {tensor} {depth}")
            model.add(slots >= below).only_enforce_if(literal)
            model.add(times == self._times(outer, below, f"loads {tensor} {depth}")).only_enforce_if(literal)
            model.add(again == apart).only_enforce_if(literal)
        several = model.new_bool_var(f"several {tensor}")
        for name in moving & set(free):
            model.add(self.count[name] == 1).only_enforce_if(~several)
        model.add(slots >= 2).only_enforce_if(several, self.double)
        room = task.room.words[tensor]
        self._times(slots, self.words[tensor], f"held {tensor}", room)
        for place, axis in enumerate(task.layouts[tensor].axes):
            if axis.before or axis.after:
                model.add(sum(inner.broken for inner in self.axes[tensor][place + 1 :]) <= 1)
        parts = self._parts(tensor)
        each = task.room.load_start * parts + self._beats(tensor, self.words[tensor])
        read = self._product([*(axis.read for axis in self.axes[tensor]), again], f"read {tensor}")
        starts = self._times(times, parts, f"starts {tensor}")
        total = task.room.load_start * starts + self._beats(tensor, read)
        inside = self._product((self.count[n] for n in free if n in moving and n not in task.results), f"sums {tensor}")
        ends = model.new_int_var(1, most, f"ends {tensor}")
        model.add_multiplication_equality(times, [ends, inside])
        return _InputTerms(
            depths, slots, times, ends, self._variable(each, 0, 1 << 40, f"each {tensor}"), total, starts
        )

    def _parts(self, tensor: str) -> Expression:
        """Load instructions of one tile."""
        factors = []
        for place, axis in enumerate(self.axes[tensor][:-2]):
            inner = sum(other.broken for other in self.axes[tensor][place + 1 :])
            split = self.model.new_bool_var(f"split {tensor} {place}")
            self.model.add(inner >= 2).only_enforce_if(split)
            self.model.add(inner <= 1).only_enforce_if(~split)
            factor = self.model.new_int_var(1, axis.most, f"parts {tensor} {place}")
            self.model.add(factor == axis.span).only_enforce_if(split)
            self.model.add(factor == 1).only_enforce_if(~split)
            factors.append(factor)
        return self._product(factors, f"parts {tensor}")

    def _accumulators(self) -> None:
        """Output tiles and the epilogue's tensors fit their scratchpad together."""
        task, model, room = self.task, self.model, self.task.room
        output = task.output
        self.buffers = model.new_int_var(1, min(2, room.result_buffers), "result buffers")
        self.whole = {name: model.new_bool_var(f"whole {name}") for name in room.shared}
        taken: Expression = self._times(self.buffers, self.words[output], "result words", room.words[output])
        for name, literal in self.whole.items():
            words = model.new_int_var(0, room.words[output], f"extra {name}")
            model.add(words >= task.layouts[name].words).only_enforce_if(literal)
            model.add(words >= self.words[name]).only_enforce_if(~literal)
            taken = taken + words
        model.add(taken <= room.words[output])
        most = MOST_PIECES if room.passes > 1 and room.result_buffers > 1 else 1
        self.pieces = model.new_int_var(1, most, "pieces")

    def _cycles(self) -> cp_model.IntVar:
        """The price, as in `embed.nest.price`."""
        task, model, rates, room = self.task, self.model, self.task.rates, self.task.room
        steps = self._product(self.count.values(), "steps")
        results = self._product((self.count[n] for n in self.free if n in task.results), "results")
        begun = sum(found.each for found in self.inputs.values())
        extra = self._extra(begun, results)
        compute = rates.invocation * task.embedding.invocations + rates.result * task.stored + extra
        compute = compute + room.pass_start * steps + room.pass_start * room.passes * results
        loading = sum(found.total for found in self.inputs.values())
        storing = self._storing()
        stalls = self._stalls(begun)
        high = 1 << 45
        longest = model.new_int_var(0, high, "longest")
        model.add(longest >= compute + stalls).only_enforce_if(self.double)
        model.add(longest >= compute + loading).only_enforce_if(~self.double)
        single = model.new_bool_var("single")
        model.add(self.buffers >= 2).only_enforce_if(~single)
        model.add(longest >= compute + stalls + storing).only_enforce_if(single, self.double)
        model.add(longest >= compute + loading + storing).only_enforce_if(single, ~self.double)
        model.add(longest >= loading)
        model.add(longest >= storing)
        starts = sum(found.starts for found in self.inputs.values())
        model.add(longest >= room.fetch * (steps + (room.passes + 1) * results + starts))
        whole = sum(
            (room.load_start + task.beats(name, task.layouts[name].words)) * literal
            for name, literal in self.whole.items()
        )
        cycles = model.new_int_var(0, high, "cycles")
        model.add(cycles == room.launch + begun + whole + longest + self._last())
        return cycles

    def _last(self) -> Expression:
        """The store that nothing overlaps, and what cutting it costs."""
        rates, room = self.task.rates, self.task.room
        words = self.words[self.task.output]
        bursts = self.model.new_int_var(0, 1 << 40, "last bursts")
        self.model.add(room.burst_bytes * bursts >= rates.result_bytes * words)
        stored = self._variable(rates.store * words + room.store_burst * bursts, 0, 1 << 40, "last words")
        piece = self.model.new_int_var(0, 1 << 40, "last store")
        self.model.add(self._times(piece, self.pieces, "last stores") >= stored)
        return piece + (room.passes - 1) * room.pass_start * (self.pieces - 1)

    def _extra(self, begun: Expression, results: Expression) -> Expression:
        """Cycles that loading the epilogue's tensors for each tile takes, waits for the bus included."""
        room = self.task.room
        total: Expression = 0
        for name, literal in self.whole.items():
            each = self.model.new_int_var(0, 1 << 40, f"extra {name}")
            cost = room.load_start * self._parts(name) + self._beats(name, self.words[name]) + begun
            self.model.add(each >= cost).only_enforce_if(~literal)
            total = total + self._times(each, results, f"extras {name}")
        return total

    def _stalls(self, begun: Expression) -> Expression:
        """Cycles of loads that no computation hides."""
        task, model, rates, room = self.task, self.model, self.task.rates, self.task.room
        points = self._product([self.tile[n] for n in self.free], "points")
        fixed = prod(task.options[name][0] for name in task.extents if name not in self.tile)
        step = rates.invocation * fixed * points + room.pass_start
        end = step + rates.result * self.words[task.output] + room.passes * room.pass_start
        both = model.new_int_var(1, 1 << 40, "loaded together")
        ends = model.new_int_var(0, 1 << 40, "together at ends")
        model.add_min_equality(both, [found.times for found in self.inputs.values()])
        model.add_min_equality(ends, [found.ends for found in self.inputs.values()])
        total = self._above(both, ends, begun, (step, end), "together")
        for tensor, found in self.inputs.items():
            own = model.new_int_var(0, 1 << 40, f"ends {tensor}")
            model.add_min_equality(own, [found.times - both, found.ends - ends])
            total = total + self._above(found.times - both, own, found.each, (step, end), tensor)
        return total

    def _above(
        self,
        count: Expression,
        ends: Expression,
        cost: Expression,
        hidden: tuple[Expression, Expression],
        name: str,
    ) -> Expression:
        """What some loads cost beyond what hides them inside a tile and at its end."""
        total: Expression = 0
        for number, cycles, place in ((count - ends, hidden[0], "inside"), (ends, hidden[1], "end")):
            over = self.model.new_int_var(0, 1 << 40, f"above {name} {place}")
            self.model.add(over >= cost - cycles)
            total = total + self._times(number, over, f"stalls {name} {place}")
        return total

    def _storing(self) -> Expression:
        """Cycles of all stores; a run ends where the innermost cut axis does."""
        task, model = self.task, self.model
        axes = self.axes[task.output]
        bursts = model.new_int_var(0, 1 << 40, "bursts")
        for place, axis in enumerate(axes):
            if place == 0:
                model.add(bursts >= axis.bursts).only_enforce_if([~inner.cut for inner in axes[1:]])
            else:
                model.add(bursts >= axis.bursts).only_enforce_if([axis.cut, *(~i.cut for i in axes[place + 1 :])])
        if not axes:
            model.add(bursts >= task.bursts(0, {}))
        return task.rates.store * task.stored + task.room.store_burst * bursts


@dataclass(frozen=True, slots=True)
class _AxisTerms:
    """What `_axis_numbers` says of an axis, and the most words of a tile along it."""

    span: cp_model.IntVar
    read: cp_model.IntVar
    broken: cp_model.IntVar
    cut: cp_model.IntVar
    bursts: cp_model.IntVar
    most: int


@dataclass(frozen=True, slots=True)
class _InputTerms:
    """Literals of the depth an input is kept from, its places, its loads and those at the end of output tiles.

    Then the cycles of one load and of all, and the load instructions.
    """

    depths: list[cp_model.IntVar]
    slots: cp_model.IntVar
    times: cp_model.IntVar
    ends: cp_model.IntVar
    each: cp_model.IntVar
    total: Expression
    starts: cp_model.IntVar
