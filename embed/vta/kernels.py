"""The loops of a tile as VTA's compute instructions: two hardware loops around a list of micro-ops.

All addresses are affine in the loops. Two loops go to hardware, the rest is unrolled into micro-ops; a loop that fits
neither is repeated by issuing the instruction again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from math import prod

import numpy as np

Strides = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TileLoop:
    """A loop with its word stride in each operand's tile: (dst, src) or (dst, src, wgt). dst 0 means it sums."""

    extent: int
    strides: Strides

    @property
    def sums(self) -> bool:
        return self.strides[0] == 0


@dataclass(frozen=True, slots=True)
class Limits:
    """Largest trip count and index factors of the hardware loops, and micro-ops of one list."""

    trips: int
    factors: Strides
    uops: int


@dataclass(frozen=True, slots=True)
class Kernel:
    """One instruction's loops (outer, inner), its micro-ops as word offsets, and the offsets it is issued at."""

    hardware: tuple[TileLoop, TileLoop]
    uops: tuple[Strides, ...]
    repeats: tuple[Strides, ...]


_ISSUE_CYCLES = 15
"""What one more instruction costs: 7 cycles of pipeline (Chisel RTL) and about as long to fetch."""

_LEAST_DISTANCE = 3
"""The HLS core has no bypass: a dst must differ from those of the two micro-ops before it (TVM's VTA runtime)."""


def kernel(loops: Sequence[TileLoop], limits: Limits) -> Kernel:
    """The cheapest mapping of a tile's loops, outermost first; loops that sum must come before those that do not."""
    return _kernel(tuple(merged(loops)), limits)


def merged(loops: Sequence[TileLoop]) -> list[TileLoop]:
    """Loops of one trip dropped, and neighbours that step through memory as one loop made one."""
    found: list[TileLoop] = []
    for loop in loops:
        if loop.extent == 1:
            continue
        if found and found[-1].strides == tuple(stride * loop.extent for stride in loop.strides):
            found[-1] = TileLoop(found[-1].extent * loop.extent, loop.strides)
        else:
            found.append(loop)
    return found


@dataclass(frozen=True, slots=True)
class _Mapping:
    """Which loops go where."""

    hardware: tuple[TileLoop, ...]
    unrolled: tuple[TileLoop, ...]
    repeated: tuple[TileLoop, ...]

    def valid(self, limits: Limits) -> bool:
        sums = prod(loop.extent for loop in self.unrolled if loop.sums)
        results = prod(loop.extent for loop in self.unrolled if not loop.sums)
        fits = all(_in_hardware(loop, limits) for loop in self.hardware)
        return fits and sums * results <= limits.uops and (sums == 1 or results >= _LEAST_DISTANCE)

    @property
    def spaced(self) -> bool:
        """Whether each micro-op's dst differs from those of the two before it."""
        written = [uop[0] for uop in _offsets(self.unrolled, len(self.unrolled[0].strides))] if self.unrolled else []
        near = range(1, _LEAST_DISTANCE)
        return all(a != b for distance in near for a, b in zip(written, written[distance:], strict=False))

    @property
    def price(self) -> tuple[int, int]:
        """Cycles lost to further instructions and micro-op loads; of equals, the fewest sums in hardware loops."""
        uops = prod(loop.extent for loop in self.unrolled)
        repeats = prod(loop.extent for loop in self.repeated)
        return _ISSUE_CYCLES * repeats + 2 * uops, sum(loop.sums for loop in self.hardware)


def _in_hardware(loop: TileLoop, limits: Limits) -> bool:
    return loop.extent <= limits.trips and all(s <= f for s, f in zip(loop.strides, limits.factors, strict=True))


@lru_cache(maxsize=4096)
def _kernel(loops: tuple[TileLoop, ...], limits: Limits) -> Kernel:
    best = _best(loops, limits)
    rank = len(limits.factors)
    hardware = (*[TileLoop(1, (0,) * rank)] * (2 - len(best.hardware)), *best.hardware)
    return Kernel((hardware[0], hardware[1]), _offsets(best.unrolled, rank), _offsets(best.repeated, rank))


def _best(loops: tuple[TileLoop, ...], limits: Limits) -> _Mapping:
    """The cheapest valid mapping among those that repeat the fewest loops."""
    for count in range(len(loops) + 1):
        valid = [mapping for mapping in _mappings(loops, count) if mapping.valid(limits)]
        spaced = (mapping for mapping in sorted(valid, key=lambda mapping: mapping.price) if mapping.spaced)
        best = next(spaced, None)
        if best is not None:
            return best
    raise ValueError(f"no mapping of {loops} to micro-ops within {limits}")


def _mappings(loops: tuple[TileLoop, ...], count: int) -> Iterator[_Mapping]:
    """Every mapping that repeats `count` loops outside the instruction."""
    for places in combinations(range(len(loops)), count):
        repeated = tuple(loops[place] for place in places)
        rest = [loop for place, loop in enumerate(loops) if place not in places]
        for variant in _variants(rest):
            for number in range(min(2, len(variant)) + 1):
                for chosen in combinations(range(len(variant)), number):
                    hardware = tuple(variant[i] for i in chosen)
                    unrolled = tuple(loop for i, loop in enumerate(variant) if i not in chosen)
                    yield _Mapping(hardware, unrolled, repeated)


def _variants(loops: list[TileLoop]) -> Iterator[list[TileLoop]]:
    """The loops as they are, and with one of the results' loops split so that part of it can be unrolled."""
    yield loops
    for place, loop in enumerate(loops):
        for factor in range(2, min(loop.extent, 17)):
            if not loop.sums and loop.extent % factor == 0:
                outer = TileLoop(loop.extent // factor, tuple(stride * factor for stride in loop.strides))
                yield [*loops[:place], outer, TileLoop(factor, loop.strides), *loops[place + 1 :]]


def _offsets(loops: Sequence[TileLoop], rank: int) -> tuple[Strides, ...]:
    """Word offsets of every trip, outermost loop first."""
    found = np.zeros((1, rank), np.int64)
    for loop in loops:
        steps = np.arange(loop.extent)[:, None] * np.array(loop.strides)[None, :]
        found = (found[:, None, :] + steps[None, :, :]).reshape(-1, rank)
    return tuple(tuple(int(value) for value in row) for row in found)
