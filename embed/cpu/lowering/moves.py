"""How an instruction's inputs come into registers: which loops move their words, and how many one load brings."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from embed.cpu.lowering.indexed import pieces


@dataclass(frozen=True, slots=True)
class Moves:
    """The loops that move an input's words, and whether its words are whole vectors or one element for all lanes.

    One load fills `at_once` registers. A register holds `lanes` words, one for each iteration of the loop `along`.
    """

    loops: frozenset[str]
    whole: bool
    at_once: int = 1
    lanes: int = 1
    along: str = ""

    def words(self, tile: Mapping[str, int]) -> int:
        """Registers that hold the input's words of one step of the sum, for so many iterations of loops."""
        sizes = {name: size for name, size in tile.items() if name in self.loops}
        if self.along in sizes:
            sizes[self.along] = pieces(sizes[self.along], self.lanes)
        return prod(sizes.values())

    def loads(self, tile: Mapping[str, int]) -> float:
        """Load instructions in one step; a register that holds several steps is loaded that much less often."""
        return self.words(tile) / (self.at_once * (1 if self.along in tile else self.lanes))
