"""Chains on a machine that reads packed words: every embedding is an option, and its layouts are the forms."""

import hashlib
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from math import prod

import numpy as np

from dataflow.computation import Tensor
from dataflow.dtypes import bits
from dataflow.errors import UserError
from embed.chain.options import Chain, Form, Offers, Option, cheapest
from embed.costs import Costs
from embed.embedding import Array, Embedding
from embed.epilogue import plan
from embed.errors import NoEmbedding
from embed.layout import Layout, derive
from embed.packing import Gather
from embed.physical import Physical
from embed.relax.sums import SUMS
from embed.solver.deadline import Deadline
from embed.solver.listing import within
from embed.solver.search import Solution, best
from embed.solver.settings import Settings
from isa.model import Isa

Priced = tuple[Embedding, Costs]


def packed_offers(
    chain: Chain,
    target: Isa,
    layouts: Mapping[str, str],
    settings: Settings,
    deadline: Deadline,
    known: int | None = None,
) -> Offers:
    """All embeddings of each operator that a plan of `known` cycles could have, or a best plan where none is known.

    A copy moves both forms over the bus once.
    """
    bests = [_best(chain, place, target, settings, deadline) for place in range(len(chain.operators))]
    floors = [one.costs.cycles if one.progress is None else one.progress.bound or 0 for one in bests]
    ends = {
        flow.name: lying(flow.tensor, layouts.get(flow.name))
        for flow in chain.flows
        if flow.source is None or flow.leaves
    }
    rate = target.timing.constants.get("bus_bytes", 1) if target.timings else 1

    def repack(before: Form, after: Form) -> int:
        return 0 if before.key == after.key else -(-(before.bytes + after.bytes) // rate)

    offers = Offers(chain, (), ends, repack, (), sum(floors))
    alone = [(one.embedding, one.costs) for one in bests]
    firsts = [next(options_of(chain.read_by(place), target, [one])) for place, one in enumerate(alone)]
    known = min(offers.total(firsts), known or offers.total(firsts))
    options, left = [], []
    for place, (operator, first, floor) in enumerate(zip(chain.operators, alone, floors, strict=True)):
        room = known - (sum(floors) - floor)
        near = within(operator, target, settings, room, deadline.remaining)
        options.append(cheapest(options_of(chain.read_by(place), target, [first, *near.ranked])))
        left += [] if near.complete else [chain.name(place)]
    return replace(offers, options=options, left=tuple(left))


def _best(chain: Chain, place: int, target: Isa, settings: Settings, deadline: Deadline) -> Solution:
    """The best embedding of an operator alone; raises NoEmbedding with the operator's name."""
    try:
        return best(chain.operators[place], target, settings, deadline.remaining)
    except NoEmbedding as error:
        raise NoEmbedding(f"operator {chain.name(place)}: {error}", error.progress) from None


def handed_on(relax: tuple[str, ...]) -> tuple[str, ...]:
    """The relaxations without sums in parts, which are not yet the tensor that the next operator reads.

    Raises UserError where nothing is left of those that were named.
    """
    found = tuple(kind for kind in relax if kind != SUMS.name)
    if relax and not found:
        raise UserError(f"--relax {SUMS.name}: in a chain each operator writes whole sums; name other relaxations")
    return found


def options_of(flowing: Sequence[str], target: Isa, ranked: Iterable[Priced]) -> Iterator[Option]:
    """An option for each embedding of an operator; `flowing` are the operator's inputs that flow in the chain."""
    for embedding, price in ranked:
        epilogue = plan(embedding.operator, target)
        layouts = derive(embedding, epilogue.extras)
        sums = embedding.pattern.tensors[0].dtype
        given = {}
        for access, read in {**embedding.accesses, **epilogue.extras}.items():
            if read.tensor in flowing:
                own = layouts[access].tensor.dtype
                given[read.tensor] = read_form(layouts[access], sums if access in epilogue.extras else own)
        made = written_form(layouts[embedding.operator.main.output.tensor], embedding, epilogue.planes)
        yield Option(given, made, price.cycles, embedding)


def lying(tensor: Tensor, layout: str | None) -> Form:
    """The user's own array, row-major where no layout is named."""
    physical = Physical.of(tensor, layout)
    name = physical.name if layout else "row-major"
    array = physical.lying(_numbers(tensor.size).reshape(tensor.shape))
    lies = array if physical.blocks else array.transpose(physical.order)
    return Form(f"{tensor.name} {name}", (_digest(lies), bits(tensor.dtype)), physical.size * bits(tensor.dtype) // 8)


def read_form(layout: Layout, dtype: str) -> Form:
    """The packed array of an input, its elements of `dtype`."""
    return _form(layout, layout.tensor.name, dtype)


def written_form(layout: Layout, embedding: Embedding, planes: int) -> Form:
    """The packed output; one whose padding an epilogue or a rewriting may have filled is like no other."""
    output = embedding.operator.output
    form = _form(layout, output.name, output.dtype)
    exact = layout.words * prod(layout.word_shape) == output.size
    filled = "padding written" if (embedding.operator.epilogue or embedding.relaxed) and not exact else ""
    return replace(form, key=(form.key, planes, filled)) if planes > 1 or filled else form


def _form(layout: Layout, name: str, dtype: str) -> Form:
    elements = layout.words * prod(layout.word_shape)
    gather = layout.gather
    key: Hashable = (gather.shape, gather.origin, gather.runs, gather.lanes)
    if elements == layout.tensor.size:
        key = _content(gather)
    return Form(str(layout).replace(layout.tensor.name, name), (key, bits(dtype)), elements * bits(dtype) // 8)


@cache
def _content(gather: Gather) -> bytes:
    """What the packed array holds: two layouts are the same if they put the same elements in the same order."""
    numbers = _numbers(prod(gather.shape)).reshape(gather.shape)
    return _digest(gather.pack(numbers, numbers.dtype))


def _numbers(size: int) -> Array:
    """A number for each element; zero is padding."""
    return np.arange(1, size + 1, dtype=np.int32 if size < 1 << 31 else np.int64)


def _digest(array: Array) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(array).data).digest()
