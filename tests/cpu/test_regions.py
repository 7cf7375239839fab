"""Regions of rows and columns: the taps that are left out are those that read padding, and the sums stay the same."""

from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np
import pytest
from here import NATIVE, TARGET, Array
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dataflow import Operator, UserError, conv2d, evaluate
from embed.cpu.compile import candidates, compile_cpu, kernel_of
from embed.cpu.kernel import CpuKernel
from embed.cpu.lowering.regions import Region, regions
from embed.cpu.measuring.count import count

PADDED = {"c": 16, "h": 7, "w": 7, "k": 512, "r": 1, "s": 1, "stride": 2, "pad": 3, "dtype": "f32"}
MARGIN = 2000
LAYOUTS = [{"inp": "NHWC", "out": "NHWC"}, {"inp": "NCHW8c", "out": "NCHW16c"}, {}]


@st.composite
def operators(draw: st.DrawFn) -> Operator:
    sizes = {name: draw(st.integers(1, 8)) for name in "hw"} | {name: draw(st.integers(1, 5)) for name in "rs"}
    steps = {"stride": draw(st.integers(1, 3)), "dilation": draw(st.integers(1, 2)), "pad": draw(st.integers(1, 4))}
    try:
        return conv2d(c=3, k=16, **sizes, **steps, dtype="f32")
    except UserError:
        assume(False)
        raise


@settings(max_examples=30)
@given(operators(), st.booleans())
def test_every_tap_that_reads_the_input_is_kept(operator: Operator, linear: bool) -> None:
    chosen = candidates(operator, TARGET, layouts=LAYOUTS[0]).candidates[0]
    main = operator.main
    for loop, found in regions(chosen.embedding, chosen.schedule, {"y", "x"} if linear else ()).items():
        window, dimension = {"y": ("r", 2), "x": ("s", 3)}[loop]
        index, size = main.accesses["inp"].index[dimension], main.tensor("inp").shape[dimension]
        at = 0
        for region in found:
            for place in range(at, at + region.runs * region.size):
                taps = [t for t in range(main.extents[window]) if 0 <= index.evaluate({loop: place, window: t}) < size]
                assert set(taps) <= set(region.taps[window])
            at += region.runs * region.size
        assert at == main.extents[loop]


@NATIVE
@settings(max_examples=20)
@given(operators(), st.sampled_from(LAYOUTS), st.integers(1, 2))
def test_sums_stay_the_same(operator: Operator, layouts: dict[str, str], threads: int) -> None:
    agrees(operator, layouts, threads)


@NATIVE
@pytest.mark.parametrize("layouts", LAYOUTS)
def test_an_image_with_more_padding_than_pixels(layouts: dict[str, str]) -> None:
    agrees(conv2d(**PADDED), layouts, 1)


def among_nans(array: Array) -> Array:
    """The same in memory in which a sum that reads an element more is no number."""
    memory = np.full(2 * MARGIN + array.size, np.nan, array.dtype)
    found = np.lib.stride_tricks.as_strided(memory[MARGIN:], array.shape, array.strides)
    found[...] = array
    return found


def agrees(operator: Operator, layouts: dict[str, str], threads: int) -> None:
    results(compile_cpu(operator, TARGET, layouts=layouts, threads=threads))


def results(kernel: CpuKernel) -> None:
    operator = kernel.operator
    rng = np.random.default_rng(0)
    arrays = {t.name: rng.integers(-9, 9, t.shape).astype(np.float32) for t in operator.inputs}
    out = kernel(**{name: among_nans(kernel.physical[name].pack(array)) for name, array in arrays.items()})
    assert np.array_equal(out, kernel.physical["out"].pack(evaluate(operator, arrays)))


def test_multiply_accumulates_that_are_left() -> None:
    operator = conv2d(**PADDED)
    kernel = compile_cpu(operator, TARGET, layouts=LAYOUTS[0], constants=("wgt",))
    lanes = kernel.embedding.pattern.tensors[0].size
    left = count(kernel).multiply_accumulates * lanes / operator.main.points
    assert 9 / 49 <= left < 0.25, "3 of 7 rows and columns read pixels; tiles of two rows read some padding"


@NATIVE
def test_an_image_has_a_border_where_sums_read_it() -> None:
    bordered = set()
    operators = [conv2d(n=n, **{**PADDED, "k": 48}) for n in (1, 2)]
    found = [candidates(each, TARGET, layouts=LAYOUTS[0], thorough=True).candidates for each in operators]
    for chosen in chain.from_iterable(found):
        reached = chosen.site.reached(chosen.schedule)
        if {"y", "x"} <= reached.regions.keys() and "inp" in reached.streams["a"].tensor:
            read = [at for found in reached.regions.values() for at in iterations(found)]
            feed = reached.streams["a"].feed
            assert feed.is_exact == all(0 <= 2 * at - 3 < 7 for at in read)
            bordered.add(bool(feed.shape))
            results(kernel_of(chosen.embedding.operator, chosen, layouts=LAYOUTS[0]))
    assert bordered == {True, False}


def iterations(found: Sequence[Region]) -> Iterator[int]:
    """Those that have taps left."""
    at = 0
    for region in found:
        at += region.runs * region.size
        yield from range(at - region.runs * region.size, at) if all(region.taps.values()) else ()
