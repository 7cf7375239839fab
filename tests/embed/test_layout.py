"""Layouts against the definition: the words that invocations read hold the elements that phi and the accesses say."""

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from regular import SMALL, TARGETS, embeddings, invocations, lane_positions, phi, reads, vta

import dataflow
import embed
from dataflow import Operator, conv1d, conv2d, depthwise_conv2d, gemm, requantise
from dataflow.dtypes import numpy_dtype
from dataflow.expression import Read
from embed.binding import Binding
from embed.checker import verify
from embed.embedding import Digit, Embedding, Placeable
from embed.layout import Layout, derive, derive_extra
from embed.packing import Gather, Lanes, Move, Run
from tests.operators import quantised

Element = tuple[int, ...]
Place = tuple[int, ...]


def nonzero(layout: Layout) -> np.ndarray:
    """An array in which no element is zero, and few are equal."""
    count = np.arange(layout.tensor.size).reshape(layout.tensor.shape)
    return (count % 126 + 1).astype(numpy_dtype(layout.tensor.dtype))


def element(read: Read, point: Mapping[str, int]) -> Element:
    return tuple(index.constant + sum(factor * point[dim] for dim, factor in index.terms) for index in read.index)


def inside(place: Element, shape: tuple[int, ...]) -> bool:
    return all(0 <= value < size for value, size in zip(place, shape, strict=True))


def word(layout: Layout, origin: Mapping[str, int]) -> Place:
    """The word that an invocation uses, as the axes' loops say."""
    return tuple(sum(factor * origin[loop] for loop, factor in axis.loops) - axis.before for axis in layout.axes)


def used(embedding: Embedding, layout: Layout, read: Read) -> dict[Place, Element]:
    """By the definition: for each position in words (it may lie in padding) the element that busy lanes need there."""
    found: dict[Place, Element] = {}
    for origin in invocations(embedding):
        for lanes in lane_positions(embedding):
            point = phi(embedding, origin, lanes)
            if point is not None:
                place = (*word(layout, origin), *(lanes[lane] for lane in layout.word_lanes))
                assert found.setdefault(place, element(read, point)) == element(read, point)
    return found


def packs_what_is_used(embedding: Embedding) -> None:
    operands = reads(embedding.operator, embedding.binding)
    for operand, name in embedding.binding.pairs:
        layout = derive(embedding)[name]
        is_exact(embedding, layout, operands[operand])


def is_exact(embedding: Embedding, layout: Layout, read: Read) -> None:
    array = nonzero(layout)
    packed = layout.pack(array)
    assert packed.shape == layout.shape
    assert packed.dtype == array.dtype
    wanted = used(embedding, layout, read)
    shape = layout.tensor.shape
    for place, source in wanted.items():
        value = int(array[source]) if inside(source, shape) else 0
        assert (int(packed[place]) if inside(place, packed.shape) else 0) == value
    restored = layout.unpack(packed)
    assert restored.shape == shape
    for source in set(wanted.values()):
        if inside(source, shape):
            assert restored[source] == array[source]
    assert np.array_equal(layout.pack(restored), packed)


@st.composite
def small_embeddings(draw: st.DrawFn) -> Embedding:
    """A random embedding of few enough invocations for plain loops."""
    operator = draw(quantised().filter(lambda operator: operator.main.points <= 4000))
    target = draw(st.sampled_from(TARGETS))
    found = draw(embeddings(operator, target))
    while found.invocations * found.pattern.points > 8_000:
        smaller = {dim: (extent + 1) // 2 for dim, extent in operator.main.extents.items() if dim in "nkyxzm"}
        plain = {dim: size for dim, size in smaller.items() if size > 1 and len(operator.output.shape) > 1}
        if not plain or "g" in operator.main.extents:
            return draw(embeddings(gemm(m=3, n=5, k=7), target))
        operator = Operator(operator.name, (operator.main.restricted({d: range(s) for d, s in plain.items()}),))
        found = draw(embeddings(operator, target))
    return found


@settings(max_examples=40, deadline=None)
@given(small_embeddings())
def test_words_hold_what_phi_and_the_accesses_say(embedding: Embedding) -> None:
    verify(embedding)
    packs_what_is_used(embedding)


@pytest.mark.parametrize(
    "operator",
    [
        conv2d(c=3, h=4, w=3, k=3, r=2, s=2, pad=1),
        requantise(conv2d(c=4, h=4, w=4, k=4, r=2, s=2, groups=2, stride=2, dilation=(1, 2), pad=(0, 1)), bias=True),
        depthwise_conv2d(c=3, h=4, w=3, r=3, s=2, pad=1),
        conv1d(n=2, c=2, w=6, k=3, s=3, stride=2, pad=2),
        gemm(m=3, n=5, k=9, transpose_a=True),
    ],
    ids=str,
)
def test_all_alternatives_of_some_operators(operator: Operator) -> None:
    ranked = embed.alternatives(operator, SMALL).ranked
    for embedding, _ in ranked[:: max(1, len(ranked) // 12)]:
        packs_what_is_used(embedding)
        text_names_the_elements(embedding)


@settings(max_examples=20, deadline=None)
@given(small_embeddings())
def test_the_printed_layout_is_the_gather(embedding: Embedding) -> None:
    text_names_the_elements(embedding)


def text_names_the_elements(embedding: Embedding) -> None:
    """Left of = the names of axes and lanes, right of it the element, in Python."""
    operands = reads(embedding.operator, embedding.binding)
    for operand, name in embedding.binding.pairs:
        layout = derive(embedding)[name]
        left, right = str(layout).split(" = ")
        names = left.removeprefix(f"{layout.tensor.name}'[").removesuffix("]").replace("|", ",").strip(",").split(",")
        names = [name for name in names if name]
        assert len(set(names)) == len(names) == len(layout.shape)
        index = compile(
            f"({right.removeprefix(layout.tensor.name).strip('[]')},)" if layout.index else "()", "", "eval"
        )
        for place, source in used(embedding, layout, operands[operand]).items():
            if inside(place, layout.shape):
                assert eval(index, dict(zip(names, place, strict=True))) == source


def test_printed_layouts() -> None:
    operator = dataflow.conv2d(c=3, h=9, w=9, k=20, r=3, s=3, stride=2, pad=1)
    digits = (Digit("o", ("k",), 16), Digit("i", ("s", "r", "c"), 16))
    binding = Binding((("acc", "out"), ("inp", "inp"), ("wgt", "wgt")))
    found = derive(Embedding(operator, Placeable.of(vta(1, 16, 16), "gemm"), binding, digits))
    assert {name: str(layout) for name, layout in found.items()} == {
        "out": "out'[k_o,y,x|b,o] = out[0, 16*k_o+o, y, x]",
        "inp": "inp'[crs_o,y,x|b,i] = inp[0, (16*crs_o+i)//9, 2*y+((16*crs_o+i)//3)%3-1, 2*x+(16*crs_o+i)%3-1]",
        "wgt": "wgt'[k_o,crs_o|o,i] = wgt[16*k_o+o, (16*crs_o+i)//9, ((16*crs_o+i)//3)%3, (16*crs_o+i)%3]",
    }


def test_lanes_never_share_a_name_with_an_axis() -> None:
    operator = Operator("expr", (dataflow.infer("out[i,o] += a[i,b] * w[b,o]", {"i": 3, "o": 3, "b": 3}, "i8"),))
    for solution in embed.alternatives(operator, SMALL):
        text_names_the_elements(solution.embedding)


# padding: in a scratchpad only, where lanes leave the window alone; else stored as zeros


@pytest.mark.parametrize(
    ("digits", "stored", "around"),
    [
        ((), {"h": 5, "w": 5}, (1, 1)),
        ((Digit("o", ("k",), 4), Digit("i", ("c",), 2)), {"h": 5, "w": 5}, (1, 1)),
        ((Digit("i", ("s", "c"), 4),), {"h": 5, "w": 5}, (1, 0)),
    ],
)
def test_padding_that_a_load_supplies_is_not_stored(
    digits: tuple[Digit, ...], stored: dict[str, int], around: tuple[int, int]
) -> None:
    operator = conv2d(c=2, h=5, w=5, k=3, r=3, s=3, pad=1)
    binding = Binding((("acc", "out"), ("inp", "inp"), ("wgt", "wgt")))
    embedding = Embedding(operator, Placeable.of(SMALL, "gemm"), binding, digits)
    axes = {axis.name: axis for axis in derive(embedding)["inp"].axes}
    assert (axes["yr"].before, axes["yr"].extent, axes["yr"].after) == (around[0], stored["h"], around[0])
    last = axes.get("xs", axes.get("x"))
    assert last is not None
    assert (last.before, last.extent) == (around[1], stored["w"])
    packs_what_is_used(embedding)


def test_idle_lanes_hold_zeros() -> None:
    """Lanes past a digit's end, past all digits, and past a fused digit's end."""
    operator = conv1d(c=3, w=4, k=2, s=3)
    binding = Binding((("acc", "out"), ("inp", "inp"), ("wgt", "wgt")))
    target = vta(1, 8, 4)
    for digits in (
        (Digit("i", ("c",), 2),),
        (Digit("i", ("s",), 2), Digit("i", ("c",), 3)),
        (Digit("i", ("s", "c"), 5), Digit("o", ("k",), 2)),
    ):
        embedding = Embedding(operator, Placeable.of(target, "gemm"), binding, digits)
        for name in ("inp", "wgt"):
            layout = derive(embedding)[name]
            busy = {
                place for place in used(embedding, layout, operator.main.accesses[name]) if inside(place, layout.shape)
            }
            packed = layout.pack(nonzero(layout))
            idle = np.ones(packed.shape, bool)
            idle[tuple(np.array(sorted(busy)).T)] = False
            assert not packed[idle].any()
            assert idle.any()


def test_an_epilogue_tensor_lies_in_words_like_the_output() -> None:
    operator = requantise(gemm(m=3, n=6, k=2), bias=True)
    solution = embed.best(operator, SMALL)
    bias = next(step for step in operator.epilogue[0].reads if step.tensor == "bias")
    read = Read("bias", (operator.main.output.index[0],))
    assert str(bias) == "bias[d0]"
    layout = derive_extra(solution.embedding, read)
    packed = layout.pack(np.arange(1, 4, dtype=np.int32))
    assert layout.word_lanes == derive(solution.embedding)["acc"].word_lanes
    assert sorted({*packed.reshape(-1).tolist(), 0}) == [0, 1, 2, 3]


def test_packing_converts_to_the_wanted_type() -> None:
    layout = derive(embed.best(gemm(m=2, n=3, k=2), SMALL).embedding)["a"]
    packed = layout.pack(np.array([[-1, 2], [3, -128]], np.int8), "i32")
    assert packed.dtype == np.int32
    assert sorted(packed[packed != 0].tolist()) == [-128, -1, 2, 3]


# the strided copies themselves, against a loop


@st.composite
def gathers(draw: st.DrawFn) -> Gather:
    """Random moves, runs and lanes on a small array, reaching outside it on both sides."""
    rank = draw(st.integers(0, 3))
    shape = tuple(draw(st.integers(1, 5)) for _ in range(rank))
    lanes = [tuple(draw(st.lists(st.integers(1, 4), max_size=2))) for _ in range(draw(st.integers(0, 2)))]
    radices = [radix for lane in lanes for radix in lane]
    steps = st.tuples(*[st.integers(-2, 2)] * rank)
    places = draw(st.permutations([*range(len(radices)), *[None] * draw(st.integers(0, 2))]))
    runs = []
    for digit in places[: draw(st.integers(0, len(places)))]:
        moves = tuple(Move(draw(st.integers(1, 4)), draw(steps)) for _ in range(draw(st.integers(1, 3))))
        size = Run(moves, 1).size
        radix = 1 if digit is None else radices[digit]
        runs.append(Run(moves, -(-size // radix), radix, digit))
    words = tuple(Lanes(int(np.prod(lane)) + draw(st.integers(0, 2)), lane) for lane in lanes)
    return Gather(shape, tuple(draw(st.integers(-2, 3)) for _ in range(rank)), tuple(runs), words)


def sources(gather: Gather) -> dict[Place, Element]:
    """The element of every position that is not idle, one by one."""
    found = {}
    shape = (*(run.count for run in gather.runs), *(lane.extent for lane in gather.lanes))
    for place in np.ndindex(*shape):
        digits: list[int] = []
        idle = False
        for lane, value in zip(gather.lanes, place[len(gather.runs) :], strict=True):
            parts = []
            for radix in reversed(lane.radices):
                value, part = divmod(value, radix)
                parts.append(part)
            digits += reversed(parts)
            idle = idle or value > 0
        source = list(gather.origin)
        for run, number in zip(gather.runs, place, strict=False):
            flat = number * run.radix + (digits[run.digit] if run.digit is not None else 0)
            idle = idle or flat >= run.size
            for move in reversed(run.moves):
                flat, position = divmod(flat, move.extent)
                source = [base + step * position for base, step in zip(source, move.steps, strict=True)]
        if not idle:
            found[tuple(map(int, place))] = tuple(source)
    return found


@settings(max_examples=80, deadline=None)
@given(gathers())
def test_strided_copies_do_what_a_loop_does(gather: Gather) -> None:
    array = np.arange(1, 1 + int(np.prod(gather.shape)), dtype=np.int16).reshape(gather.shape)
    packed = gather.pack(array, np.int32)
    wanted = np.zeros(packed.shape, np.int32)
    back = np.zeros(gather.shape, np.int32)
    for place, source in sources(gather).items():
        if inside(source, gather.shape):
            wanted[place] = array[source]
            back[source] = array[source]
    assert np.array_equal(packed, wanted)
    unpacked = gather.unpack(packed)
    assert unpacked.shape == gather.shape
    assert np.array_equal(unpacked, back)


@settings(max_examples=20, deadline=None)
@given(gathers(), st.data())
def test_arrays_of_any_strides_pack_alike(gather: Gather, data: st.DataObject) -> None:
    array = np.arange(int(np.prod(gather.shape)), dtype=np.int8).reshape(gather.shape)
    order = data.draw(st.permutations(range(array.ndim)))
    turned = np.ascontiguousarray(array.transpose(order)).transpose(np.argsort(order)) if order else array
    assert np.array_equal(gather.pack(turned, np.int8), gather.pack(array, np.int8))
