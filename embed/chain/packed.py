"""Chains on a machine that reads packed words: every embedding is an option, and its layouts are the forms."""

import hashlib
import time
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from math import prod

import numpy as np

from dataflow.computation import Tensor
from dataflow.dtypes import bits
from dataflow.errors import UserError
from dataflow.operator import Operator
from embed.chain.options import Chain, Form, Offers, Option, cheapest
from embed.costs import Costs
from embed.embedding import Array, Embedding
from embed.layout import Layout, derive
from embed.packing import Gather
from embed.solver.search import alternatives
from embed.solver.settings import Settings
from isa.model import Isa

Priced = tuple[Embedding, Costs]


def packed_offers(chain: Chain, target: Isa, layouts: tuple[str | None, str | None] | None, deadline: float) -> Offers:
    """All embeddings of each operator that a best plan could have. A repack moves both forms over the bus once.

    Raises UserError for `layouts`: the machine's own are all packed.
    """
    if layouts is not None:
        raise UserError(f"layouts: {target.name} packs its tensors; the ends of a chain lie row-major there")
    found: list[tuple[Priced, ...]] = []
    complete = True
    for operator in chain.operators:
        settings = Settings(time_limit=max(0.1, deadline - time.perf_counter()))
        listed = alternatives(operator, target, settings, dominated=True)
        found.append(listed.ranked)
        complete = complete and listed.complete
    ends = plain(chain.enters), plain(chain.operators[-1].output)
    rate = target.timing.constants.get("bus_bytes", 1) if target.timings else 1

    def repack(before: Form, after: Form) -> int:
        return 0 if before.key == after.key else -(-(before.bytes + after.bytes) // rate)

    offers = Offers((), ends, repack, complete)
    steps = list(zip(chain.operators, chain.flows, found, strict=True))
    quick = [next(options_of(operator, flow, ranked[:1])) for operator, flow, ranked in steps]
    least = sum(min(price.cycles for _, price in ranked) for ranked in found)
    slack = offers.total(quick) - least
    options = []
    for operator, flow, ranked in steps:
        room = slack + min(price.cycles for _, price in ranked)
        options.append(cheapest(options_of(operator, flow, [one for one in ranked if one[1].cycles <= room])))
    return replace(offers, options=options)


def options_of(operator: Operator, flow: str, ranked: Sequence[Priced]) -> Iterator[Option]:
    """An option for each embedding; `flow` is the operator's input that the chain flows into."""
    for embedding, price in ranked:
        layouts = derive(embedding)
        given = packed(layouts[flow], operator, flow)
        made = packed(layouts[operator.main.output.tensor], operator, operator.output.name)
        yield Option(given, made, price.cycles, embedding)


def plain(tensor: Tensor) -> Form:
    """Row-major."""
    return Form(f"{tensor.name} row-major", _digest(_numbers(tensor.size)), tensor.bytes)


def packed(layout: Layout, operator: Operator, name: str) -> Form:
    """A packed array of the tensor `name`; one with padding that an epilogue may have filled is like no other."""
    tensor = next(each for each in (*operator.inputs, operator.output) if each.name == name)
    elements = layout.words * prod(layout.word_shape)
    gather = layout.gather
    key: Hashable = gather.shape, gather.origin, gather.runs, gather.lanes
    if elements == tensor.size:
        key = _content(gather)
    elif name == operator.output.name and operator.epilogue:
        key = key, "padding written"
    return Form(str(layout).replace(layout.tensor.name, name), key, elements * bits(tensor.dtype) // 8)


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
