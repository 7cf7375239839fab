"""A schedule: how the loop nest is cut into tiles, and in which order they come. A value, whoever chose it."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Schedule:
    """`tiles` gives each tile loop's iterations per tile; `order` the loops from outermost to innermost.

    `buffers` tiles of each input and `result_buffers` tiles of the output are in flight at once.
    """

    tiles: Mapping[str, int]
    order: tuple[str, ...]
    buffers: int
    result_buffers: int

    def __str__(self) -> str:
        cut = " ".join(f"{name}:{self.tiles[name]}" for name in self.order)
        return f"{cut} buffers={self.buffers},{self.result_buffers}"
