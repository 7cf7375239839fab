"""Embeddings that are written differently and are one map: the same lanes do the same points together."""

from collections.abc import Hashable, Iterable, Mapping
from math import prod

from embed.costs import Costs
from embed.embedding import Digit, Embedding
from embed.lanes import running

Digits = list[tuple[tuple[str, ...], int]]
"""Of a lane dimension the dims and the radix of each digit, the innermost first."""


def once_each(ranked: Iterable[tuple[Embedding, Costs]]) -> tuple[tuple[Embedding, Costs], ...]:
    """The first of those that are one map, which may differ in how they pack tensors."""
    first: dict[Hashable, tuple[Embedding, Costs]] = {}
    for embedding, price in ranked:
        first.setdefault(map_of(embedding), (embedding, price))
    return tuple(first.values())


def map_of(embedding: Embedding) -> Hashable:
    """A value that two embeddings of an operator share only if they are one map.

    A digit's outer dims are loops where its runs end with the inner ones, and one that is whole is no digit of its own:
    with the one after it, it makes a fused one. On the diagonal of a block rows are columns, whatever tensor has it.
    """
    lanes = {lane: _digits(embedding, lane) for lane in embedding.lanes}
    names: dict[str, str] = {}
    kinds = []
    for step in embedding.relaxed.steps if embedding.relaxed else ():
        about, factor = step.dims, step.factor
        if step.kind == "blocks":
            about = about[:1]
            row = _undivided(embedding, lanes, about[0])
            names, factor = (names | {row: about[0]}, 0) if row else (names, factor)
        kinds.append((step.kind, about, factor))
    zeros = embedding.relaxed.zeros if embedding.relaxed else ()
    names = dict(zero.dims for zero in zeros if len(zero.dims) == 2) | names
    renamed = [
        [(tuple(names.get(dim, dim) for dim in dims), radix) for dims, radix in found] for found in lanes.values()
    ]
    return embedding.name, embedding.binding, tuple(kinds), tuple(map(tuple, renamed))


def _undivided(embedding: Embedding, lanes: Mapping[str, Digits], dim: str) -> str | None:
    """The rows of a block whose columns are a loop, if they are runs of the user's dim: its factor matters not."""
    assert embedding.relaxed is not None
    place = embedding.relaxed.functions[dim]
    zero = next((zero for zero in embedding.relaxed.zeros if not set(zero.dims).isdisjoint(place.dims)), None)
    if zero is None or len(zero.dims) != 2 or len(place.dims) != 2:
        return None
    (row,) = set(zero.dims) & set(place.dims)
    (column,) = set(zero.dims) - {row}
    (outer,) = set(place.dims) - {row}
    for found in lanes.values():
        for dims, radix in found:
            if column in dims:
                return None
            last = row == dims[-1] and prod(embedding.extents[each] for each in dims) == radix
            if row in dims and not last and embedding.extents[outer] > 1:
                return None
    return row


def _digits(embedding: Embedding, lane: str) -> Digits:
    """The digits of a lane dimension as dims and radix, the innermost first."""
    found: Digits = []
    whole = False
    for digit in embedding.digits_of(lane):
        dims, size = _needed(embedding, digit)
        inner, radix = found.pop() if whole else ((), 1)
        found.append((inner + dims, radix * digit.radix))
        whole = size == digit.radix
    return found


def _needed(embedding: Embedding, digit: Digit) -> tuple[tuple[str, ...], int]:
    """The dims of a digit that move within its runs, and their points."""
    sizes = [embedding.extents[dim] for dim in digit.dims]
    count = running(sizes, digit.radix)
    return digit.dims[:count], prod(sizes[:count])
