"""Embedding and program together: of all embeddings, the one whose program takes the fewest cycles.

No program takes less than its embedding's modelled cycles, a roofline. So programs are made in the order of the
rooflines until none that is left can win.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol, TypeVar

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

_NEAR = 0.02
"""A program this close to the least roofline of all is taken at once: no other embedding gains more."""

_MOST = 24
"""Embeddings whose programs are made besides the first's."""


Floor = Callable[[Costs], int]
"""Cycles that no program of an embedding with its packing goes below, by the price of the embedding."""


def roofline(price: Costs) -> int:
    """The modelled cycles of the embedding and of its packing."""
    return price.total


def choose(
    operator: Operator, target: Isa, settings: Settings, make: Maker[Program], floor: Floor = roofline
) -> tuple[Solution, Program]:
    """The best embedding under the objective with its program; raises NoEmbedding where none has one that fits.

    With the objective `cycles` those of the programs count. OPTIMAL is an embedding whose roofline is proven least and
    whose program comes within 2 % of it, or one whose program is no longer than the roofline of any embedding that
    has none.
    """
    solution = search.best(operator, target, settings)
    try:
        program = make(solution.embedding, None)
    except NoEmbedding as error:
        return _better(operator, target, settings, make, floor, solution, None, error)
    near = program.cycles <= solution.costs.cycles * (1 + _NEAR)
    if settings.objective != "cycles" or not program.cycles or near:
        return solution, program
    return _better(operator, target, settings, make, floor, solution, program, None)


def _better(
    operator: Operator,
    target: Isa,
    settings: Settings,
    make: Maker[Program],
    floor: Floor,
    first: Solution,
    program: Program | None,
    reason: NoEmbedding | None,
) -> tuple[Solution, Program]:
    """The best of the first, if it has a program, and the next by floor; OPTIMAL if none left can have less."""
    best = (first, program) if program else None
    others = listing.rivals(operator, target, settings, _total(*best) if best else None)
    floors = [floor(price) for _, price in others.ranked]
    for place in sorted(range(len(others)), key=floors.__getitem__)[:_MOST]:
        if best and floors[place] >= _total(*best):
            break
        other = others[place]
        if best and other.embedding == best[0].embedding:
            continue
        try:
            found = make(other.embedding, _total(*best) - _packing(other) if best else None)
        except NoEmbedding as error:
            reason = reason or error
            continue
        if best is None or _total(other, found) < _total(*best):
            best = replace(other, seconds=others.seconds), found
    if best is None:
        assert reason is not None
        raise reason
    least = first.progress.bound if first.progress else first.costs.total
    progress = None if others.complete else replace(others.progress, term="cycles", bound=least)
    total = _total(*best)
    lower = [one.relaxed for (one, _), least in zip(others.ranked, floors, strict=True) if least < total]
    proven = others.complete and len(lower) <= _MOST and not any(lower)  # a rewriting has more than the one listed
    return replace(best[0], status="OPTIMAL" if proven else "FEASIBLE", progress=progress), best[1]


def _total(solution: Solution, program: Timed) -> int:
    """Cycles of a program and of its packing."""
    return program.cycles + _packing(solution)


def _packing(solution: Solution) -> int:
    """Cycles of the copies that pinned layouts leave."""
    return solution.costs.total - solution.costs.cycles
