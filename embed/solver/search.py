"""The search: one model for each instruction and binding, and the best placement of all."""

import time
from dataclasses import dataclass, replace

from dataflow.errors import UserError
from dataflow.operator import Operator
from embed.checker import verify
from embed.costs import Costs, evaluate, rates
from embed.demands import check, meets
from embed.embedding import Embedding
from embed.errors import NoEmbedding
from embed.pinned import Held
from embed.progress import Progress
from embed.solver.bound import least
from embed.solver.deadline import Deadline
from embed.solver.model import PricedPlacements
from embed.solver.problem import Problem
from embed.solver.questions import every, held_under, numbered, order_of, problems, relaxations, why_not
from embed.solver.relaxed import promising
from embed.solver.settings import Settings
from isa.model import Isa


@dataclass(frozen=True, slots=True)
class Solution:
    """An embedding with its price, and whether it is proven best; `seconds` is the whole search's time.

    `progress` says what is proven where that is less than all.
    """

    embedding: Embedding
    costs: Costs
    status: str
    seconds: float
    progress: Progress | None = None

    @property
    def note(self) -> str:
        """What a time limit left out, if it did."""
        if self.progress is None:
            return ""
        return f"the time limit ended the search: {self.progress}; this is the best of those found"


def best(operator: Operator, target: Isa, settings: Settings, deadline: Deadline | None = None) -> Solution:
    """The best embedding of any of the target's instructions in the operator; raises NoEmbedding with the reason.

    One of a rewritten operator counts where it has less of what the objective minimises first. `deadline` is that of a
    search which this is a part of.
    """
    start = time.perf_counter()
    held = held_under(operator, target, settings)
    asked = list(problems(held.operator, target, held.lies))
    check(settings.demands, operator, target)
    race = _Race(settings, deadline or Deadline(settings.time_limit))
    for problem in asked:
        race.enter(problem)
    kinds = relaxations(target, settings)
    rest = promising(asked, target, kinds, held.lies, race.order[0], lambda: race.goal)
    cut = not race.proven
    for bound, problem in rest:
        if cut or race.deadline.passed:
            race.leave("rewritings of the operator", bound)
            break
        race.enter(problem)
    seconds = time.perf_counter() - start
    if race.chosen is None:
        raise _none(operator, target, settings, race)
    solution = _checked(race.chosen, target, held, "OPTIMAL" if race.proven else "FEASIBLE", seconds)
    return solution if race.proven else replace(solution, progress=race.progress)


def given(embedding: Embedding, target: Isa, settings: Settings) -> Solution:
    """An embedding that the user wrote down, with its price under the layouts that are pinned.

    Raises UserError where it does not meet the demands.
    """
    held = held_under(embedding.asked, target, settings)
    check(settings.demands, embedding.asked, target)
    found = _checked(embedding.on(held.operator), target, held, "GIVEN", 0.0)
    for demand in settings.demands:
        if not meets(demand, found.embedding, found.costs):
            raise UserError(f"embedding '{embedding}' does not meet --demand {demand.written}")
    return found


class _Race:
    """Problems one after the other, each against the best so far."""

    def __init__(self, settings: Settings, deadline: Deadline) -> None:
        self.settings, self.deadline = settings, deadline
        self.order = order_of(settings)
        self.chosen: Embedding | None = None
        self.values: list[int] = []
        self.count = 0
        self.left: list[tuple[str, int]] = []

    @property
    def proven(self) -> bool:
        """Whether every problem is solved to the end."""
        return not self.left

    @property
    def progress(self) -> Progress:
        """What is proven of the first term."""
        bound = min([*(bound for _, bound in self.left), *self.values[:1]])
        return Progress(self.count, tuple(name for name, _ in self.left), self.order[0], bound, self.deadline.struck)

    @property
    def goal(self) -> int | None:
        """The least of the first term so far."""
        return self.values[0] if self.values else None

    def leave(self, name: str, bound: int) -> None:
        """Something for which the time is too short."""
        self.count += 1
        self.left.append((name, bound))

    def enter(self, problem: Problem) -> None:
        """Solve a problem; of a rewritten one only placements with less of the first term count."""
        bound = [self.values[0] - 1] if problem.relaxed and self.values else self.values
        placements = PricedPlacements(problem, self.settings.demands)
        found = placements.minimise(self.order, bound, self.settings, self.deadline)
        self.count += 1
        if self.settings.dump:
            placements.dump(numbered(self.settings.dump, self.count))
        if found is None:
            return
        if not found.proven:
            self.left.append((str(problem), max(found.bound, least(problem, self.order[0]))))
        if found.embedding is not None and (self.chosen is None or found.values < self.values):
            self.chosen, self.values = found.embedding, found.values


def _none(operator: Operator, target: Isa, settings: Settings, race: _Race) -> NoEmbedding:
    """Why there is no embedding, or how far the search came in a time that was too short to find one."""
    if not race.proven:
        text = f"no embedding of {target.name} in {operator.title} was found within {settings.limit}"
        return NoEmbedding(f"{text}: {race.progress}; raise the time limit", race.progress)
    return NoEmbedding(why_not(operator, target, list(every(operator, target, settings)), settings))


def _checked(embedding: Embedding, target: Isa, held: Held, status: str, seconds: float) -> Solution:
    verify(embedding)
    rate = rates(embedding.operator, target.instruction(embedding.name), target, held.lies)
    return Solution(embedding, evaluate(embedding, rate), status, seconds)
