"""The search: one model for each instruction and binding; the best placement of all, or every one by rank."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

from dataflow.computation import Computation
from dataflow.errors import UserError
from dataflow.operator import Operator
from dataflow.symbolic import sums_apart
from embed.binding import bindings
from embed.checker import verify
from embed.costs import Costs, evaluate, rates
from embed.demands import check, in_place, meets
from embed.embedding import Embedding, Placeable, as_accumulation
from embed.errors import NoEmbedding
from embed.pareto import front
from embed.physical import Physical
from embed.pinned import Held, hold
from embed.progress import Progress
from embed.solver.bound import least
from embed.solver.model import Found, Placements, PricedPlacements
from embed.solver.problem import Problem
from embed.solver.relaxed import promising, rewritten, usual
from embed.solver.remedy import remedies
from embed.solver.settings import MODELS, Settings, log
from embed.solver.whynot import conflict, explained, possible
from isa.model import Isa

OBJECTIVES = {
    "cycles": ("cycles", "traffic"),
    "invocations": ("invocations", "cycles", "traffic"),
    "bytes": ("bytes", "cycles", "traffic"),
}
"""What each objective minimises, in order; `traffic` is packed bytes, and of equals the fewest dims and digits."""


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


def best(operator: Operator, target: Isa, settings: Settings) -> Solution:
    """The best embedding of any of the target's instructions in the operator; raises NoEmbedding with the reason.

    One of a rewritten operator counts where it has less of what the objective minimises first.
    """
    start = time.perf_counter()
    held = held_under(operator, target, settings)
    asked = list(problems(held.operator, target, held.lies))
    check(settings.demands, operator, target)
    race = _Race(settings, start + settings.time_limit)
    for problem in asked:
        race.enter(problem)
    kinds = _kinds(target, settings)
    rest = promising(asked, target, kinds, held.lies, race.order[0], race.goal) if kinds else []
    if rest and race.left:
        race.leave("rewritings of the operator", rest[0][0])
        rest = []
    for bound, problem in rest:
        if race.goal is None or bound < race.goal:
            race.enter(problem)
    seconds = time.perf_counter() - start
    if race.chosen is None:
        raise _none(operator, target, asked, settings, race)
    solution = _checked(race.chosen, target, held, "OPTIMAL" if race.proven else "FEASIBLE", seconds)
    return solution if race.proven else replace(solution, progress=race.progress)


def given(embedding: Embedding, target: Isa, settings: Settings) -> Solution:
    """An embedding that the user wrote down, with its price under the layouts that are pinned."""
    held = held_under(embedding.asked, target, settings)
    return _checked(embedding.on(held.operator), target, held, "GIVEN", 0.0)


def held_under(operator: Operator, target: Isa, settings: Settings) -> Held:
    """The operator over the arrays that the layouts pin, and over those that are to be used in place.

    Raises UserError for pins on a CPU, whose kernels read tensors where lanes are neighbours, and for unknown ones.
    """
    named = in_place(settings.demands)
    if target.processor and (named or settings.layouts):
        raise UserError(f"layouts: what {target.name} reads in place depends on the kernel; compile and run take them")
    return hold(operator, dict(settings.layouts), named)


def _kinds(target: Isa, settings: Settings) -> tuple[str, ...]:
    """The relaxations to try. Demands speak of the user's dims: with them only those that were named."""
    if settings.relax is not None:
        return settings.relax
    return () if settings.demands else usual(target)


class _Race:
    """Problems one after the other, each against the best so far."""

    def __init__(self, settings: Settings, deadline: float) -> None:
        self.settings, self.deadline = settings, deadline
        self.order = _order(settings)
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
        return Progress(self.count, tuple(name for name, _ in self.left), self.order[0], bound)

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
            placements.dump(_numbered(self.settings.dump, self.count))
        if found is None:
            return
        if not found.proven:
            self.left.append((str(problem), max(found.bound, least(problem, self.order[0]))))
        if found.embedding is not None and (self.chosen is None or found.values < self.values):
            self.chosen, self.values = found.embedding, found.values


def _none(operator: Operator, target: Isa, asked: list[Problem], settings: Settings, race: _Race) -> NoEmbedding:
    """Why there is no embedding, or how far the search came in a time that was too short to find one."""
    if not race.proven:
        text = f"no embedding of {target.name} in {operator.title} was found within {settings.limit}"
        return NoEmbedding(f"{text}: {race.progress}; raise the time limit", race.progress)
    return NoEmbedding(_why_not(operator, target, asked, settings))


def _why_not(operator: Operator, target: Isa, asked: list[Problem], settings: Settings) -> str:
    """The demands that no embedding meets together, and what could be."""
    deadline = time.perf_counter() + settings.time_limit
    clash = conflict(asked, settings.demands, settings, deadline)
    text = explained(asked, clash, settings, deadline)

    def posed(other: Settings) -> list[Problem]:
        held = held_under(operator, target, other)
        return list(problems(held.operator, target, held.lies))

    others = list(remedies(operator, posed, replace(settings, demands=clash.demands), deadline))
    return f"{operator.title}: {text}" + (f", or pin --layout {' or '.join(others)}" if others else "")


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

    Without `dominated` only the maximal ones: no dim that is a loop would save invocations on idle lanes.
    """
    start = time.perf_counter()
    check(settings.demands, operator, target)
    for problem in _every(operator, target, settings):
        for embedding in Placements(problem).stream(settings, start + settings.time_limit, not dominated):
            price = evaluate(embedding, problem.rates)
            if all(meets(demand, embedding, price) for demand in settings.demands):
                verify(embedding)
                yield Solution(embedding, price, "FEASIBLE", time.perf_counter() - start)


def alternatives(operator: Operator, target: Isa, settings: Settings, dominated: bool = False) -> Alternatives:
    """Every maximal embedding, with `dominated` every distinct one, as many as the time limit allows; best first.

    Raises NoEmbedding with the reason.
    """
    start = time.perf_counter()
    order = _order(settings)
    found: list[tuple[Embedding, Costs]] = []
    left: list[str] = []
    number = 0
    check(settings.demands, operator, target)
    for number, problem in enumerate(_every(operator, target, settings), 1):
        placements = Placements(problem)
        streamed = placements.stream(settings, start + settings.time_limit, not dominated)
        priced = ((embedding, evaluate(embedding, problem.rates)) for embedding in streamed)
        found += [one for one in priced if all(meets(demand, *one) for demand in settings.demands)]
        left += [] if streamed.complete else [str(problem)]
        log.log(MODELS, "    %d embeddings, %s", len(found), "complete" if streamed.complete else "out of time")
        if settings.dump:
            placements.dump(_numbered(settings.dump, number))
    if not found and not left:
        raise _none_listed(operator, target, settings, start + settings.time_limit)
    return Alternatives(_ranked(found, order), Progress(number, tuple(left)), time.perf_counter() - start)


def rivals(operator: Operator, target: Isa, settings: Settings, below: int | None) -> Alternatives:
    """What may have less than `below` of the objective's first term: all embeddings of the operator, and the best one
    of each rewriting that can.
    """
    start = time.perf_counter()
    held, order = held_under(operator, target, settings), _order(settings)
    asked = list(problems(held.operator, target, held.lies))
    bound = [] if below is None else [below - 1]

    def solved(problem: Problem) -> Found | None:
        placements = PricedPlacements(problem, settings.demands)
        return placements.minimise(order, bound, settings, start + settings.time_limit)

    found: list[tuple[Embedding, Costs]] = []
    left: tuple[str, ...] = ()
    if any(solved(problem) for problem in asked):
        plain = alternatives(operator, target, replace(settings, relax=()), dominated=True)
        found, left = list(plain.ranked), plain.progress.left
    hopeful = promising(asked, target, _kinds(target, settings), held.lies, order[0], below)
    for _, problem in hopeful:
        one = solved(problem)
        left += () if one is None or one.proven else (str(problem),)
        if one is not None and one.embedding is not None:
            found.append((one.embedding, evaluate(one.embedding, problem.rates)))
    return Alternatives(_ranked(found, order), Progress(len(asked) + len(hopeful), left), time.perf_counter() - start)


def _ranked(found: Iterable[tuple[Embedding, Costs]], order: tuple[str, ...]) -> tuple[tuple[Embedding, Costs], ...]:
    """The best first."""
    return tuple(sorted(found, key=lambda entry: (_rank(order, entry[1], entry[0]), str(entry[0]))))


def _none_listed(operator: Operator, target: Isa, settings: Settings, deadline: float) -> NoEmbedding:
    """Why a complete list is empty: no embedding meets the demands, or none that is maximal does."""
    asked = list(_every(operator, target, settings))
    if possible(asked, settings.demands, settings, deadline) is False:
        return NoEmbedding(_why_not(operator, target, asked, settings))
    wanted = ", ".join(demand.written for demand in settings.demands)
    return NoEmbedding(f"{operator.title}: no maximal embedding meets {wanted}; list the dominated ones, too")


def _numbered(path: Path, number: int) -> Path:
    """The file of the first model, and numbered ones for the others."""
    return path if number == 1 else path.with_stem(f"{path.stem}-{number}")


def _rank(order: tuple[str, ...], price: Costs, embedding: Embedding) -> tuple[float, ...]:
    """What the objective minimises, as a key to sort by."""
    values = {"cycles": price.total, "invocations": price.invocations, "bytes": price.moved, "traffic": price.moved}
    return (*(values[name] for name in order), sum(len(digit.dims) + 1 for digit in embedding.digits))


def _order(settings: Settings) -> tuple[str, ...]:
    if settings.objective not in OBJECTIVES:
        raise UserError(f"objective '{settings.objective}' is unknown; there are: {', '.join(OBJECTIVES)}")
    return OBJECTIVES[settings.objective]


def _every(operator: Operator, target: Isa, settings: Settings) -> Iterator[Problem]:
    """The operator's problems under pinned layouts, and where relaxations are named those of its rewritings."""
    held = held_under(operator, target, settings)
    plain = list(problems(held.operator, target, held.lies))
    yield from plain
    yield from rewritten(plain, target, settings.relax or (), held.lies)


def problems(operator: Operator, target: Isa, lies: Mapping[str, Physical] | None = None) -> Iterator[Problem]:
    """Every (instruction, binding) whose bodies agree, under pinned layouts; raises NoEmbedding where there is none."""
    if not sums_apart(operator.main):
        raise NoEmbedding(f"`{operator.main}` adds to one element from several points of its output dims")
    _check_names(operator.main)
    none = True
    for instruction in target.instructions.values():
        if instruction.pattern is None or not as_accumulation(instruction.pattern).accumulate:
            continue
        for binding in bindings(operator.main, as_accumulation(instruction.pattern)):
            none = False
            rate = rates(operator, instruction, target, lies or {})
            yield Problem(operator, Placeable.of(target, instruction.name), binding, rate)
    if none:
        raise NoEmbedding(f"no instruction of {target.name} computes `{operator.main}`: {_offers(target)}")


def _check_names(operator: Computation) -> None:
    """Tile loops are named after their dims, `c_o` or `crs_o`; raises UserError where two names could be one."""
    dims = list(operator.extents)
    endings = [dim for dim in dims if dim.endswith("_o")]
    if endings:
        raise UserError(f"dim '{endings[0]}' is named like a loop over tiles; choose a name that does not end in _o")
    if max(map(len, dims), default=1) > 1:
        found = ["".join(some) for count in range(1, len(dims) + 1) for some in combinations(dims, count)]
        clash = next((name for name, count in Counter(found).items() if count > 1), None)
        if clash is not None:
            raise UserError(f"dims {', '.join(dims)}: several of them read '{clash}' in a row; choose other names")


def _offers(target: Isa) -> str:
    patterns = {e.name: e.pattern for e in target.instructions.values() if e.pattern}
    found = [f"{name} is `{pattern}`" for name, pattern in patterns.items() if as_accumulation(pattern).accumulate]
    return "; ".join(found) if found else "it has no instruction that accumulates"


def _checked(embedding: Embedding, target: Isa, held: Held, status: str, seconds: float) -> Solution:
    verify(embedding)
    rate = rates(embedding.operator, target.instruction(embedding.name), target, held.lies)
    return Solution(embedding, evaluate(embedding, rate), status, seconds)
