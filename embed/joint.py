"""Embedding and program together: of all embeddings, the one whose program takes the fewest cycles.

No program takes less than its embedding's modelled cycles, a roofline. So programs are made in the order of the
rooflines until none that is left can win.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from math import ceil
from typing import Generic, Protocol, TypeVar

from dataflow.operator import Operator
from embed.costs import Costs
from embed.embedding import Embedding
from embed.errors import NoEmbedding
from embed.solver import listing, search
from embed.solver.search import Solution
from embed.solver.settings import Settings
from isa.model import Isa


class Timed(Protocol):
    """A program, or its schedule, with its modelled cycles; 0 where the file times nothing."""

    @property
    def cycles(self) -> int: ...


Program = TypeVar("Program", bound=Timed)

Maker = Callable[[Embedding, int | None], Program]
"""Makes the program of an embedding, where given only one of fewer cycles; raises NoEmbedding where there is none."""

Alike = Callable[[Embedding], Hashable]
"""The same for embeddings whose programs take the same cycles: one of them is enough."""

Floor = Callable[[Costs], int]
"""Cycles that no program of an embedding with its packing goes below, by the price of the embedding."""

_NEAR = 1.02
"""Programs whose cycles differ by less than this factor are the same to a model of a machine."""

_MOST = 24
"""Embeddings whose programs are made besides the first's, and those that are tried to prove that no other is faster."""


def roofline(price: Costs) -> int:
    """The modelled cycles of the embedding and of its packing."""
    return price.total


def choose(
    operator: Operator,
    target: Isa,
    settings: Settings,
    make: Maker[Program],
    floor: Floor = roofline,
    alike: Alike = str,
) -> tuple[Solution, Program]:
    """The best embedding under the objective with its program; raises NoEmbedding where none has one that fits.

    With the objective `cycles` those of the programs count. OPTIMAL is an embedding whose roofline is proven least and
    whose program comes within 2 % of it, or one to whose program that of no other embedding takes 2 % less.
    """
    first = search.best(operator, target, settings)
    contest = Contest(make, floor, alike)
    contest.enter(first)
    if contest.best is not None:
        cycles = contest.best[1].cycles
        if settings.objective != "cycles" or not cycles or cycles <= first.costs.cycles * _NEAR:
            return contest.best
    return _best_of_all(contest, operator, target, settings, first)


class Contest(Generic[Program]):
    """Embeddings whose programs are made one after the other, each against the best so far."""

    def __init__(self, make: Maker[Program], floor: Floor, alike: Alike) -> None:
        self.make, self.floor, self.alike = make, floor, alike
        self.best: tuple[Solution, Program] | None = None
        self.reason: NoEmbedding | None = None
        self._known: set[Hashable] = set()

    @property
    def total(self) -> int | None:
        """Cycles of the best program and of its packing."""
        return None if self.best is None else self.best[1].cycles + _packing(self.best[0].costs)

    def may_win(self, price: Costs, by: float = 1) -> bool:
        """Whether an embedding could have a program of fewer cycles than the best's, divided by a factor."""
        return self.total is None or self.floor(price) * by < self.total

    def kind(self, embedding: Embedding, price: Costs) -> Hashable:
        """The same for embeddings whose programs and packing take the same cycles."""
        return self.alike(embedding), _packing(price)

    def knows(self, embedding: Embedding, price: Costs) -> bool:
        """Whether one of the kind has entered."""
        return self.kind(embedding, price) in self._known

    def enter(self, other: Solution, by: float = 1) -> None:
        """Make an embedding's program, which wins if it takes fewer cycles than the best's, divided by a factor."""
        if self.knows(other.embedding, other.costs):
            return
        self._known.add(self.kind(other.embedding, other.costs))
        below = None if self.total is None else ceil(self.total / by) - _packing(other.costs)
        try:
            program = self.make(other.embedding, below)
        except NoEmbedding as error:
            self.reason = self.reason or error
            return
        if below is None or program.cycles < below:
            self.best = other, program


def _best_of_all(
    contest: Contest[Program], operator: Operator, target: Isa, settings: Settings, first: Solution
) -> tuple[Solution, Program]:
    """The best of the first and of all that may win."""
    others = listing.rivals(operator, target, settings, contest.total)
    for place in sorted(range(len(others)), key=lambda place: contest.floor(others.ranked[place][1]))[:_MOST]:
        if not contest.may_win(others.ranked[place][1]):
            break
        contest.enter(replace(others[place], seconds=others.seconds))
    rewritten = [one for one, price in others.ranked if one.relaxed and contest.may_win(price, _NEAR)]
    siblings = listing.siblings(rewritten, operator, target, settings)
    done = _enter_rest(contest, (others, siblings))
    if contest.best is None:
        assert contest.reason is not None
        raise contest.reason
    solution, program = contest.best
    left = siblings.progress if others.complete else others.progress
    if done and left.done:
        return replace(solution, status="OPTIMAL", progress=None), program
    least = first.progress.bound if first.progress else first.costs.total
    progress = None if left.done else replace(left, term="cycles", bound=least)
    return replace(solution, status="FEASIBLE", progress=progress), program


def _enter_rest(contest: Contest[Program], lists: Sequence[listing.Alternatives]) -> bool:
    """Whether nothing on some lists can win by more than a model is exact to; where that is too much to try, False."""
    kinds: dict[Hashable, tuple[listing.Alternatives, int]] = {}
    for found in lists:
        for place, (embedding, price) in enumerate(found.ranked):
            if contest.may_win(price, _NEAR) and not contest.knows(embedding, price):
                kinds.setdefault(contest.kind(embedding, price), (found, place))
                if len(kinds) > _MOST:
                    return False
    for found, place in kinds.values():
        if contest.may_win(found.ranked[place][1], _NEAR):
            contest.enter(found[place], _NEAR)
    return True


def _packing(price: Costs) -> int:
    """Cycles of the copies that pinned layouts leave."""
    return price.total - price.cycles
