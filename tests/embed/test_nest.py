"""Loop nests: schedules fit the scratchpads, tiles cover every invocation once, the interpreter gives exact numbers."""

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import product
from math import prod
from pathlib import Path

import numpy as np
import pytest
from conftest import Golden
from hypothesis import given, settings
from hypothesis import strategies as st
from regular import SMALL, TARGETS, embeddings, vta

import dataflow
import embed
import isa
from dataflow import Operator, conv2d, evaluate, gemm, requantise
from dataflow.dtypes import convert
from embed.binding import bindings
from embed.embedding import Embedding, Placeable
from embed.epilogue import plan
from embed.errors import NoEmbedding
from embed.layout import Layout
from embed.nest import Compute, Nest, Node, Points, Schedule, Tiles, build
from embed.nest.build import derive
from embed.nest.interpret import interpret
from embed.nest.ir import pieces
from embed.nest.task import even_tiles
from embed.vta.executable import VtaKernel, compile_vta
from isa.model import Isa
from tests.operators import inputs, quantised

SHAPES = (*TARGETS, vta(1, 16, 16), isa.load("vta", {"batch": 16}), isa.load("vta", {"block_in": 64, "block_out": 64}))
LITTLE = isa.load(
    "vta",
    {"block_in": 4, "block_out": 4, "inp_bytes": 64 * 4, "wgt_bytes": 32 * 16, "acc_bytes": 64 * 16, "uop_bytes": 2048},
)
"""VTA 1x4x4 with room for 64 inp, 32 wgt and 64 acc words."""


def tile_words(layout: Layout, tiles: Mapping[str, int]) -> int:
    """Words that a tile reaches along each axis, all of them together."""
    return prod(1 + sum(factor * (tiles[loop] - 1) for loop, factor in axis.loops) for axis in layout.axes)


def fits(kernel: VtaKernel) -> None:
    """By the tiles alone: all buffers of all tensors lie in their scratchpads, the epilogue's with the accumulators."""
    schedule, embedding, loops = kernel.schedule, kernel.embedding, extents(kernel.embedding)
    depths = {name: memory.count for name, memory in kernel.target.memories.items()}
    homes = {embedding.binding.tensors[operand]: operand for operand in ("inp", "wgt")}
    taken = Counter(acc=schedule.result_buffers * tile_words(kernel.nest.layouts[kernel.nest.output], schedule.tiles))
    for name, layout in kernel.nest.layouts.items():
        if name in homes:
            whole = all(schedule.tiles[loop] >= loops[loop] for axis in layout.axes for loop, _ in axis.loops)
            taken[homes[name]] += tile_words(layout, schedule.tiles) * (1 if whole else schedule.slots_of(name))
        elif name != kernel.nest.output:
            taken["acc"] += layout.words if name in schedule.whole else tile_words(layout, schedule.tiles)
    for memory, words in taken.items():
        assert words <= (depths[memory] or 0)


def extents(embedding: Embedding) -> dict[str, int]:
    return {loop.name: loop.extent for loop in embedding.loops}


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_every_schedule_fits_the_scratchpads(data: st.DataObject) -> None:
    operator = data.draw(quantised())
    embedding = data.draw(embeddings(operator, data.draw(st.sampled_from((*SHAPES, LITTLE)))))
    target = next(shape for shape in (*SHAPES, LITTLE) if shape.instructions["gemm"].pattern == embedding.pattern)
    kernel = compile_vta(embedding, target)
    fits(kernel)
    assert sorted(kernel.schedule.order) == sorted(kernel.schedule.tiles) == sorted(extents(embedding))
    assert all(1 <= tile <= extents(embedding)[name] for name, tile in kernel.schedule.tiles.items())


def test_an_input_of_which_nothing_but_padding_is_read() -> None:
    operator = dataflow.depthwise_conv2d(c=1, h=1, w=1, r=2, s=1, pad=(1, 0), dilation=(2, 1))
    instruction = Placeable.of(vta(1, 16, 16), "gemm")
    plain = Embedding(operator, instruction, next(iter(bindings(operator.main, instruction.pattern))), ())
    kernel = compile_vta(plain, vta(1, 16, 16))
    fits(kernel)
    assert not kernel(**inputs(operator)).any()


@pytest.mark.parametrize(
    "operator",
    [
        requantise(gemm(m=60, n=70, k=300), bias=True),
        requantise(conv2d(c=20, h=20, w=21, k=24, r=3, s=3, pad=1), bias=True),
        gemm(m=1, n=1, k=5000),
        conv2d(c=7, h=40, w=3, k=90, r=5, s=1, stride=2),
    ],
    ids=lambda operator: operator.title,
)
def test_little_scratchpads_cut_large_operators(operator: Operator) -> None:
    kernel = embed.compile(operator, LITTLE)
    fits(kernel)
    assert any(kernel.schedule.tiles[name] < extent for name, extent in extents(kernel.embedding).items())
    packed = {n: kernel.nest.layouts[n].pack(a) for n, a in packed_inputs(kernel.nest, inputs(operator)).items()}
    result = kernel.nest.layouts[kernel.nest.output].unpack(interpret(kernel.nest, packed))
    assert np.array_equal(result, evaluate(operator, inputs(operator)))


def packed_inputs(nest: Nest, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The array of every layout that is loaded, in the type of its scratchpad."""
    found = {}
    for name, layout in nest.layouts.items():
        if name != nest.output:
            array = arrays[layout.tensor.name]
            found[name] = array if name in nest.embedding.inputs else convert(array, "i32")
    return found


def test_what_no_tile_fits_is_refused() -> None:
    """One accumulator word is too few for a tile and its bias."""
    target = isa.load("vta", {"block_in": 4, "block_out": 4, "inp_bytes": 256, "wgt_bytes": 512, "acc_bytes": 16 * 2})
    operator = requantise(gemm(m=4, n=4, k=4), bias=True)
    assert embed.compile(operator, target).schedule.result_buffers == 1
    both = dataflow.parse(
        "out[d0,d1] = i8(acc[d0,d1] + x[d0,d1] + y[d0,d1])",
        {"d0": 4, "d1": 4},
        {t.name: t for t in (*(dataflow.Tensor(n, "i32", (4, 4)) for n in "xy"), *operator.epilogue[0].tensors[:2])},
    )
    with pytest.raises(NoEmbedding, match="no tile of gemm"):
        embed.compile(Operator("two", (operator.main, both)), target)


def leaves(nest: Nest) -> Iterator[dict[str, int]]:
    """The iteration of every loop at each invocation, by walking the tree."""

    def walk(body: tuple[Node, ...], ranges: dict[str, range], places: dict[str, int]) -> Iterator[dict[str, int]]:
        for node in body:
            if isinstance(node, Tiles):
                span = ranges[node.loop]
                for start in range(span.start, span.stop, node.tile):
                    piece = range(start, min(start + node.tile, span.stop))
                    yield from walk(node.body, {**ranges, node.loop: piece}, places)
            elif isinstance(node, Points):
                for place in ranges[node.loop]:
                    yield from walk(node.body, ranges, {**places, node.loop: place})
            elif isinstance(node, Compute):
                yield places

    yield from walk(nest.body, {loop.name: range(loop.extent) for loop in nest.embedding.loops}, {})


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_tiles_cover_every_invocation_once(data: st.DataObject) -> None:
    embedding, schedule = data.draw(schedules())
    nest = build(embedding, schedule, plan(embedding.operator, SMALL))
    visits = Counter(tuple(sorted(places.items())) for places in leaves(nest))
    spans = extents(embedding)
    wanted = {tuple(sorted(zip(spans, place, strict=True))) for place in product(*map(range, spans.values()))}
    assert set(visits) == wanted
    assert set(visits.values()) <= {1}


@st.composite
def schedules(draw: st.DrawFn) -> tuple[Embedding, Schedule]:
    """Any tiles in any order with the output's loops outside, whether or not they fit a machine."""
    operator = draw(quantised().filter(lambda operator: operator.main.points <= 20_000))
    embedding = draw(embeddings(operator, SMALL).filter(lambda embedding: embedding.invocations <= 3000))
    whole = {
        loop
        for layout in derive(embedding, plan(operator, SMALL)).values()
        for axis in layout.axes
        for loop, _ in axis.loops
        if axis.before or axis.after
    } - set(embedding.result_loops)
    tiles = {
        loop.name: loop.extent if loop.name in whole else draw(st.integers(1, loop.extent)) for loop in embedding.loops
    }
    order = draw(st.permutations(list(tiles)))
    extras = plan(operator, SMALL).extras
    whole = tuple(name for name in extras if draw(st.booleans()))
    tail = draw(st.none() | st.tuples(st.sampled_from(embedding.result_loops or [None]), st.integers(1, 4)))
    cut = tail if tail and tail[0] else None
    return embedding, Schedule(tiles, tuple(order), draw(st.sampled_from([1, 2])), 1, whole=whole, tail=cut)


@settings(max_examples=40, deadline=None)
@given(schedules())
def test_any_schedule_computes_the_reference(found: tuple[Embedding, Schedule]) -> None:
    embedding, schedule = found
    nest = build(embedding, schedule, plan(embedding.operator, SMALL))
    arrays = inputs(embedding.operator)
    packed = {name: nest.layouts[name].pack(array) for name, array in packed_inputs(nest, arrays).items()}
    result = nest.layouts[nest.output].unpack(interpret(nest, packed))
    reference = evaluate(embedding.operator, arrays)
    assert result.dtype == reference.dtype
    assert np.array_equal(result, reference)


@pytest.mark.parametrize(("start", "stop", "tile"), [(0, 7, 3), (2, 3, 5), (4, 12, 4), (0, 1, 1), (5, 5, 2)])
def test_pieces_follow_one_another(start: int, stop: int, tile: int) -> None:
    found = pieces(range(start, stop), tile)
    assert [place for piece in found for place in piece] == list(range(start, stop))
    assert all(len(piece) == tile for piece in found[:-1])


@given(st.integers(1, 5000))
def test_tile_sizes_are_the_smallest_for_their_number_of_tiles(extent: int) -> None:
    sizes = even_tiles(extent)
    assert sizes == sorted(set(sizes))
    assert sizes[-1] == extent
    assert sizes[0] == (1 if extent <= 4096 else 2)
    for size in sizes:
        assert -(-extent // size) < -(-extent // (size - 1)) if size > 1 else True


@pytest.mark.parametrize(
    ("name", "operator", "target"),
    [
        ("conv2d", requantise(conv2d(c=40, h=56, w=56, k=64, r=3, s=3, stride=2, pad=1), bias=True), vta(1, 16, 16)),
        ("gemm_i32", gemm(m=35, n=700, k=2048), vta(1, 16, 16)),
        ("little", requantise(gemm(m=30, n=40, k=100)), LITTLE),
    ],
)
def test_the_printed_nest(name: str, operator: Operator, target: Isa, golden: Golden) -> None:
    kernel = embed.compile(operator, target)
    text = f"{operator}\n{kernel.embedding}\n{kernel.schedule}\n\n{kernel.nest}\n"
    golden(text, Path(__file__).parent / "golden" / f"nest_{name}.txt")
