"""The list of embeddings: one model for each instruction and binding, every placement by rank."""

import time
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, replace

from dataflow.operator import Operator
from embed.checker import verify
from embed.costs import Costs, evaluate
from embed.demands import check, meets
from embed.embedding import Embedding
from embed.errors import NoEmbedding
from embed.pareto import front
from embed.progress import Progress
from embed.same import map_of, once_each
from embed.solver.deadline import Deadline
from embed.solver.model import Found, Placements, PricedPlacements
from embed.solver.problem import Problem
from embed.solver.questions import every, held_under, numbered, order_of, problem_of, problems, relaxations, why_not
from embed.solver.relaxed import promising
from embed.solver.search import Solution
from embed.solver.settings import MODELS, Settings, log
from embed.solver.whynot import possible
from isa.model import Isa


@dataclass(frozen=True)
class Alternatives:
    """Distinct regular embeddings, best first; `progress` says whether these are all. Iterating checks each one."""

    ranked: tuple[tuple[Embedding, Costs], ...]
    progress: Progress
    seconds: float

    @property
    def complete(self) -> bool:
        """Whether these are proven to be all."""
        return self.progress.done

    def __len__(self) -> int:
        return len(self.ranked)

    def __getitem__(self, place: int) -> Solution:
        embedding, price = self.ranked[place]
        verify(embedding)
        status = "OPTIMAL" if self.complete and not place else "FEASIBLE"
        return Solution(embedding, price, status, self.seconds)

    def __iter__(self) -> Iterator[Solution]:
        return (self[place] for place in range(len(self)))

    def pareto(self) -> "Alternatives":
        """Those that no other beats or equals in cycles, packed bytes, utilisation and lane strides."""
        return replace(self, ranked=tuple(front(self.ranked)))


def stream(operator: Operator, target: Isa, settings: Settings, dominated: bool = False) -> Iterator[Solution]:
    """Distinct regular embeddings in the order in which they are found, each checked. Raises NoEmbedding.

    Without `dominated` only the maximal ones: no dim that is a loop would save invocations on idle lanes. Each map
    comes once, as it is found first.
    """
    seen: set[Hashable] = set()
    start, deadline = time.perf_counter(), Deadline(settings.time_limit)
    check(settings.demands, operator, target)
    for problem in every(operator, target, settings):
        for embedding in Placements(problem).stream(settings, deadline, not dominated):
            price = evaluate(embedding, problem.rates)
            if all(meets(demand, embedding, price) for demand in settings.demands):
                mapped = map_of(embedding)
                if mapped in seen:
                    continue
                seen.add(mapped)
                verify(embedding)
                yield Solution(embedding, price, "FEASIBLE", time.perf_counter() - start)


def alternatives(operator: Operator, target: Isa, settings: Settings, dominated: bool = False) -> Alternatives:
    """Every maximal map, with `dominated` every map, as many as the time limit allows; best first.

    One that can be written in several ways, which may pack tensors differently, is there as the best of them. Raises
    NoEmbedding with the reason.
    """
    found = written(operator, target, settings, dominated, Deadline(settings.time_limit))
    return replace(found, ranked=once_each(found.ranked))


def written(operator: Operator, target: Isa, settings: Settings, dominated: bool, deadline: Deadline) -> Alternatives:
    """Every embedding that can be written, best first; several may be one map and pack tensors differently.

    `deadline` is that of a search which this is a part of. Raises NoEmbedding with the reason.
    """
    check(settings.demands, operator, target)
    found = _listed(every(operator, target, settings), settings, deadline, not dominated)
    if not found.ranked and found.complete:
        raise _none_listed(operator, target, settings, deadline)
    return found


def within(operator: Operator, target: Isa, settings: Settings, cycles: int, deadline: Deadline) -> Alternatives:
    """Every embedding that can be written and has at most so many modelled cycles, those of rewritings too.

    `deadline` is that of a search which this is a part of.
    """
    asked = list(problems(operator, target))
    kinds = relaxations(target, settings)
    rest = promising(asked, target, kinds, {}, "cycles", lambda: cycles + 1)
    found = _listed([*asked, *(problem for _, problem in rest)], settings, deadline, maximal=False, below=cycles + 1)
    return replace(found, ranked=tuple(one for one in found.ranked if one[1].cycles <= cycles))


def siblings(
    embeddings: Iterable[Embedding], operator: Operator, target: Isa, settings: Settings, below: int | None
) -> Alternatives:
    """What may have less than `below` cycles of the rewritings of the operator that some embeddings are of, with their
    instructions and bindings.
    """
    lies = held_under(operator, target, settings).lies
    asked = (problem_of(embedding, target, lies) for embedding in embeddings)
    return _listed(asked, replace(settings, dump=None), Deadline(settings.time_limit), maximal=False, below=below)


def _listed(
    asked: Iterable[Problem], settings: Settings, deadline: Deadline, maximal: bool, below: int | None = None
) -> Alternatives:
    """The embeddings of some problems that meet the demands; with `below` only those of fewer cycles."""
    start = time.perf_counter()
    found: list[tuple[Embedding, Costs]] = []
    left: list[str] = []
    number = 0
    for number, problem in enumerate(asked, 1):
        placements = Placements(problem)
        streamed = placements.stream(settings, deadline, maximal, below)
        priced = ((embedding, evaluate(embedding, problem.rates)) for embedding in streamed)
        found += [one for one in priced if all(meets(demand, *one) for demand in settings.demands)]
        left += [] if streamed.complete else [str(problem)]
        log.log(MODELS, "    %d embeddings, %s", len(found), "complete" if streamed.complete else "out of time")
        if settings.dump:
            placements.dump(numbered(settings.dump, number))
    progress = Progress(number, tuple(left), struck=deadline.struck)
    return Alternatives(_ranked(found, order_of(settings)), progress, time.perf_counter() - start)


def rivals(operator: Operator, target: Isa, settings: Settings, below: int | None) -> Alternatives:
    """What may have less than `below` of the objective's first term: embeddings of the operator, and the best one of
    each rewriting that has less of it than all of these.
    """
    start, deadline = time.perf_counter(), Deadline(settings.time_limit)
    held, order = held_under(operator, target, settings), order_of(settings)
    asked = list(problems(held.operator, target, held.lies))

    def solved(problem: Problem, limit: list[int]) -> Found | None:
        placements = PricedPlacements(problem, settings.demands)
        return placements.minimise(order, limit, settings, deadline)

    plain = _listed(asked, settings, deadline, maximal=False, below=below if order[0] == "cycles" else None)
    found, left = list(plain.ranked), plain.progress.left
    plainly = [int(_rank(order, price, embedding)[0]) for embedding, price in found]
    least = min([*plainly, *([] if below is None else [below])], default=None)
    hopeful = list(promising(asked, target, relaxations(target, settings), held.lies, order[0], lambda: least))
    for _, problem in hopeful:
        one = solved(problem, [] if least is None else [least - 1])
        left += () if one is None or one.proven else (str(problem),)
        if one is not None and one.embedding is not None:
            found.append((one.embedding, evaluate(one.embedding, problem.rates)))
    progress = Progress(len(asked) + len(hopeful), left, struck=deadline.struck)
    return Alternatives(_ranked(found, order), progress, time.perf_counter() - start)


def _ranked(found: Iterable[tuple[Embedding, Costs]], order: tuple[str, ...]) -> tuple[tuple[Embedding, Costs], ...]:
    """The best first."""
    return tuple(sorted(found, key=lambda entry: (_rank(order, entry[1], entry[0]), str(entry[0]))))


def _rank(order: tuple[str, ...], price: Costs, embedding: Embedding) -> tuple[float, ...]:
    """What the objective minimises, as a key to sort by."""
    values = {"cycles": price.total, "invocations": price.invocations, "bytes": price.moved, "traffic": price.moved}
    return (*(values[name] for name in order), sum(len(digit.dims) + 1 for digit in embedding.digits))


def _none_listed(operator: Operator, target: Isa, settings: Settings, deadline: Deadline) -> NoEmbedding:
    """Why a complete list is empty: no embedding meets the demands, or none that is maximal does."""
    asked = list(every(operator, target, settings))
    if possible(asked, settings.demands, settings, deadline) is False:
        return NoEmbedding(why_not(operator, target, asked, settings))
    wanted = ", ".join(demand.written for demand in settings.demands)
    return NoEmbedding(f"{operator.title}: no maximal embedding meets {wanted}; list the dominated ones, too")
