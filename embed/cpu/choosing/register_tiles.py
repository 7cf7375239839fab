"""Register tiles that waste least: a core knows its best shapes, and a problem's loops fill some of them.

A side of a tile are the loops that move the same inputs: a step of the sum costs what the lengths of its sides say.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from math import inf, prod
from typing import NamedTuple

from embed.cpu.lowering.moves import Moves
from embed.nest.task import is_even, whole_and_rest

_LATENCY_STEPS = 4
"""A multiply-accumulate can start on the same register every 4 cycles (Intel cores from Skylake on, AMD Zen)."""

_TWENTIETHS = 20
"""Costs count twentieths of a cycle, which floats hold exactly."""

_TILE_COST, _LOAD_COST = 2, 1
"""Of tiles that keep the core busy few are better; and few loads, where one brings several words or steps."""

_MOST_LOOPS = 4
_MOST_TILES = 3

Shape = tuple[int, ...]
"""The lengths of a tile's sides."""


@dataclass(frozen=True, slots=True)
class Core:
    """What bounds a step: vector registers, and multiply-accumulates and loads per cycle.

    `far_bytes` is what the second-level cache sustains per cycle; whole words come from there.
    """

    registers: int
    word_bytes: int
    computes: int = 2
    loads: int = 2
    far_bytes: int = 32


@dataclass(frozen=True, slots=True)
class _Costs:
    """What a step costs in a tile of each shape, in twentieths of a cycle.

    `fitting` are the shapes that fit the registers, each with its sums and what a step costs at least where rests waste
    nothing: those first that may cost least for each sum.
    """

    steps: Mapping[Shape, float]
    fitting: Sequence[tuple[Shape, int, float]]


class _Cut(NamedTuple):
    """Tile sizes of a side's loops, and how many tiles of each length they leave: the last of a loop may be shorter."""

    sizes: tuple[int, ...]
    parts: tuple[tuple[int, int], ...]


class _Cuts(dict[int, list[_Cut]]):
    """All ways to get a side of some length from loops cut evenly, by the length."""

    def __init__(self, extents: Sequence[int]) -> None:
        self.extents = extents

    def __missing__(self, length: int) -> list[_Cut]:
        every = _factored(length, len(self.extents))
        even = [sizes for sizes in every if all(map(is_even, self.extents, sizes))]
        self[length] = [_Cut(sizes, _parts(self.extents, sizes)) for sizes in even]
        return self[length]


def register_tiles(
    core: Core, extents: Mapping[str, int], results: Sequence[str], moving: Mapping[str, Moves]
) -> list[dict[str, int]]:
    """The cheapest tiles: at most four loops are unrolled, the innermost that turn more than once.

    Of equal ones those with more sums come first. The search ends at a shape that costs more than the tiles found,
    even if its tiles left no rests.
    """
    alone = dict.fromkeys(results, 1)
    loops = [name for name in results if extents[name] > 1][-_MOST_LOOPS:]
    sides = _sides(loops, moving)
    costs = _costs(core, tuple([_on_sides(moves, sides) for moves in moving.values()]), len(sides))
    whole = prod([extents[name] for name in loops])
    cuts = [_Cuts([extents[name] for name in side]) for side in sides]
    names = [name for side in sides for name in side]
    places = [names.index(name) for name in loops]
    found: list[tuple[float, int, list[int]]] = []
    enough = inf
    for shape, sums, least in costs.fitting:
        if whole * least > sums * enough:
            break
        for choice in _choices(cuts, shape):
            price = _price(choice, costs.steps)
            if price <= enough:
                sizes = [size for cut in choice for size in cut.sizes]
                found = sorted([*found, (price, -sums, [sizes[place] for place in places])])[:_MOST_TILES]
                enough = found[-1][0] if len(found) == _MOST_TILES else inf
    return [alone | dict(zip(loops, sizes, strict=True)) for _, _, sizes in found] or [alone]


def _choices(cuts: Sequence[_Cuts], shape: Shape) -> Iterable[tuple[_Cut, ...]]:
    """All ways to get a shape; none as soon as one of its sides cannot be had."""
    sides = []
    for own, length in zip(cuts, shape, strict=True):
        if not own[length]:
            return ()
        sides.append(own[length])
    return product(*sides)


def _sides(loops: Sequence[str], moving: Mapping[str, Moves]) -> list[list[str]]:
    """Loops that move the same inputs together; one along which registers hold several words is a side of its own."""
    found: dict[tuple[object, ...], list[str]] = {}
    for name in loops:
        kind = [(name in moves.loops, name if name == moves.along else "") for moves in moving.values()]
        found.setdefault(tuple(kind), []).append(name)
    return list(found.values())


def _on_sides(moves: Moves, sides: Sequence[Sequence[str]]) -> Moves:
    """The same with sides, by number, in place of their loops."""
    numbers = {name: str(number) for number, side in enumerate(sides) for name in side}
    loops = frozenset([numbers[name] for name in moves.loops if name in numbers])
    return Moves(loops, moves.whole, moves.at_once, moves.lanes, numbers.get(moves.along, ""))


@cache
def _costs(core: Core, inputs: tuple[Moves, ...], sides: int) -> _Costs:
    """The costs of all shapes with so many sides: facts of the core and of an instruction's operands, of no problem."""
    shapes = [shape for sums in range(1, core.registers - 1) for shape in _factored(sums, sides)]
    tiles = {shape: dict(zip(map(str, range(sides)), shape, strict=True)) for shape in shapes}
    shared = tuple([replace(moves, along="") for moves in inputs])
    steps = {shape: _step(tile, core, inputs) for shape, tile in tiles.items()}
    fitting = [
        (shape, prod(shape), _step(tile, core, shared))
        for shape, tile in tiles.items()
        if prod(shape) + _kept(tile, inputs) <= core.registers
    ]
    return _Costs(steps, sorted(fitting, key=lambda each: each[2] / each[1]))


def _step(tile: Mapping[str, int], core: Core, inputs: Sequence[Moves]) -> float:
    """Twentieths of a cycle of one step of the sum."""
    loads = sum([moves.loads(tile) for moves in inputs])
    far = core.word_bytes / core.far_bytes * sum([moves.words(tile) for moves in inputs if moves.whole])
    cycles = max(prod(tile.values()) / core.computes, loads / core.loads, far, _LATENCY_STEPS)
    several = any(moves.lanes > 1 or moves.at_once > 1 for moves in inputs)
    return _TWENTIETHS * cycles + _TILE_COST + (_LOAD_COST * loads if several else 0)


def _kept(tile: Mapping[str, int], inputs: Sequence[Moves]) -> int:
    """Registers for inputs: the words of the one that stays for a whole step, and room for one load of the other."""
    staying = min([moves for moves in inputs if moves.lanes > 1] or inputs, key=lambda moves: moves.words(tile))
    return staying.words(tile) + max((other.at_once for other in inputs if other is not staying), default=1)


def _price(cuts: Sequence[_Cut], steps: Mapping[Shape, float]) -> float:
    """What a step costs in all tiles of the output: whole ones, and the rests along each loop."""
    tiles: list[tuple[int, Shape]] = [(1, ())]
    for cut in cuts:
        tiles = [(count * times, (*shape, length)) for count, shape in tiles for times, length in cut.parts]
    return sum([count * steps[shape] for count, shape in tiles])


def _parts(extents: Sequence[int], sizes: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """How many tiles of each length, where loops are cut into such sizes and their rests."""
    found = [(1, 1)]
    for extent, size in zip(extents, sizes, strict=True):
        cut = whole_and_rest(extent, size)
        found = [(count * times, length * part) for count, length in found for times, part in cut]
    return tuple(found)


@cache
def _factored(number: int, count: int) -> tuple[Shape, ...]:
    """A number as the product of so many factors, in every way."""
    if count == 0:
        return ((),) if number == 1 else ()
    divisors = [size for size in range(1, number + 1) if number % size == 0]
    return tuple([(size, *others) for size in divisors for others in _factored(number // size, count - 1)])
