"""The plan of a chain: one option for each operator, and what is copied between them."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from dataflow.errors import UserError
from embed.chain.blocked import blocked_offers
from embed.chain.options import Chain, Copy, Offers, Option
from embed.chain.packed import handed_on, packed_offers
from embed.chain.prune import hopeful
from embed.kernel import Machine
from embed.solver.chain import Choice, choose
from embed.solver.deadline import Deadline
from embed.solver.settings import Settings
from isa.model import Isa


@dataclass(frozen=True, slots=True)
class Plan:
    """The options taken, in order, and the `copies` of tensors between them.

    `greedy` is the total when each operator in turn takes what is cheapest for it after those before. No plan takes
    less than `bound` cycles; `left` names the operators of which a time limit left embeddings out.
    """

    chain: Chain
    options: tuple[Option, ...]
    copies: tuple[Copy, ...]
    greedy: int
    bound: int
    left: tuple[str, ...]
    status: str
    seconds: float

    @property
    def cycles(self) -> int:
        """All operators and copies."""
        return sum(option.cycles for option in self.options) + sum(copy.cycles for copy in self.copies)


def plan(
    chain: Chain, target: Isa, *, layouts: Mapping[str, str] | None = None, settings: Settings | None = None
) -> Plan:
    """The options of least total cycles; OPTIMAL is proven over all regular embeddings, on a CPU over its layouts.

    Those of rewritten operators count where `settings.relax` names relaxations; a plan without them is improved then.

    What enters and leaves the chain lies row-major, or as `layouts` say by the name of the flow; packing and unpacking
    it counts. Raises NoEmbedding with the reason, UserError for a layout that does not fit.
    """
    start = time.perf_counter()
    asked = settings or Settings()
    relax = handed_on(asked.relax or ())
    deadline = Deadline(asked.time_limit)
    if Machine.of(target) is Machine.CPU:
        if relax:
            raise UserError(f"--relax: kernels for {target.name} compute the operator as it is")
        offers = blocked_offers(chain, target, layouts or {}, deadline)
    else:
        offers = packed_offers(chain, target, layouts or {}, replace(asked, relax=()), deadline)
    greedy = _greedy(offers)
    found = _chosen(offers, greedy, asked, deadline)
    if relax:
        offers = packed_offers(
            chain, target, layouts or {}, replace(asked, relax=relax), deadline, offers.total(found.options)
        )
        found = _chosen(offers, found.options, asked, deadline)
    return Plan(
        chain,
        tuple(found.options),
        tuple(offers.copies(found.options)),
        offers.total(greedy),
        offers.least if offers.left else found.bound,
        offers.left,
        "OPTIMAL" if found.proven and not offers.left else "FEASIBLE",
        time.perf_counter() - start,
    )


def _chosen(offers: Offers, known: Sequence[Option], settings: Settings, deadline: Deadline) -> Choice:
    """The options whose total is least, the known ones if none has less."""
    better = min((_settled(offers, start) for start in (_greedy(offers), known)), key=offers.total)
    return choose(hopeful(offers, offers.total(better)), better, settings, deadline)


def _settled(offers: Offers, start: Sequence[Option]) -> Sequence[Option]:
    """What is no better when one operator takes another option: each takes its best beside the others in turn."""
    taken, total = tuple(start), offers.total(start)
    while True:
        for place, options in enumerate(offers.options):
            tried = [taken, *((*taken[:place], option, *taken[place + 1 :]) for option in options)]
            taken = min(tried, key=offers.total)
        if offers.total(taken) == total:
            return taken
        total = offers.total(taken)


def _greedy(offers: Offers) -> list[Option]:
    """Each operator in turn takes what is cheapest after those before, whatever becomes of its result."""
    taken: list[Option] = []
    for options in offers.options:
        costs = [_cost(offers, [*taken, option]) for option in options]
        taken.append(options[costs.index(min(costs))])
    return taken


def _cost(offers: Offers, taken: Sequence[Option]) -> int:
    """Cycles of the last option and of all copies so far."""
    return taken[-1].cycles + sum(copy.cycles for copy in offers.copies(taken) if not copy.flow.leaves)
