"""Embedding and schedule together: of all embeddings, the one whose best schedule takes the fewest cycles.

No schedule takes less than its embedding's modelled cycles, a roofline. So embeddings are scheduled in the order of
their rooflines until none that is left can win.
"""

from dataclasses import replace

from dataflow.operator import Operator
from embed.errors import NoEmbedding
from embed.nest.schedule import Schedule
from embed.solver import listing, search
from embed.solver.search import Solution
from embed.solver.settings import Settings
from embed.vta.executable import scheduled
from embed.vta.refine import refined
from isa.model import Isa

_NEAR = 0.02
"""A schedule this close to the least roofline of all is taken at once: no other embedding gains more."""

_MOST = 24
"""Embeddings that are scheduled besides the first."""


def choose(operator: Operator, target: Isa, settings: Settings) -> tuple[Solution, Schedule]:
    """The best embedding under the objective with its schedule; raises NoEmbedding where none has one that fits.

    With the objective `cycles` the scheduled ones count. OPTIMAL is an embedding whose roofline is proven least and
    whose schedule comes within 2 % of it, or one whose schedule is no longer than the roofline of any embedding that
    was not scheduled.
    """
    solution, schedule = _chosen(operator, target, settings)
    return solution, refined(solution.embedding, target, schedule, solution.costs.cycles)


def _chosen(operator: Operator, target: Isa, settings: Settings) -> tuple[Solution, Schedule]:
    solution = search.best(operator, target, settings)
    try:
        schedule = scheduled(solution.embedding, target)
    except NoEmbedding as error:
        return _better(operator, target, settings, solution, None, error)
    near = schedule.cycles <= solution.costs.cycles * (1 + _NEAR)
    if settings.objective != "cycles" or not schedule.cycles or near:
        return solution, schedule
    return _better(operator, target, settings, solution, schedule, None)


def _better(
    operator: Operator,
    target: Isa,
    settings: Settings,
    first: Solution,
    schedule: Schedule | None,
    reason: NoEmbedding | None,
) -> tuple[Solution, Schedule]:
    """The best of the first, if it has a schedule, and the next by roofline; OPTIMAL if none left has one below."""
    best = (first, schedule) if schedule else None
    others = listing.rivals(operator, target, settings, _total(best) if best else None)
    for other in (others[place] for place in range(min(_MOST, len(others)))):
        if best and other.costs.total >= _total(best):
            break
        if best and other.embedding == best[0].embedding:
            continue
        try:
            below = _total(best) - _packing(other) if best else None
            found = scheduled(other.embedding, target, below=below)
        except NoEmbedding as error:
            reason = reason or error
            continue
        best = replace(other, seconds=others.seconds), found
    if best is None:
        assert reason is not None
        raise reason
    least = first.progress.bound if first.progress else first.costs.total
    progress = None if others.complete else replace(others.progress, term="cycles", bound=least)
    proven = others.complete and not _untried(others, _total(best))
    return replace(best[0], status="OPTIMAL" if proven else "FEASIBLE", progress=progress), best[1]


def _untried(others: listing.Alternatives, total: int) -> bool:
    """Whether an embedding with a lower roofline was not scheduled: one too many, or another of the same rewriting."""
    lower = [embedding for embedding, price in others.ranked if price.total < total]
    return len(lower) > _MOST or any(embedding.relaxed for embedding in lower)


def _total(one: tuple[Solution, Schedule]) -> int:
    """Cycles of a scheduled embedding and of its packing."""
    return one[1].cycles + _packing(one[0])


def _packing(solution: Solution) -> int:
    """Cycles of the copies that pinned layouts leave."""
    return solution.costs.total - solution.costs.cycles
