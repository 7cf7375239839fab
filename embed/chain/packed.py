"""Chains on a machine that reads packed words: every embedding is an option, and its layouts are the forms."""

import hashlib
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from math import prod

import numpy as np

from dataflow.computation import Tensor
from dataflow.dtypes import bits
from dataflow.operator import Operator
from embed.chain.options import Chain, Form, Offers, Option, cheapest
from embed.costs import Costs
from embed.embedding import Array, Embedding
from embed.epilogue import Epilogue, plan
from embed.errors import NoEmbedding
from embed.layout import Layout, derive
from embed.packing import Gather
from embed.physical import Physical
from embed.solver.bound import least
from embed.solver.deadline import Deadline
from embed.solver.listing import written
from embed.solver.questions import problems
from embed.solver.settings import Settings
from isa.model import Isa

Priced = tuple[Embedding, Costs]


def packed_offers(
    chain: Chain, target: Isa, layouts: Mapping[str, str], settings: Settings, deadline: Deadline
) -> Offers:
    """All embeddings of each operator that a best plan could have. A copy moves both forms over the bus once."""
    found: list[tuple[Priced, ...]] = []
    left: list[str] = []
    bound = 0
    for place, operator in enumerate(chain.operators):
        listed = written(operator, target, settings, True, deadline.remaining)
        if not listed.ranked:
            said = f"of operator {chain.name(place)}, {operator.title}, was found within {settings.limit}"
            raise NoEmbedding(f"no embedding {said}: {listed.progress}; raise the time limit", listed.progress)
        found.append(listed.ranked)
        left += [] if listed.complete else [chain.name(place)]
        bound += min(least(problem, "cycles") for problem in problems(operator, target))
    ends = {
        flow.name: lying(flow.tensor, layouts.get(flow.name))
        for flow in chain.flows
        if flow.source is None or flow.leaves
    }
    rate = target.timing.constants.get("bus_bytes", 1) if target.timings else 1

    def repack(before: Form, after: Form) -> int:
        return 0 if before.key == after.key else -(-(before.bytes + after.bytes) // rate)

    offers = Offers(chain, (), ends, repack, tuple(left), bound)
    steps = [(operator, chain.read_by(place), plan(operator, target)) for place, operator in enumerate(chain.operators)]
    quick = [next(options_of(*step, ranked[:1])) for step, ranked in zip(steps, found, strict=True)]
    slack = offers.total(quick) - sum(min(price.cycles for _, price in ranked) for ranked in found)
    options = []
    for step, ranked in zip(steps, found, strict=True):
        room = slack + min(price.cycles for _, price in ranked)
        options.append(cheapest(options_of(*step, [one for one in ranked if one[1].cycles <= room])))
    return replace(offers, options=options)


def options_of(
    operator: Operator, flowing: Sequence[str], epilogue: Epilogue, ranked: Sequence[Priced]
) -> Iterator[Option]:
    """An option for each embedding; `flowing` are the operator's inputs that flow in the chain."""
    main = operator.main.output.tensor
    for embedding, price in ranked:
        layouts = derive(embedding, epilogue.extras)
        sums = embedding.pattern.tensors[0].dtype
        given = {}
        for access, read in {**embedding.accesses, **epilogue.extras}.items():
            if read.tensor in flowing:
                own = layouts[access].tensor.dtype
                given[read.tensor] = read_form(layouts[access], sums if access in epilogue.extras else own)
        yield Option(given, written_form(layouts[main], operator, epilogue.planes), price.cycles, embedding)


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


def written_form(layout: Layout, operator: Operator, planes: int) -> Form:
    """The packed output; one with padding that an epilogue may have filled is like no other."""
    form = _form(layout, operator.output.name, operator.output.dtype)
    exact = layout.words * prod(layout.word_shape) == operator.output.size
    filled = "padding written" if operator.epilogue and not exact else ""
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
