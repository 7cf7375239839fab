"""A schedule for a machine that is only a file: tiles that fit its memories, registers included."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import product

from embed.abstract.homes import Home, sharing
from embed.abstract.traffic import moved_bytes
from embed.costs import Rates
from embed.embedding import Embedding
from embed.epilogue import Epilogue
from embed.errors import NoEmbedding
from embed.layout import Layout
from embed.nest.choose import Room, choose
from embed.nest.schedule import Schedule
from isa.model import Isa

_UNLIMITED = 1 << 40
_FEW = (1, 2, 4)


def schedule(
    embedding: Embedding,
    layouts: Mapping[str, Layout],
    homes: Mapping[str, Home],
    epilogue: Epilogue,
    price: Rates,
    target: Isa,
) -> Schedule:
    """The schedule that moves the fewest bytes, over every way to share memories and the cheapest tiles of each.

    Raises NoEmbedding where a memory holds no tile at all.
    """
    rates = price if price.bus else replace(price, invocation=0, result=0, bus=1)
    best: tuple[int, Schedule] | None = None
    for words in _shares(layouts, homes, embedding):
        try:
            found = choose(embedding, layouts, rates, _room(embedding, layouts, words, epilogue, homes, target))
        except NoEmbedding:
            continue
        found = replace(found, slots={}, tail=None)
        size = moved_bytes(embedding, layouts, homes, found)
        if best is None or size < best[0]:
            best = size, found
    if best is None:
        raise NoEmbedding(f"no tile of {embedding} fits the memories of {target.name}")
    return best[1]


def _shares(layouts: Mapping[str, Layout], homes: Mapping[str, Home], embedding: Embedding) -> Iterator[dict[str, int]]:
    """Ways to share memories: operands of each tensor that fit; the output's memory is for its tensors together."""
    output = embedding.operator.main.output.tensor
    options: list[list[dict[str, int]]] = []
    for _, capacity, tensors in sharing(homes):
        inputs = [tensor for tensor in tensors if tensor in embedding.inputs]
        rest = [tensor for tensor in tensors if tensor not in embedding.inputs]
        options.append(list(_splits(capacity, inputs, rest, homes)))
    free = {tensor: _UNLIMITED for tensor, home in homes.items() if home.direct}
    for choice in product(*options):
        found = dict(free)
        for part in choice:
            found |= part
        yield {tensor: found[tensor] for tensor in layouts} | {output: found[output]}


def _splits(capacity: int, inputs: list[str], rest: list[str], homes: Mapping[str, Home]) -> Iterator[dict[str, int]]:
    """One memory's words among inputs and, together, the output's tensors: a few for each input, or equal parts."""
    users = len(inputs) + bool(rest)
    if users == 1:
        yield {tensor: capacity // homes[tensor].words for tensor in (*inputs, *rest)}
        return
    equal = capacity // users
    counts = [(count,) * len(inputs) for count in _FEW] if rest else []
    parts = [tuple(equal // homes[tensor].words for tensor in inputs), *counts]
    for operands in dict.fromkeys(parts):
        used = sum(count * homes[tensor].words for tensor, count in zip(inputs, operands, strict=True))
        left = (capacity - used) // homes[rest[0]].words if rest else 1
        if min(*operands, left) > 0:
            yield dict(zip(inputs, operands, strict=True)) | dict.fromkeys(rest, left)


def _room(
    embedding: Embedding,
    layouts: Mapping[str, Layout],
    words: Mapping[str, int],
    epilogue: Epilogue,
    homes: Mapping[str, Home],
    target: Isa,
) -> Room:
    output = embedding.operator.main.output.tensor
    costs = target.timing.costs if target.timings else {}
    starts = [costs[home.entry].start for home in homes.values() if home.entry in costs]
    return Room(
        words=words,
        shared=tuple(tensor for tensor in layouts if tensor not in embedding.inputs and tensor != output),
        load_start=max(starts, default=0),
        pass_start=costs[embedding.name].start if embedding.name in costs else 0,
        passes=1 + len(epilogue.passes) + (epilogue.planes - 1) * len(epilogue.between),
        longest_load=_UNLIMITED,
        result_buffers=1 if epilogue.planes > 1 else 2,
        most_slots=2,
    )
