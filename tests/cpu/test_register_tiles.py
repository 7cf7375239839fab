"""The search for register tiles against every tile priced by walking over the output."""

from collections.abc import Mapping
from itertools import product
from math import prod

from hypothesis import given, settings
from hypothesis import strategies as st

from embed.cpu.choosing.register_tiles import Core, register_tiles
from embed.cpu.lowering.moves import Moves
from embed.nest.task import even_tiles

CORES = [Core(32, 64), Core(30, 16), Core(14, 32)]
LOADS = [(True, 1, 1), (True, 2, 1), (False, 1, 1), (False, 1, 4)]
ALONG = ["", "a", "d"]


def step(tile: Mapping[str, int], core: Core, inputs: list[Moves]) -> float:
    """Cycles of a step without what every tile of the same output has: the busiest of arithmetic, loads and memory."""
    loads = sum(moves.loads(tile) for moves in inputs)
    words = sum(moves.words(tile) for moves in inputs if moves.whole)
    several = any(moves.lanes > 1 or moves.at_once > 1 for moves in inputs)
    return max(prod(tile.values()) / 2, loads / 2, words * core.word_bytes / 32, 4) + 0.1 + 0.05 * loads * several


def walked(extents: Mapping[str, int], sizes: Mapping[str, int], core: Core, inputs: list[Moves]) -> float:
    """The price of all tiles, one by one, each as long as the loops go on."""
    starts = product(*(range(0, extent, sizes[name]) for name, extent in extents.items()))
    spans = [
        {n: min(sizes[n], extent - at) for (n, extent), at in zip(extents.items(), start, strict=True)}
        for start in starts
    ]
    return round(sum(step(tile, core, inputs) for tile in spans), 6)


def fits(tile: Mapping[str, int], core: Core, inputs: list[Moves]) -> bool:
    staying = min([m for m in inputs if m.lanes > 1] or inputs, key=lambda m: m.words(tile))
    room = max((other.at_once for other in inputs if other is not staying), default=1)
    return prod(tile.values()) + staying.words(tile) + room <= core.registers


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(2, 13), min_size=1, max_size=3),
    st.sampled_from(CORES),
    st.tuples(st.sampled_from(LOADS), st.sampled_from(LOADS)),
    st.tuples(st.sets(st.sampled_from("abc")), st.sets(st.sampled_from("abc"))),
    st.sampled_from(ALONG),
)
def test_the_tiles_found_are_the_cheapest_of_all(
    sizes: list[int],
    core: Core,
    loaded: tuple[tuple[bool, int, int], ...],
    moved: tuple[set[str], ...],
    along: str,
) -> None:
    extents = dict(zip("abc", sizes, strict=False))
    inputs = [
        Moves(frozenset(loops), whole, at_once, lanes, along if lanes > 1 else "")
        for loops, (whole, at_once, lanes) in zip(moved, loaded, strict=True)
    ]
    tiles = [dict(zip(extents, each, strict=True)) for each in product(*map(even_tiles, sizes))]
    few = [tile for tile in tiles if prod(tile.values()) <= core.registers - 2 and fits(tile, core, inputs)]
    order = sorted(few, key=lambda t: (walked(extents, t, core, inputs), -prod(t.values()), list(t.values())))
    expected = order[:3] or [dict.fromkeys(extents, 1)]
    found = register_tiles(core, {**extents, "k": 7}, list(extents), dict(zip("xy", inputs, strict=True)))
    assert found == expected
