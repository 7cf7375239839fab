"""What some iterations of the loops touch of a tensor."""

from collections.abc import Mapping
from math import prod

from dataflow.dtypes import bits
from embed.cpu.arrays.packed import Packed
from embed.cpu.arrays.ways import Way
from embed.embedding import Embedding, TileLoop

_PAGE = 4096
"""Prefetchers follow one run of addresses in each page, and none beyond it (Intel 64 and IA-32 Architectures
Optimization Reference Manual, "Data Prefetch to L1 and L2 caches")."""


class Reach:
    """How many bytes of one operand's tensor some iterations of the loops touch."""

    def __init__(self, embedding: Embedding, operand: str, found: Way, owners: Mapping[str, TileLoop]) -> None:
        read, radix = embedding.accesses[embedding.binding.tensors[operand]], embedding.radix
        tensor = embedding.operator.main.tensor(read.tensor)
        loops = {dim: owners[dim] for dim in read.dims}
        self.size = bits(found.physical.tensor.dtype) // 8
        self.loops = frozenset([loop.name for loop in loops.values()])
        near = {} if isinstance(found, Packed) or not found.spread else found.point
        self.crowded = [name for name, step in near.items() if name in embedding.result_loops and step < _PAGE]
        self.packed = isinstance(found, Packed)
        self.word = self.size * prod([radix[name] for name in self.loops if name in radix])
        self.dims = []
        inside = _inside(embedding)
        for index, size in zip(read.index, tensor.shape, strict=True):
            steps = [(loops[dim].name, abs(step)) for dim, step in index.terms]
            start = 1 - sum([step for _, step in steps])
            points = [radix.get(loops[dim].name, 1) / inside.get(dim, 1) for dim, _ in index.terms]
            moved = [(name, step * count) for (name, step), count in zip(steps, points, strict=True)]
            self.dims.append((size, start, moved))

    def is_crowded(self, tiles: Mapping[str, int]) -> bool:
        """Whether the rows that a tile reads side by side lie several to a page."""
        return any(tiles[name] > 1 for name in self.crowded)

    def bytes(self, spans: Mapping[str, int]) -> float:
        """Bytes that `spans` iterations of each loop touch."""
        if self.packed:
            return float(self.word * prod([spans[name] for name in self.loops]))
        total = float(self.size)
        for size, start, steps in self.dims:
            reach = float(start)
            for name, step in steps:
                reach += step * spans[name]
            total *= min(size, reach)
        return total


def _inside(embedding: Embedding) -> dict[str, int]:
    """How many points of a digit pass before one of its dims moves, where that is not each."""
    found = {}
    for digit in embedding.digits:
        for place, dim in enumerate(digit.dims[1:], 1):
            found[dim] = prod([embedding.extents[inner] for inner in digit.dims[:place]])
    return found
