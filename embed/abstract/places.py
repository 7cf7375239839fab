"""Which words of which memory each tensor's tiles take."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from embed.abstract.homes import Home, sharing
from embed.errors import NoEmbedding
from embed.layout import Layout
from embed.nest.ir import Nest, box
from embed.nest.schedule import Schedule


@dataclass(frozen=True, slots=True)
class Place:
    """`buffers` tiles of `size` operands each, from word `base` of the home's memory."""

    home: Home
    base: int
    size: int
    buffers: int

    @property
    def words(self) -> int:
        """Words of the memory that the tensor takes."""
        return self.size * self.buffers * self.home.words

    def buffer(self, turn: int) -> int:
        """First word of the buffer that the `turn`-th tile uses."""
        return self.base + turn % self.buffers * self.size * self.home.words


def plan(nest: Nest, schedule: Schedule, homes: Mapping[str, Home]) -> dict[str, Place]:
    """Tiles one after the other in each memory; raises NoEmbedding where one is too small for them."""
    found = {name: _place(nest, schedule, name, layout, homes[name]) for name, layout in nest.layouts.items()}
    for memory, capacity, tensors in sharing(homes):
        top = 0
        for tensor in tensors:
            found[tensor] = Place(homes[tensor], top, found[tensor].size, found[tensor].buffers)
            top += found[tensor].words
        if top > capacity:
            raise NoEmbedding(f"the tiles take {top} words of '{memory}', which has {capacity}")
    return found


def _place(nest: Nest, schedule: Schedule, tensor: str, layout: Layout, home: Home) -> Place:
    first = {name: range(min(schedule.tiles[name], len(span))) for name, span in nest.whole.items()}
    tile, whole = box(layout, first), box(layout, nest.whole)
    if home.direct or tensor in schedule.whole:
        return Place(home, 0, prod(map(len, whole)), 1)
    buffers = schedule.result_buffers if tensor == nest.output else schedule.buffers
    alone = tile == whole or tensor not in (*nest.embedding.inputs, nest.output)
    return Place(home, 0, prod(map(len, tile)), 1 if alone else buffers)
