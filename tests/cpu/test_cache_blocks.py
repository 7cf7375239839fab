"""A loop of the output cut into blocks around all others: the same results, and chosen where caches gain from it."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from epilogues import followed
from here import NATIVE, TARGET, arrays
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

import isa
from dataflow import conv2d, evaluate, gemm
from dataflow.operator import Operator
from embed.cpu.choosing.core import machine
from embed.cpu.choosing.model import Pricing
from embed.cpu.compile import candidates, kernel_of
from embed.cpu.kernel import CpuKernel
from embed.nest.interpret import interpret
from embed.nest.schedule import Schedule

COLUMNS = {"a": "CR", "b": "CR", "out": "CR"}
NHWC = {"inp": "NHWC", "out": "NHWC"}


def blocked(operator: Operator, layouts: Mapping[str, str], place: int, tiles: int, threads: int = 1) -> CpuKernel:
    """The best kernel with the result loop at some place of its order in blocks of so many tiles."""
    found = candidates(operator, TARGET, layouts=layouts, threads=threads).candidates[0]
    results = [name for name in found.schedule.order if name in found.embedding.result_loops]
    name = results[place % len(results)]
    schedule = replace(found.schedule, block=(name, tiles * found.schedule.tiles[name]))
    return kernel_of(operator, replace(found, schedule=schedule), layouts=layouts, threads=threads)


@NATIVE
@settings(max_examples=12, deadline=None)
@drawn(
    st.integers(1, 70), st.integers(1, 60), st.integers(1, 9), st.sampled_from(list(product((0, 1), (1, 3), (1, 2))))
)
def test_products_in_blocks_are_right(m: int, n: int, k: int, cut: tuple[int, int, int]) -> None:
    place, tiles, threads = cut
    operator = followed(gemm(m=m, n=n, k=k, dtype="f32"), "max(acc[@] + bias[d0], 0)", "f32", bias=("f32", (m,)))
    kernel = blocked(operator, COLUMNS, place, tiles, threads)
    given = arrays(kernel)
    assert np.allclose(kernel(**given), evaluate(operator, given), atol=1e-4)


@NATIVE
@pytest.mark.parametrize("place", range(4))
def test_convolutions_in_blocks_are_right(place: int) -> None:
    """Loops with a border are cut into regions, also where they are the ones in blocks."""
    operator = conv2d(n=3, c=5, h=9, w=11, k=37, r=3, s=3, pad=1, dtype="f32")
    kernel = blocked(operator, NHWC, place, 2)
    given = arrays(kernel)
    assert np.allclose(kernel(**given), evaluate(operator, given), atol=1e-4)


def test_the_nest_with_blocks_means_the_same() -> None:
    operator = gemm(m=21, n=10, k=3, dtype="f32")
    kernel = blocked(operator, COLUMNS, 1, 2)
    assert kernel.schedule.block is not None
    assert str(kernel.schedule).endswith(f" block={':'.join(map(str, kernel.schedule.block))}")
    given = arrays(kernel)
    packed = {name: layout.pack(given[name]) for name, layout in kernel.nest.layouts.items() if name in given}
    found = kernel.nest.layouts[kernel.nest.output].unpack(interpret(kernel.nest, packed))
    assert np.allclose(found, evaluate(operator, given), atol=1e-4)


def chosen(m: int, n: int, k: int, threads: int = 1) -> Schedule:
    operator = gemm(m=m, n=n, k=k, dtype="i8*u8")
    vnni = isa.load("avx512_vnni")
    return candidates(operator, vnni, layouts=COLUMNS, constants=("a",), threads=threads).candidates[0].schedule


def test_blocks_are_chosen_where_columns_come_from_far() -> None:
    """Columns of less than a page that the second cache does not hold; not where it does, nor for long ones."""
    assert chosen(1024, 300, 1024).block is None
    assert chosen(1024, 6000, 8192).block is None
    name, size = chosen(3072, 3000, 1024).block or ("", 0)
    assert name == "n"
    assert size * 1024 < (1 << 21)
    both = chosen(3072, 3000, 1024, threads=2).block
    assert both is not None
    assert -(-3000 // both[1]) % 2 == 0


def test_blocks_fit_the_second_cache() -> None:
    """All that one tile of the outermost loop touches in a block fits, and with one more tile it would not."""
    operator = gemm(m=640, n=3000, k=1024, dtype="i8*u8")
    vnni = isa.load("avx512_vnni")
    found = candidates(operator, vnni, layouts=COLUMNS, constants=("a",)).candidates[0]
    site = found.site
    pricing = Pricing(site.embedding, machine(vnni, site.roles), site.moving, site.ways, 0)
    tiles, order = found.schedule.tiles, ("m_o", "n", "k_o")
    ((name, size),) = pricing.blocks(tiles, order, 1)
    room = pricing.core.caches[1][0]
    blocks = -(-3000 // size)

    def touched(columns: int) -> float:
        return sum(t.bytes({**pricing.extents, "m_o": tiles["m_o"], name: columns}) for t in pricing.tensors)

    assert touched(size) <= room
    assert touched(-(-3000 // (blocks - 1))) > room
