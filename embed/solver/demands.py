"""Demands as constraints on the model of one problem."""

from math import prod

from ortools.sat.python import cp_model

from embed.demands import Demand
from embed.solver.cost import CostTerms
from embed.solver.forms import columns, forms
from embed.solver.problem import Problem
from embed.solver.variables import Variables


class Demands:
    """Adds demands, one method each, named by their kind."""

    def __init__(self, model: cp_model.CpModel, problem: Problem, variables: Variables, terms: CostTerms) -> None:
        self.model, self.problem, self.variables, self.terms = model, problem, variables, terms

    def add(self, demand: Demand) -> None:
        """Add one demand; what the problem can never meet makes it infeasible."""
        kinds = {
            "full": self.full,
            "no-fuse": self.unfused,
            "no-mix": self.unmixed,
            "lane": self.lane,
            "loop": self.loop,
            "exact": self.exact,
            "in-place": self.in_place,
            "bind": self.bind,
            "instruction": self.instruction,
            "min-utilisation": self.busy,
            "max-cycles": self.cycles,
            "max-bytes": self.bytes,
        }
        kinds[demand.kind](demand)

    def full(self, demand: Demand) -> None:
        """Radices that divide their digits' points and take all lanes."""
        (lane,) = demand.about
        if lane not in self.problem.lanes:
            self._require(self.problem.pattern.extents.get(lane) == 1)
            return
        rows = [
            form.row(self.variables, lane)
            for form in forms(self.problem, lane)
            if form.taken == self.problem.lanes[lane]
            and not any(size % radix for size, radix in zip(form.sizes, form.radices, strict=True))
        ]
        self._require(bool(rows))
        if rows:
            self.model.add_allowed_assignments(columns(self.variables, lane), rows)

    def unfused(self, _: Demand) -> None:
        for members in self.variables.members.values():
            self.model.add_at_most_one(members.values())

    def unmixed(self, _: Demand) -> None:
        for lane in self.problem.lanes:
            self.model.add_at_most_one(self.variables.present(key) for key in self.variables.of_lane(lane))

    def lane(self, demand: Demand) -> None:
        lane, dim = demand.about
        literals = [self.variables.members[key].get(dim) for key in self.variables.of_lane(lane)]
        self.model.add_bool_or([literal for literal in literals if literal is not None])

    def loop(self, demand: Demand) -> None:
        (dim,) = demand.about
        self._require(dim in self.problem.extents_of_all)
        if dim in self.variables.outer:
            self.model.add(self.variables.outer[dim] == 1)

    def exact(self, demand: Demand) -> None:
        """The packed words hold just the tensor's elements."""
        (tensor,) = demand.about
        operand = self.problem.binding.operands[tensor]
        word = prod(self.problem.pattern.tensor(operand).shape)
        self._require(prod(self.problem.shape(tensor)) % word == 0)
        self.model.add(self.terms.words[tensor] * word == prod(self.problem.shape(tensor)))

    def in_place(self, demand: Demand) -> None:
        """Every access of the tensor."""
        pins = self.problem.rates.pins
        for access, literal in self.terms.in_place.items():
            if pins[access].physical.tensor.name == demand.about[0]:
                self.model.add_bool_or(literal)

    def bind(self, demand: Demand) -> None:
        tensor, operand = demand.about
        self._require(self.problem.binding.operands.get(tensor) == operand)

    def instruction(self, demand: Demand) -> None:
        self._require(self.problem.instruction.name == demand.about[0])

    def busy(self, demand: Demand) -> None:
        paid = self.problem.pattern.points * demand.number
        self.model.add(self.terms.invocations <= int(self.problem.points / paid + 1e-9))

    def cycles(self, demand: Demand) -> None:
        self.model.add(self.terms.cycles <= int(demand.number))

    def bytes(self, demand: Demand) -> None:
        self.model.add(self.terms.bytes <= int(demand.number))

    def _require(self, fact: bool) -> None:
        if not fact:
            self.model.add_bool_or([])
