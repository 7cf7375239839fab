"""Loops mapped to micro-ops and hardware loops visit the same words, as often, as the loops themselves."""

from collections import Counter
from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from embed.vta.kernels import Kernel, Limits, TileLoop, kernel, merged

LIMITS = Limits(trips=100, factors=(2047, 2047, 1023), uops=64)

Visits = Counter[tuple[int, ...]]


def visits(loops: list[TileLoop]) -> Visits:
    return Counter(
        tuple(sum(i * loop.strides[column] for i, loop in zip(place, loops, strict=True)) for column in range(3))
        for place in product(*(range(loop.extent) for loop in loops))
    )


def executed(found: Kernel) -> Visits:
    outer, inner = found.hardware
    return Counter(
        tuple(r + u + i * a + j * b for r, u, a, b in zip(repeat, uop, outer.strides, inner.strides, strict=True))
        for repeat in found.repeats
        for i in range(outer.extent)
        for j in range(inner.extent)
        for uop in found.uops
    )


sums = st.builds(lambda e, a, b: TileLoop(e, (0, a, b)), st.integers(1, 5), st.integers(0, 40), st.integers(1, 40))
results = st.builds(
    lambda e, d, a, b: TileLoop(e, (d, a, b)),
    st.integers(1, 9),
    st.integers(1, 300),
    st.integers(0, 40),
    st.integers(0, 40),
)


@settings(deadline=None)
@given(st.lists(sums, max_size=3), st.lists(results, max_size=3))
def test_the_same_words_are_visited(before: list[TileLoop], after: list[TileLoop]) -> None:
    loops = [*before, *after]
    found = kernel(loops, LIMITS)
    assert executed(found) == visits(loops)
    assert len(found.uops) <= LIMITS.uops
    for place, uop in enumerate(found.uops):
        assert all(uop[0] != other[0] for other in found.uops[max(0, place - 2) : place])


@given(st.lists(results, max_size=4))
def test_merging_changes_nothing(loops: list[TileLoop]) -> None:
    assert visits(merged(loops)) == visits(loops)


def test_a_row_major_tile_is_one_loop() -> None:
    tile = [TileLoop(4, (6, 6, 0)), TileLoop(6, (1, 1, 0))]
    assert merged(tile) == [TileLoop(24, (1, 1, 0))]


def test_a_sum_into_one_word_is_issued_step_by_step() -> None:
    found = kernel([TileLoop(7, (0, 1, 1))], LIMITS)
    assert len(found.uops) == 1
