"""The way to a tensor, whatever the schedule: read where it lies if its lanes allow, else packed."""

from dataflow.expression import Read
from embed.cpu.arrays.in_place import InPlace, in_place
from embed.cpu.arrays.packed import Packed, packed
from embed.embedding import Embedding
from embed.physical import Physical

Way = InPlace | Packed


def way(
    embedding: Embedding,
    operand: str,
    read: Read,
    physical: Physical,
    constant: bool,
    masked: bool,
    quiet: bool = False,
) -> Way:
    """The way to a tensor read as `read` in words like those of `operand`: constants are packed.

    Without `masked` moves a tensor is filled up to whole words. What `quiet` idle lanes hold does not matter.
    """
    found = None if constant else in_place(embedding, operand, read, physical, masked, quiet)
    return found or packed(embedding, operand, read, physical)


def neighbours(embedding: Embedding, found: Way) -> str:
    """The loop along which words lie next to each other: of several, one of a sum, and of these the longest."""
    results = embedding.result_loops
    if isinstance(found, Packed):
        return found.results[-1] if found.results else ""
    extents = {loop.name: loop.extent for loop in embedding.loops if loop.extent > 1}
    near = [name for name in extents if found.point.get(name) == found.bytes]
    return min(near, key=lambda name: (name in results, -extents[name]), default="")
