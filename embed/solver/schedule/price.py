"""The price of a schedule, `embed.nest.price` in solver variables."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from ortools.sat.python import cp_model

from embed.solver.schedule.inputs import InputTerms, parts_of
from embed.solver.schedule.results import ResultTerms
from embed.solver.schedule.variables import Expression, Variables

_MOST = 1 << 40


@dataclass(frozen=True, slots=True)
class Price:
    """Cycles as expressions of the variables."""

    variables: Variables
    inputs: Mapping[str, InputTerms]
    results: ResultTerms

    def cycles(self) -> cp_model.IntVar:
        """The price, as in `embed.nest.price`."""
        variables = self.variables
        task, model = variables.task, variables.model
        rates, room = task.rates, task.room
        steps = variables.product(variables.count.values(), "steps")
        results = variables.product((variables.count[n] for n in variables.free if n in task.results), "results")
        begun = sum(found.each for found in self.inputs.values())
        extra = self._extra(begun, results)
        compute = rates.invocation * task.embedding.invocations + rates.result * task.stored + extra
        compute = compute + room.pass_start * steps + room.pass_start * room.passes * results
        loading = sum(found.total for found in self.inputs.values())
        storing = self._storing()
        stalls = self._stalls(begun)
        high = 1 << 45
        longest = model.new_int_var(0, high, "longest")
        model.add(longest >= compute + stalls).only_enforce_if(variables.double)
        model.add(longest >= compute + loading).only_enforce_if(~variables.double)
        single = model.new_bool_var("single")
        model.add(self.results.buffers >= 2).only_enforce_if(~single)
        model.add(longest >= compute + stalls + storing).only_enforce_if(single, variables.double)
        model.add(longest >= compute + loading + storing).only_enforce_if(single, ~variables.double)
        model.add(longest >= loading)
        model.add(longest >= storing)
        starts = sum(found.starts for found in self.inputs.values())
        model.add(longest >= room.fetch * (steps + (room.passes + 1) * results + starts))
        whole = sum(
            (room.load_start + task.beats(name, task.layouts[name].words)) * literal
            for name, literal in self.results.whole.items()
        )
        cycles = model.new_int_var(0, high, "cycles")
        model.add(cycles == room.launch + begun + whole + longest + self._last())
        return cycles

    def _last(self) -> Expression:
        """The store that nothing overlaps, and what cutting it costs."""
        variables = self.variables
        rates, room = variables.task.rates, variables.task.room
        words = variables.words[variables.task.output]
        bursts = variables.model.new_int_var(0, _MOST, "last bursts")
        variables.model.add(room.burst_bytes * bursts >= rates.result_bytes * words)
        stored = variables.variable(rates.store * words + room.store_burst * bursts, 0, _MOST, "last words")
        piece = variables.model.new_int_var(0, _MOST, "last store")
        variables.model.add(variables.times(piece, self.results.pieces, "last stores") >= stored)
        return piece + (room.passes - 1) * room.pass_start * (self.results.pieces - 1)

    def _extra(self, begun: Expression, results: Expression) -> Expression:
        """Cycles that loading the epilogue's tensors for each tile takes, waits for the bus included."""
        variables = self.variables
        room = variables.task.room
        total: Expression = 0
        for name, literal in self.results.whole.items():
            each = variables.model.new_int_var(0, _MOST, f"extra {name}")
            cost = room.load_start * parts_of(variables, name) + variables.beats(name, variables.words[name]) + begun
            variables.model.add(each >= cost).only_enforce_if(~literal)
            total = total + variables.times(each, results, f"extras {name}")
        return total

    def _stalls(self, begun: Expression) -> Expression:
        """Cycles of loads that no computation hides."""
        variables = self.variables
        task, model = variables.task, variables.model
        rates, room = task.rates, task.room
        points = variables.product([variables.tile[n] for n in variables.free], "points")
        fixed = prod(task.options[name][0] for name in task.extents if name not in variables.tile)
        step = rates.invocation * fixed * points + room.pass_start
        end = step + rates.result * variables.words[task.output] + room.passes * room.pass_start
        both = model.new_int_var(1, _MOST, "loaded together")
        ends = model.new_int_var(0, _MOST, "together at ends")
        model.add_min_equality(both, [found.times for found in self.inputs.values()])
        model.add_min_equality(ends, [found.ends for found in self.inputs.values()])
        total = self._above(both, ends, begun, (step, end), "together")
        for tensor, found in self.inputs.items():
            own = model.new_int_var(0, _MOST, f"ends {tensor}")
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
        variables = self.variables
        total: Expression = 0
        for number, cycles, place in ((count - ends, hidden[0], "inside"), (ends, hidden[1], "end")):
            over = variables.model.new_int_var(0, _MOST, f"above {name} {place}")
            variables.model.add(over >= cost - cycles)
            total = total + variables.times(number, over, f"stalls {name} {place}")
        return total

    def _storing(self) -> Expression:
        """Cycles of all stores; a run ends where the innermost cut axis does."""
        variables = self.variables
        task, model = variables.task, variables.model
        axes = variables.axes[task.output]
        bursts = model.new_int_var(0, _MOST, "bursts")
        for place, axis in enumerate(axes):
            if place == 0:
                model.add(bursts >= axis.bursts).only_enforce_if([~inner.cut for inner in axes[1:]])
            else:
                model.add(bursts >= axis.bursts).only_enforce_if([axis.cut, *(~i.cut for i in axes[place + 1 :])])
        if not axes:
            model.add(bursts >= task.bursts(0, {}))
        return task.rates.store * task.stored + task.room.store_burst * bursts
