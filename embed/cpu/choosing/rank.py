"""Embeddings and schedules of one operator, ranked together by the model of the core."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from embed.checker import verify
from embed.cpu.choosing.model import Price
from embed.cpu.choosing.place import Option
from embed.cpu.choosing.site import Site
from embed.embedding import Embedding
from embed.errors import NoEmbedding
from embed.nest.schedule import Schedule
from embed.solver.deadline import Deadline
from embed.solver.settings import Settings

ACCURACY = 1.01
"""Prices closer than this are the same to the model."""

_BUSIER = 1.1
"""More than this part of another's multiply-accumulates is noticeable where data are in a cache already."""

_WORTH = 0.85
"""An unusual placement is looked for if its multiply-accumulates alone take less than this part of the best price."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A kernel that could be made, and what the model says of it."""

    site: Site
    schedule: Schedule
    price: Price

    @property
    def embedding(self) -> Embedding:
        return self.site.embedding

    def __str__(self) -> str:
        return f"{self.embedding} {self.schedule}"


@dataclass(frozen=True, slots=True)
class Ranking:
    """Candidates, the cheapest first; `note` says what a time limit left out, if it did.

    What was looked at and what was left takes `bound` cycles at least.
    """

    candidates: tuple[Candidate, ...]
    note: str = ""
    bound: float = 0


Priced = Callable[[Embedding], Sequence[Candidate]]
"""The candidates of one embedding; none where its results cannot be stored."""


def rank(candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """By price; of those that cost the same within the model's accuracy the one that came first is the first.

    One that computes noticeably longer is not: its caches may hold more than the model can know.
    """
    least = min(candidate.price.total for candidate in candidates)
    near = [candidate for candidate in candidates if candidate.price.total <= least * ACCURACY]
    busy = min(candidate.price.compute for candidate in near)
    first = next(candidate for candidate in near if candidate.price.compute <= busy * _BUSIER)
    rest = sorted(candidates, key=lambda candidate: candidate.price.total)
    return (first, *(candidate for candidate in rest if candidate is not first))


def search(
    options: Sequence[Option], priced: Priced, invocation: Callable[[str], float], deadline: Deadline, thorough: bool
) -> Ranking:
    """Place, price and rank; `invocation` gives the cycles that one multiply-accumulate takes at least, by its name.

    Options that cannot be better are left out unless the search is `thorough`. Raises NoEmbedding where nothing was
    found before the `deadline`.
    """
    settings = Settings("invocations", deadline.limit)
    found: list[Candidate] = []
    fewest: list[int] = []
    left: list[float] = []
    for option in options:
        least = option.least * invocation(option.problem.instruction.name)
        if deadline.passed:
            left.append(least)
            continue
        if fewest and not thorough and _hopeless(option, least, fewest, found):
            continue
        most = [] if thorough or not option.usual else fewest
        placed = option.solve(most, settings, deadline)
        left += [least] if placed is not None and not placed.proven else []
        if placed is None or placed.embedding is None or (fewest and option.usual and placed.values >= most != []):
            continue
        verify(placed.embedding)
        possible = priced(placed.embedding)
        deadline.spend()
        found += possible
        if possible:
            fewest = min(fewest, placed.values) if fewest else placed.values
    note = _note(left, len(options), deadline.limit, bool(found))
    ranked = rank(found)
    return Ranking(ranked, note, min([*left, *(candidate.price.total for candidate in ranked)]))


def _hopeless(option: Option, least: float, fewest: Sequence[int], found: Sequence[Candidate]) -> bool:
    """Whether an option of `least` cycles cannot have as few invocations as the usual ones, or cost much less."""
    if option.usual:
        return option.least > fewest[0]
    return least > _WORTH * rank(found)[0].price.total


def _note(left: Sequence[float], count: int, time_limit: float, found: bool) -> str:
    """What the time limit did; `left` are the cycles that placements it cut short or left out take at least.

    Raises NoEmbedding where nothing was found.
    """
    if not left and not found:
        raise NoEmbedding("no embedding fits the registers' lanes")
    if not left:
        return ""
    said = f"the time limit of {time_limit:g} s ended the search with {len(left)} of {count} placements left"
    said += f", of which none takes less than {min(left):,.0f} cycles"
    if not found:
        raise NoEmbedding(f"{said}, before an embedding was found; raise the time limit")
    return f"{said}; this is the best of those found"
