"""Demands on the kernels of a CPU: of those that the model priced, the ones that do what is demanded."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from dataflow.dtypes import bits
from dataflow.operator import Operator
from embed.cpu.arrays.feed import Feed
from embed.cpu.choosing.rank import Candidate, Ranking, rank
from embed.demands import Demand, placed_so
from embed.errors import NoEmbedding
from embed.physical import Physical


def narrowed(
    ranking: Ranking, demands: Sequence[Demand], operator: Operator, physical: Mapping[str, Physical]
) -> Ranking:
    """The kernels that meet all demands; raises NoEmbedding with a minimal set of those that none meets together."""
    kept = [found for found in ranking.candidates if all(meets(demand, found) for demand in demands)]
    if kept:
        return replace(ranking, candidates=rank(kept))
    clash = list(demands)
    for demand in demands:
        others = [other for other in clash if other != demand]
        if not any(all(meets(other, found) for other in others) for found in ranking.candidates):
            clash = others
    reasons = ", and ".join(map(str, clash))
    facts = "; ".join(_fact(demand, clash, ranking.candidates, physical) for demand in clash)
    cut = f" ({ranking.note})" if ranking.note else ""
    raise NoEmbedding(
        f"{operator.title}: none of {len(ranking.candidates)} kernels is such that {reasons}: {facts}. "
        f"Leave out {' or '.join(demand.written for demand in clash)}{cut}"
    )


def meets(demand: Demand, found: Candidate) -> bool:
    """Whether a kernel does what is demanded; its bytes are those of the arrays that it reads and writes."""
    match demand.kind:
        case "in-place":
            return all(feed.in_place for feed in _feeds(found, demand.about[0]))
        case "exact":
            return all(feed.size == feed.physical.tensor.size for feed in _feeds(found, demand.about[0]))
        case "min-utilisation":
            return found.embedding.utilisation >= demand.number - 1e-9
        case "max-cycles":
            return found.price.total <= demand.number
        case "max-bytes":
            return _bytes(found) <= demand.number
    return placed_so(demand, found.embedding)


def _feeds(found: Candidate, tensor: str | None = None) -> Iterator[Feed]:
    reached = found.site.reached(found.schedule)
    for stream in (*reached.streams.values(), *reached.extras.values()):
        if tensor in (None, stream.tensor):
            yield stream.feed


def _bytes(found: Candidate) -> int:
    return sum(feed.size * bits(feed.physical.tensor.dtype) // 8 for feed in _feeds(found))


def _fact(
    demand: Demand, clash: Sequence[Demand], candidates: Sequence[Candidate], physical: Mapping[str, Physical]
) -> str:
    """How near a demand can be met beside the others, or how the tensor that it names lies."""
    others = [other for other in clash if other != demand]
    near = [found for found in candidates if all(meets(other, found) for other in others)]
    match demand.kind:
        case "in-place" | "exact":
            lies = physical[demand.about[0]]
            return f"{demand.about[0]} lies as {lies.name} in {list(lies.shape)}"
        case "min-utilisation":
            return f"the highest is {max(found.embedding.utilisation for found in near):.4f}"
        case "max-cycles":
            return f"the least is {min(found.price.total for found in near):,.0f}"
        case "max-bytes":
            return f"the least is {min(map(_bytes, near)):,}"
    lanes = near[0].embedding.lanes
    return f"the lanes are {' and '.join(f'{extent} of {lane}' for lane, extent in lanes.items())}"
