"""The abstract program: what moves, what is invoked on which words, what is stored, one step after the other."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from embed.abstract.places import Place
from embed.epilogue import Pass as EpiloguePass
from embed.layout import Layout
from embed.nest.ir import Compute, Drain, Fill, Nest, Node, Pass, Points, Ranges, Reset, Tiles, box, pieces

Words = npt.NDArray[np.int64]
_MOST_PLACES = 1 << 20


@dataclass(frozen=True, slots=True)
class Load:
    """Bring the packed words of a box to `at` and the words after it, one operand after the other."""

    tensor: str
    box: tuple[range, ...]
    at: int


@dataclass(frozen=True, slots=True)
class Clear:
    """Set accumulators to zero; `places` are their first words."""

    places: Words


@dataclass(frozen=True, slots=True)
class Invoke:
    """The embedded instruction, `places[operand][turn, i]` being first words: for each turn, all i in any order."""

    places: Mapping[str, Words]


@dataclass(frozen=True, slots=True)
class Update:
    """An epilogue instruction on each accumulator, with the words of another tensor or with an immediate."""

    step: EpiloguePass
    places: Words
    others: Words | None


@dataclass(frozen=True, slots=True)
class Store:
    """Write one byte plane (all of a word where there is one plane) of the accumulators from `at` to a box."""

    plane: int
    box: tuple[range, ...]
    at: int


Step = Load | Clear | Invoke | Update | Store


def steps(nest: Nest, places: Mapping[str, Place], ranges: Ranges | None = None) -> Iterator[Step]:
    """The program over `ranges` of the tile loops (all of them unless given), step by step as it is needed."""
    yield from _Walk(nest, places).walk(nest.body, ranges or nest.whole)


@dataclass
class _Walk:
    """What lies where while the nest is walked: each tensor's box and first word in its memory, and tiles so far."""

    nest: Nest
    places: Mapping[str, Place]
    pieces: dict[str, tuple[range, ...]] = field(default_factory=dict)
    held: dict[str, tuple[range, ...]] = field(default_factory=dict)
    at: dict[str, int] = field(default_factory=dict)
    turns: dict[str, int] = field(default_factory=dict)

    def walk(self, body: tuple[Node, ...], ranges: Ranges) -> Iterator[Step]:
        for node in body:
            match node:
                case Tiles(loop, tile, inner):
                    for piece in pieces(ranges[loop], tile):
                        yield from self.walk(inner, {**ranges, loop: piece})
                case Fill(tensor):
                    yield from self.fill(tensor, ranges)
                case Reset():
                    self.next_buffer(self.nest.output, ranges)
                    yield Clear(self.tile(self.nest.output, ranges))
                case Points() | Compute():
                    yield from self.invocations(ranges)
                case Pass(EpiloguePass() as step):
                    others = self.spread(step.access, ranges) if step.operand else None
                    yield Update(step, self.tile(self.nest.output, ranges), others)
                case Drain(plane):
                    yield Store(plane, box(self.nest.layouts[self.nest.output], ranges), self.at[self.nest.output])

    def next_buffer(self, tensor: str, ranges: Ranges) -> None:
        self.held[tensor] = box(self.nest.layouts[tensor], ranges)
        turn = self.turns[tensor] = self.turns.get(tensor, -1) + 1
        self.at[tensor] = self.places[tensor].buffer(turn)

    def fill(self, tensor: str, ranges: Ranges) -> Iterator[Step]:
        """Load a tile unless it is there already."""
        layout = self.nest.layouts[tensor]
        wanted = tuple(ranges[loop] for loop in moving(layout))
        if self.pieces.get(tensor) != wanted:
            self.pieces[tensor] = wanted
            self.next_buffer(tensor, ranges)
            yield Load(tensor, self.held[tensor], self.at[tensor])

    def invocations(self, ranges: Ranges) -> Iterator[Step]:
        """All invocations of a tile, in parts of bounded size; the output's loops are inside."""
        results = set(moving(self.nest.layouts[self.nest.output]))
        sums = {name: span for name, span in ranges.items() if name not in results}
        inner = prod(len(ranges[name]) for name in results)
        turns = prod(map(len, sums.values()))
        most = max(1, _MOST_PLACES // inner)
        offsets = {
            operand: (self.slots(tensor, sums, ranges), self.slots(tensor, _only(ranges, results), ranges))
            for operand, tensor in self.nest.embedding.binding.pairs
        }
        for first in range(0, turns, most):
            part = slice(first, first + most)
            yield Invoke(
                {
                    operand: self.words(tensor, offsets[operand][0][part, None] + offsets[operand][1])
                    for operand, tensor in self.nest.embedding.binding.pairs
                }
            )

    def tile(self, tensor: str, ranges: Ranges) -> Words:
        """First words of the operands of a tensor's tile."""
        count = prod(map(len, box(self.nest.layouts[tensor], ranges)))
        return self.words(tensor, np.arange(count, dtype=np.int64))

    def spread(self, tensor: str, ranges: Ranges) -> Words:
        """First words of a tensor's operands beside each of the output's, in their order."""
        output = self.nest.layouts[self.nest.output]
        own, other = (self.slots(name, _only(ranges, moving(output)), ranges) for name in (self.nest.output, tensor))
        found = np.zeros(own.size, np.int64)
        found[own] = other
        return self.words(tensor, found)

    def words(self, tensor: str, slots: Words) -> Words:
        return self.at[tensor] + self.places[tensor].home.words * slots

    def slots(self, tensor: str, loops: Ranges, ranges: Ranges) -> Words:
        """The operand of a tile used at each point of some loops, row-major; the other loops are at their start."""
        layout = self.nest.layouts[tensor]
        first, factors = _factors(layout, ranges, self.held[tensor])
        total: Any = np.asarray(first)
        for name, span in loops.items():
            total = np.add.outer(total, factors.get(name, 0) * np.arange(len(span), dtype=np.int64))
        return np.asarray(total).reshape(-1)


def moving(layout: Layout) -> tuple[str, ...]:
    """The tile loops that move along a layout."""
    return tuple(dict.fromkeys(loop for axis in layout.axes for loop, _ in axis.loops))


def _only(ranges: Ranges, names: set[str] | tuple[str, ...]) -> dict[str, range]:
    return {name: span for name, span in ranges.items() if name in names}


def _factors(layout: Layout, ranges: Ranges, held: tuple[range, ...]) -> tuple[int, dict[str, int]]:
    """The operand of a held box at the start of some ranges, and operands from one iteration of a loop to the next."""
    factors: dict[str, int] = {}
    first, stride = 0, 1
    reached = zip(layout.axes, box(layout, ranges), held, strict=True)
    for axis, reach, span in reversed(list(reached)):
        first += (reach.start - span.start) * stride
        for loop, factor in axis.loops:
            factors[loop] = factors.get(loop, 0) + factor * stride
        stride *= len(span)
    return first, factors
