"""The plan of a chain: one option for each operator, and what is repacked between them."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from embed.chain.blocked import blocked_offers
from embed.chain.options import Chain, Offers, Option
from embed.chain.packed import packed_offers
from embed.kernel import Machine
from embed.solver.chain import choose
from isa.model import Isa


@dataclass(frozen=True, slots=True)
class Plan:
    """The options taken, in order; `repacks` are the cycles before each and after the last.

    `greedy` is the total when each operator in turn takes what is cheapest for it after the one before.
    """

    chain: Chain
    options: tuple[Option, ...]
    repacks: tuple[int, ...]
    greedy: int
    status: str
    seconds: float

    @property
    def cycles(self) -> int:
        """All operators and repacks."""
        return sum(option.cycles for option in self.options) + sum(self.repacks)


def plan(
    chain: Chain, target: Isa, *, layouts: tuple[str | None, str | None] | None = None, time_limit: float = 10.0
) -> Plan:
    """The options of least total cycles; OPTIMAL is proven over all regular embeddings, on a CPU over its layouts.

    The chain's first input and last output lie row-major, or on a CPU as `layouts` say; packing and unpacking them
    counts. Raises NoEmbedding with the reason, UserError for a layout that does not fit.
    """
    start = time.perf_counter()
    find = blocked_offers if Machine.of(target) is Machine.CPU else packed_offers
    offers = find(chain, target, layouts, start + time_limit)
    places, proven = choose(offers, start + time_limit)
    taken = [options[place] for options, place in zip(offers.options, places, strict=True)]
    return Plan(
        chain,
        tuple(taken),
        offers.repacks(taken),
        offers.total(_greedy(offers)),
        "OPTIMAL" if proven and offers.complete else "FEASIBLE",
        time.perf_counter() - start,
    )


def _greedy(offers: Offers) -> Sequence[Option]:
    """Each operator in turn takes what is cheapest after the one before."""
    taken: list[Option] = []
    for options in offers.options:
        here = taken[-1].made if taken else offers.ends[0]
        taken.append(min(options, key=lambda option: offers.repack(here, option.given) + option.cycles))
    return taken
