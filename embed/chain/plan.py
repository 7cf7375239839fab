"""The plan of a chain: one option for each operator, and what is copied between them."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from embed.chain.blocked import blocked_offers
from embed.chain.options import Chain, Copy, Offers, Option
from embed.chain.packed import packed_offers
from embed.kernel import Machine
from embed.solver.chain import choose
from embed.solver.settings import Settings
from isa.model import Isa


@dataclass(frozen=True, slots=True)
class Plan:
    """The options taken, in order, and the `copies` of tensors between them.

    `greedy` is the total when each operator in turn takes what is cheapest for it after those before; no plan from the
    options that were found takes less than `bound`.
    """

    chain: Chain
    options: tuple[Option, ...]
    copies: tuple[Copy, ...]
    greedy: int
    bound: int
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
    deadline = start + asked.time_limit
    if Machine.of(target) is Machine.CPU:
        offers = blocked_offers(chain, target, layouts or {}, deadline)
    else:
        offers = packed_offers(chain, target, layouts or {}, asked, deadline)
    found = choose(offers, asked, deadline)
    taken = [options[place] for options, place in zip(offers.options, found.places, strict=True)]
    return Plan(
        chain,
        tuple(taken),
        tuple(offers.copies(taken)),
        offers.total(_greedy(offers)),
        found.bound,
        "OPTIMAL" if found.proven and offers.complete else "FEASIBLE",
        time.perf_counter() - start,
    )


def _greedy(offers: Offers) -> Sequence[Option]:
    """Each operator in turn takes what is cheapest after those before, whatever becomes of its result."""

    def cost(taken: Sequence[Option]) -> int:
        return taken[-1].cycles + sum(copy.cycles for copy in offers.copies(taken) if not copy.flow.leaves)

    taken: list[Option] = []
    for options in offers.options:
        known = taken
        taken = min(([*known, option] for option in options), key=cost)
    return taken
