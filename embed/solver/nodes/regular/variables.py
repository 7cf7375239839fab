"""The variables of a regular placement, behind named queries."""

from collections.abc import Callable, Iterator

from ortools.sat.python import cp_model

from dataflow.sums import Addend
from embed.embedding import Digit
from embed.nodes.labels import Match
from embed.nodes.placement import ADDENDS, Image, Placement
from embed.solver.nodes.regular.problem import Problem

Literal = cp_model.IntVar


class Variables:
    """A literal for each match and copy of every addend of the instruction, and each form of every lane dimension."""

    def __init__(self, model: cp_model.CpModel, problem: Problem) -> None:
        self.model, self.problem = model, problem
        self.chosen: dict[Addend, dict[Match, Literal]] = {}
        self.copy: dict[Addend, list[Literal]] = {}
        self.form: dict[str, dict[Digit | None, Literal]] = {}
        for number, (addend, found) in enumerate(problem.matches.items()):
            self.chosen[addend] = {match: self._literal(f"{number}={match.image.place}") for match in found}
            self.copy[addend] = [self._literal(f"{number} is copy {copy}") for copy in range(problem.copies)]
            model.add_exactly_one(self.chosen[addend].values())
            model.add_exactly_one(self.copy[addend])
        for lane, forms in problem.forms.items():
            self.form[lane] = {form: self._literal(f"{lane}={form or '-'}") for form in forms}
            model.add_exactly_one(self.form[lane].values())

    def _literal(self, name: str) -> Literal:
        return self.model.new_bool_var(name)

    def digits(self) -> Iterator[tuple[Digit, Literal]]:
        for forms in self.form.values():
            yield from ((form, literal) for form, literal in forms.items() if form is not None)

    def matches(self) -> Iterator[tuple[Match, Literal]]:
        for found in self.chosen.values():
            yield from found.items()

    def forbid(self, *literals: Literal) -> None:
        """Not all of these at once."""
        self.model.add_bool_or([~literal for literal in literals])

    def same_copy(self, one: Addend, other: Addend, *where: Literal) -> None:
        """Two addends are the same copy wherever all of `where` hold."""
        for left, right in zip(self.copy[one], self.copy[other], strict=True):
            self.model.add(left == right).only_enforce_if(where)

    def another_copy(self, one: Addend, other: Addend, *where: Literal) -> None:
        for left, right in zip(self.copy[one], self.copy[other], strict=True):
            self.forbid(left, right, *where)

    def placement(self, value: Callable[[Literal], int]) -> Placement:
        """The placement that an assignment stands for."""
        images = []
        for addend, found in self.chosen.items():
            match = next(match for match, literal in found.items() if value(literal))
            images.append(Image(match, next(n for n, literal in enumerate(self.copy[addend]) if value(literal))))
        digits = tuple(digit for digit, literal in self.digits() if value(literal))
        return Placement(self.problem.operator, self.problem.name, self.problem.pattern, tuple(images), digits)

    @property
    def copies_form(self) -> dict[Digit | None, Literal]:
        return self.form.get(ADDENDS, {})
