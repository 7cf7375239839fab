"""The decision variables of a placement, behind named queries.

A digit is led by its outermost dim: `member(lane, lead, dim)` says that `dim` stands in the digit of `lane` led by
`lead`, so every set of digits is written in exactly one way.
"""

from ortools.sat.python import cp_model

from embed.solver.problem import Problem

Literal = cp_model.IntVar
Key = tuple[str, str]


class Variables:
    """Members, radix and steps of every possible digit; whether a dim is left to a loop."""

    def __init__(self, model: cp_model.CpModel, problem: Problem) -> None:
        self.digits: list[Key] = [(lane, lead) for lane, dims in problem.allowed.items() for lead in dims]
        self.members: dict[Key, dict[str, Literal]] = {}
        self.radix: dict[Key, cp_model.IntVar] = {}
        self.steps: dict[Key, cp_model.IntVar] = {}
        for lane, lead in self.digits:
            self._digit(model, problem, lane, lead)
        self.outer = {dim: model.new_bool_var(f"outer {dim}") for dim in problem.extents}

    def _digit(self, model: cp_model.CpModel, problem: Problem, lane: str, lead: str) -> None:
        dims = problem.allowed[lane]
        key = (lane, lead)
        following = dims[dims.index(lead) :]
        total = 1
        for dim in following:
            total *= problem.extents[dim]
        text = f"{lane} {lead}"
        self.members[key] = {dim: model.new_bool_var(f"member {text} {dim}") for dim in following}
        self.radix[key] = model.new_int_var(1, min(problem.lanes[lane], total), f"radix {text}")
        self.steps[key] = model.new_int_var(1, total, f"steps {text}")

    def present(self, key: Key) -> Literal:
        """Whether the digit exists: its lead is a member."""
        return self.members[key][key[1]]

    def holders(self, dim: str) -> list[Literal]:
        """One literal for every digit that could hold `dim`."""
        return [members[dim] for members in self.members.values() if dim in members]

    def of_lane(self, lane: str) -> list[Key]:
        return [key for key in self.digits if key[0] == lane]

    @property
    def decisions(self) -> list[cp_model.IntVar]:
        """The variables that say it all; the others follow from them."""
        return [*(literal for members in self.members.values() for literal in members.values()), *self.radix.values()]
