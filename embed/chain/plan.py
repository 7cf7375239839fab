"""The plan of a chain: one option for each operator, and what is copied between them."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from embed.chain.blocked import blocked_offers
from embed.chain.options import Chain, Copy, Offers, Option
from embed.chain.packed import packed_offers
from embed.kernel import Machine
from embed.solver.chain import choose
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

    What enters and leaves the chain lies row-major, or as `layouts` say by the name of the flow; packing and unpacking
    it counts. Raises NoEmbedding with the reason, UserError for a layout that does not fit.
    """
    start = time.perf_counter()
    asked = settings or Settings()
    deadline = Deadline(asked.time_limit)
    if Machine.of(target) is Machine.CPU:
        offers = blocked_offers(chain, target, layouts or {}, deadline)
    else:
        offers = packed_offers(chain, target, layouts or {}, asked, deadline)
    greedy = _greedy(offers)
    found = choose(offers, greedy, asked, deadline)
    taken = [options[place] for options, place in zip(offers.options, found.places, strict=True)]
    return Plan(
        chain,
        tuple(taken),
        tuple(offers.copies(taken)),
        offers.cost(greedy),
        offers.least if offers.left else found.bound,
        offers.left,
        "OPTIMAL" if found.proven and not offers.left else "FEASIBLE",
        time.perf_counter() - start,
    )


def _greedy(offers: Offers) -> list[int]:
    """Each operator in turn takes what is cheapest after those before, whatever becomes of its result."""
    taken: list[Option] = []
    places = []
    for options in offers.options:
        costs = [_cost(offers, [*taken, option]) for option in options]
        places.append(costs.index(min(costs)))
        taken.append(options[places[-1]])
    return places


def _cost(offers: Offers, taken: Sequence[Option]) -> int:
    """Cycles of the last option and of all copies so far."""
    return taken[-1].cycles + sum(copy.cycles for copy in offers.copies(taken) if not copy.flow.leaves)
