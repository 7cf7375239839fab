"""Embedding and program together: of all embeddings, the one whose program takes the fewest cycles.

No program takes less than its embedding's modelled cycles, a roofline. So programs are made in the order of the
rooflines until none that is left can win.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, replace
from math import ceil
from typing import Generic, Protocol, TypeVar

from dataflow.operator import Operator
from embed.checker import verify
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

Floor = Callable[[Embedding, Costs], int]
"""Cycles that no program of an embedding with its packing goes below."""

_NEAR = 1.02
"""Programs whose cycles differ by less than this factor are the same to a model of a machine."""

_SECONDS = 0.4
"""What making a program may take of a time limit: so the number of programs is the same on every machine."""


def roofline(_: Embedding, price: Costs) -> int:
    """The modelled cycles of an embedding and of its packing."""
    return price.total


def choose(
    operator: Operator,
    target: Isa,
    settings: Settings,
    make: Maker[Program],
    floor: Floor = roofline,
    alike: Alike = str,
    seconds: float = _SECONDS,
) -> tuple[Solution, Program]:
    """The best embedding under the objective with its program; raises NoEmbedding where none has one that fits.

    With the objective `cycles` those of the programs count. OPTIMAL is an embedding whose roofline is proven least and
    whose program comes within 2 % of it, or one to whose program that of no other embedding takes 2 % less. Programs
    are made as long as the time limit lasts, if each takes some `seconds`.
    """
    first = search.best(operator, target, settings)
    contest = Contest(make, floor, alike, max(1, int(settings.time_limit / seconds)))
    contest.enter(Entrant(first.embedding, first.costs))
    if contest.best is not None:
        cycles = contest.best[1].cycles
        if settings.objective != "cycles" or not cycles or cycles <= first.costs.cycles * _NEAR:
            return first, contest.best[1]
    return _best_of_all(contest, operator, target, settings, first)


@dataclass(frozen=True, slots=True)
class Entrant:
    """An embedding that may have the best program, and its price."""

    embedding: Embedding
    price: Costs

    @property
    def packing(self) -> int:
        """Cycles of the copies that pinned layouts leave."""
        return self.price.total - self.price.cycles


class Contest(Generic[Program]):
    """Embeddings whose programs are made one after the other, each against the best so far, `most` of a list."""

    def __init__(self, make: Maker[Program], floor: Floor, alike: Alike, most: int) -> None:
        self.make, self.floor, self.alike, self.most = make, floor, alike, most
        self.best: tuple[Entrant, Program] | None = None
        self.reason: NoEmbedding | None = None
        self._known: set[Hashable] = set()

    @property
    def total(self) -> int | None:
        """Cycles of the best program and of its packing."""
        return None if self.best is None else self.best[1].cycles + self.best[0].packing

    def may_win(self, one: Entrant, by: float = 1) -> bool:
        """Whether an embedding could have a program of fewer cycles than the best's, divided by a factor."""
        return self.total is None or self.floor(one.embedding, one.price) * by < self.total

    def knows(self, other: Entrant) -> bool:
        """Whether one has entered whose program and packing take as many cycles."""
        return self._kind(other) in self._known

    def _kind(self, other: Entrant) -> Hashable:
        return self.alike(other.embedding), other.packing

    def enter(self, other: Entrant, by: float = 1) -> None:
        """Make an embedding's program, which wins if it takes fewer cycles than the best's, divided by a factor."""
        if self.knows(other):
            return
        self._known.add(self._kind(other))
        below = None if self.total is None else ceil(self.total / by) - other.packing
        try:
            program = self.make(other.embedding, below)
        except NoEmbedding as error:
            self.reason = self.reason or error
            return
        if below is None or program.cycles < below:
            self.best = other, program

    def enter_all(self, others: Iterable[Entrant], by: float = 1) -> bool:
        """Enter all that may win, those of the lowest floors first; False where these are too many."""
        left = self.most
        for one in sorted(others, key=lambda one: self.floor(one.embedding, one.price)):
            if not self.may_win(one, by):
                break
            if self.knows(one):
                continue
            if not left:
                return False
            self.enter(one, by)
            left -= 1
        return True


def _best_of_all(
    contest: Contest[Program], operator: Operator, target: Isa, settings: Settings, first: Solution
) -> tuple[Solution, Program]:
    """The best of the first and of all that may win."""
    others = listing.rivals(operator, target, settings, contest.total)
    contest.enter_all(_entrants(others))
    rewritten = [one.embedding for one in _entrants(others) if one.embedding.relaxed and contest.may_win(one, _NEAR)]
    below = None if contest.total is None else int(contest.total / _NEAR) + 1
    siblings = listing.siblings(rewritten, operator, target, settings, below)
    done = contest.enter_all([*_entrants(others), *_entrants(siblings)], _NEAR)
    if contest.best is None:
        assert contest.reason is not None
        raise contest.reason
    chosen, program = contest.best
    verify(chosen.embedding)
    left = siblings.progress if others.complete else others.progress
    solution = replace(first, embedding=chosen.embedding, costs=chosen.price, seconds=first.seconds + others.seconds)
    if done and left.done:
        return replace(solution, status="OPTIMAL", progress=None), program
    least = first.progress.bound if first.progress else first.costs.total
    progress = None if left.done else replace(left, term="cycles", bound=least)
    return replace(solution, status="FEASIBLE", progress=progress), program


def _entrants(found: listing.Alternatives) -> Iterator[Entrant]:
    return (Entrant(embedding, price) for embedding, price in found.ranked)
