"""Demands as constraints on the model of one problem."""

from collections.abc import Sequence
from itertools import product
from math import prod

from ortools.sat.python import cp_model

from embed import copies
from embed.demands import Demand, pads, parts
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
            "no-copies": self.uncopied,
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
        self._require(not pads(self.problem.relaxed))
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
        dims = parts(self.problem.relaxed, dim)
        members = [self.variables.members[key] for key in self.variables.of_lane(lane)]
        self.model.add_bool_or([literal for found in members for each, literal in found.items() if each in dims])

    def loop(self, demand: Demand) -> None:
        for dim in parts(self.problem.relaxed, demand.about[0]):
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

    def uncopied(self, demand: Demand) -> None:
        """Of each window as many dims in lanes as leave every element one place; no dim in words that do not use it."""
        output = self.problem.operator.main.output.tensor
        for access, operand in self.problem.binding.operands.items():
            read = self.problem.reads[access]
            if read.tensor == demand.about[0] != output:
                for group in copies.groups(read, self.problem.extents_of_all):
                    dims = [self.variables.outer[dim] for dim in group[0]]
                    rows = [row for row in product((0, 1), repeat=len(dims)) if self._single(access, group, row)]
                    self.model.add_allowed_assignments(dims, rows)
                lanes = {dim for index in self.problem.pattern.accesses[operand].index for dim in index.dims}
                used = {dim for index in read.index for dim in index.dims}
                for lane, lead in self.variables.digits:
                    for dim, literal in self.variables.members[lane, lead].items():
                        if dim not in used and lane in lanes:
                            self.model.add(literal == 0)

    def _single(self, access: str, group: copies.Group, loops: Sequence[int]) -> bool:
        """Whether a group's dims that stand in lanes, where `loops` is 0, leave no element two places."""
        problem = self.problem
        outer = {dim for dim, loop in zip(group[0], loops, strict=True) if loop}
        results, extents = problem.operator.main.output_dims, problem.extents_of_all
        read, shape = problem.reads[access], problem.shape(access)
        places, different = copies.count(read, shape, group, outer, extents, results, problem.pads(access))
        return places == different

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
