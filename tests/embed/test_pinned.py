"""Pinned layouts: what is in place against plain numpy for every regular embedding, and the best against them all."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import permutations, product
from math import prod
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from regular import SMALL, placements, vta

import embed
import isa
from dataflow import Operator, UserError, conv1d, conv2d, depthwise_conv2d, evaluate, gemm, requantise
from dataflow.computation import Tensor
from embed.binding import bindings
from embed.costs import Costs, rates
from embed.costs import evaluate as price_of
from embed.demands import Demand, meets
from embed.embedding import Embedding, Placeable
from embed.errors import NoEmbedding
from embed.layout import Layout, derive
from embed.pareto import lane_strides
from embed.physical import LETTERS, Physical
from embed.pinned import Held, hold
from embed.solver.questions import held_under
from embed.solver.search import best
from embed.solver.settings import Settings
from embed.vta.executable import VtaKernel
from embed.vta.simulator import simulate
from isa.model import Isa
from tests.operators import inputs, pinned_operators, quantised

TARGETS = {1: SMALL, 2: vta(2, 4, 2)}
OPERATORS = {
    "pointwise": conv2d(n=2, c=4, h=4, w=4, k=8, r=1, s=1),
    "padded": conv2d(c=4, h=4, w=4, k=4, r=3, s=3, pad=1),
    "odd": requantise(conv2d(c=3, h=3, w=4, k=5, r=2, s=2), shift=2, bias=True),
    "depthwise": depthwise_conv2d(c=4, h=4, w=4, r=2, s=2),
    "line": conv1d(n=2, c=4, w=8, k=4, s=1, stride=2),
    "matrix": gemm(m=8, n=4, k=8),
    "turned": gemm(m=4, n=8, k=4, transpose_a=True),
}
BLOCKS = ("", "4c", "2c", "4k", "4k4c", "4c4k", "2n4c", "4r", "2w")


def names(tensor: Tensor) -> list[str]:
    """Every order of a tensor's dimensions with every choice of blocks that it has letters for."""
    letters = LETTERS[len(tensor.shape)][-1 if tensor.name == "wgt" and len(tensor.shape) < 4 else 0]
    if tensor.name == "wgt" and len(tensor.shape) == 4:
        letters = "KCRS"
    blocks = [block for block in BLOCKS if all(each.upper() in letters for each in block if each.isalpha())]
    return ["".join(order) + block for order, block in product(permutations(letters), blocks)]


@st.composite
def pinned(draw: st.DrawFn) -> tuple[str, int, dict[str, str]]:
    name = draw(st.sampled_from(sorted(OPERATORS)))
    operator = OPERATORS[name]
    tensors = [tensor for tensor in (*operator.inputs, operator.output) if len(tensor.shape) > 1]
    chosen = draw(st.lists(st.sampled_from(tensors), min_size=1, unique=True))
    return name, draw(st.sampled_from(sorted(TARGETS))), {t.name: draw(st.sampled_from(names(t))) for t in chosen}


def everything(held: Held, target: Isa) -> list[tuple[Embedding, Costs]]:
    instruction = Placeable.of(target, "gemm")
    rate = rates(held.operator, target.instructions["gemm"], target, held.lies)
    each = bindings(held.operator.main, instruction.pattern)
    found = [one for binding in each for one in placements(held.operator, instruction, binding)]
    return [(embedding, price_of(embedding, rate)) for one in found for embedding in (one, *wider(one))]


def wider(embedding: Embedding) -> Iterator[Embedding]:
    """The embeddings in which one digit takes lanes that are idle, without fewer runs: words of other shapes."""
    for place, digit in enumerate(embedding.digits):
        taken = prod(other.radix for other in embedding.digits_of(digit.lane) if other != digit)
        radix = min(embedding.size(digit), embedding.lanes[digit.lane] // taken)
        if radix > digit.radix:
            digits = (*embedding.digits[:place], replace(digit, radix=radix), *embedding.digits[place + 1 :])
            yield replace(embedding, digits=digits)


def same_bytes(layout: Layout, given: Physical) -> bool:
    """Whether packing an array that numbers its elements gives the numbers in the order in which they lie."""
    numbers = np.arange(1, 1 + given.tensor.size).reshape(given.tensor.shape)
    memory = np.zeros(given.size, np.int64)
    wide = Physical(Tensor(given.tensor.name, "i64", given.tensor.shape), given.order, given.blocks, given.letters)
    lies = wide.pack(numbers)
    memory[:] = lies.reshape(-1) if given.blocks else lies.transpose(given.order).reshape(-1)
    packed = layout.gather.pack(numbers.transpose(given.order), np.int64).reshape(-1)
    return packed.size == memory.size and bool((packed == memory).all())


@settings(max_examples=30, deadline=None)
@given(pinned())
def test_in_place_is_what_numpy_says_and_the_best_is_the_best_of_all(one: tuple[str, int, dict[str, str]]) -> None:
    operator, target, layouts = OPERATORS[one[0]], TARGETS[one[1]], one[2]
    held = hold(operator, layouts)
    listed = everything(held, target)
    for embedding, price in listed:
        for access, layout in derive(embedding).items():
            tensor = operator.output.name if access == operator.main.output.tensor else access
            if tensor in layouts:
                planes = access != tensor or operator.output.dtype != "i32"
                wanted = same_bytes(layout, held.given[tensor]) and (planes or tensor != operator.output.name)
                assert price.packings[access].in_place == wanted, (str(embedding), access)
    found = best(operator, target, Settings(layouts=tuple(layouts.items()), relax=()))
    assert found.status == "OPTIMAL"
    assert found.costs.total == min(price.total for _, price in listed)


@settings(max_examples=30, deadline=None)
@given(pinned())
def test_a_demand_holds_where_some_embedding_meets_it(one: tuple[str, int, dict[str, str]]) -> None:
    operator, target, layouts = OPERATORS[one[0]], TARGETS[one[1]], one[2]
    demands = tuple(Demand("in-place", (name,)) for name in layouts)
    asked = Settings(layouts=tuple(layouts.items()), demands=demands)
    prices = [price for _, price in everything(held_under(operator, target, asked), target)]
    fitting = [price for price in prices if all(packing.in_place for packing in price.packings.values())]
    if fitting:
        assert best(operator, target, asked).costs.cycles == min(price.total for price in fitting)
        return
    with pytest.raises(NoEmbedding, match="is used where it lies"):
        best(operator, target, asked)


REQUESTS = [
    ("padded", "inp=NHWC", "in-place=inp", "in-place=inp", "inp=NCHW4c"),
    ("padded", "inp=NCHW4c", "in-place=inp lane=i:r", "in-place=inp lane=i:r", ""),
    ("padded", "inp=NCHW4c", "in-place=inp bind=inp:wgt", "in-place=inp bind=inp:wgt", ""),
    ("padded", "inp=NCHW4c wgt=KCRS", "in-place=inp in-place=wgt", "in-place=inp in-place=wgt", "wgt=KCRS4k4c"),
    ("padded", "wgt=KCRS4k4c", "in-place=inp in-place=wgt loop=k", "in-place=wgt loop=k", "wgt=KCRS"),
    ("pointwise", "wgt=KCRS", "in-place=wgt loop=c", "in-place=wgt loop=c", "wgt=KCRS4r"),
    ("pointwise", "inp=NHWC", "in-place=inp no-fuse lane=o:x bind=inp:inp", "lane=o:x bind=inp:inp", ""),
    ("pointwise", "", "in-place=out", "in-place=out", ""),
    ("pointwise", "", "in-place=inp full=i", "in-place=inp", "inp=NHWC"),
    ("odd", "out=NCHW", "in-place=out", "in-place=out", "out=NCHW4w"),
    ("odd", "out=NHWC4c", "in-place=out min-utilisation=0.9", "min-utilisation=0.9", ""),
    ("odd", "inp=NHWC4c", "in-place=inp max-cycles=60", "max-cycles=60", ""),
    ("odd", "bias=C", "in-place=bias lane=o:k", "in-place=bias", "bias=C4c"),
    ("matrix", "b=RC", "in-place=b", "in-place=b", "b=RC4r"),
    ("matrix", "a=RC b=CR", "in-place=a in-place=b max-bytes=300", "in-place=b max-bytes=300", "b=RC4r"),
    ("turned", "a=RC", "in-place=a lane=i:k", "in-place=a", "a=RC4r"),
    ("depthwise", "inp=NHWC", "in-place=inp", "in-place=inp", "inp=NCHW4n"),
    ("line", "inp=NWC", "in-place=inp lane=i:c", "in-place=inp", ""),
]


@pytest.mark.parametrize(("name", "pins", "text", "reasons", "remedy"), REQUESTS)
def test_reasons_are_minimal(name: str, pins: str, text: str, reasons: str, remedy: str) -> None:
    """Each reason alone makes the difference, of all regular embeddings; the layout that is proposed does, too."""
    operator, layouts = OPERATORS[name], dict(pin.split("=") for pin in pins.split())
    demands = tuple(map(Demand.read, text.split()))
    asked = Settings(layouts=tuple(layouts.items()), demands=demands)
    with pytest.raises(NoEmbedding) as raised:
        best(operator, SMALL, asked)
    advice = f", or pin --layout {remedy}" if remedy else ""
    message, _, allowed = str(raised.value).partition(", or allow --relax ")
    assert message.endswith(f"Leave out {' or '.join(reasons.split())}{advice}")
    for relaxation in filter(None, allowed.split(" or ")):
        found = best(operator, SMALL, replace(asked, relax=(relaxation,)))
        assert all(meets(demand, found.embedding, found.costs) for demand in demands)
    clash = list(map(Demand.read, reasons.split()))
    listed = everything(held_under(operator, SMALL, asked), SMALL)
    assert not any(all(meets(demand, *one) for demand in clash) for one in listed)
    for left_out in clash:
        others = [demand for demand in clash if demand != left_out]
        assert any(all(meets(demand, *one) for demand in others) for one in listed)
    if remedy:
        pinned = replace(asked, layouts=(*asked.layouts, tuple(remedy.split("="))), demands=tuple(clash))
        held = held_under(operator, SMALL, pinned)
        assert any(all(meets(demand, *one) for demand in clash) for one in everything(held, SMALL))


CONV = requantise(conv2d(n=2, c=8, h=5, w=6, k=12, r=3, s=3, pad=1), shift=3, bias=True)


@pytest.mark.parametrize(
    ("layouts", "in_place"),
    [
        ({"inp": "NCHW4c", "out": "NHWC"}, {"inp", "acc"}),
        ({"inp": "NHWC", "wgt": "KCRS4k4c", "bias": "C"}, {"wgt", "bias"}),
        ({"inp": "NCHW4c", "wgt": "KRSC4k4c", "out": "NCHW4c"}, {"inp", "wgt", "acc"}),
        ({"out": "CNWH"}, {"acc"}),
        ({"inp": "NCHW"}, set()),
    ],
)
def test_kernels_take_arrays_that_lie_so(layouts: dict[str, str], in_place: set[str], tmp_path: Path) -> None:
    """What is in place goes into the machine's memory byte for byte; results lie as pinned, also from a bundle."""
    found = best(CONV, SMALL, Settings(layouts=tuple(layouts.items())))
    assert {access for access, packing in found.costs.packings.items() if packing.in_place} == in_place
    kernel = embed.compile(CONV, SMALL, found, layouts=layouts)
    assert isinstance(kernel, VtaKernel)
    arrays = {name: array % 7 for name, array in inputs(CONV).items()}
    given = {name: Physical.of(tensor(name), layouts.get(name)).pack(array) for name, array in arrays.items()}
    out = Physical.of(CONV.output, layouts.get("out"))
    result = kernel(**given)
    assert np.array_equal(out.check(result), out.pack(evaluate(CONV, arrays)))
    bound = kernel.bind(given)
    for access in in_place - {"acc"}:
        assert bound.segment(access).data.tobytes() == memory(given[access]).tobytes()
    if "acc" in in_place:
        [written] = simulate(bound, kernel.machine).outputs.values()
        assert written.tobytes() == memory(result).tobytes()
    kernel.save(tmp_path / "bundle", given)
    assert np.array_equal(embed.load(tmp_path / "bundle")(**given), result)


def tensor(name: str) -> Tensor:
    return next(tensor for tensor in (*CONV.inputs, CONV.output) if tensor.name == name)


def memory(array: np.ndarray) -> np.ndarray:
    """The elements in the order in which they lie."""
    return array.transpose(sorted(range(array.ndim), key=lambda place: -array.strides[place]))


def test_an_abstract_program_takes_arrays_that_lie_so() -> None:
    target = isa.load(str(Path(__file__).parent.parent / "isa_files" / "conv_engine.toml"))
    operator = conv2d(c=2, h=5, w=4, k=3, r=3, s=3)
    kernel = embed.compile(operator, target, layouts={"inp": "NHWC", "out": "NCHW2c"})
    arrays = inputs(operator)
    wide, out = Physical.of(operator.inputs[0], "NHWC"), Physical.of(operator.output, "NCHW2c")
    result = kernel(wide.pack(arrays["inp"]), arrays["wgt"])
    assert np.array_equal(result, out.pack(evaluate(operator, arrays)))
    with pytest.raises(UserError, match=r"'inp' does not lie as NHWC.*, 'NHWC'\).pack"):
        kernel(arrays["inp"], arrays["wgt"])


@pytest.mark.parametrize(
    ("layouts", "said"),
    [
        ({"image": "NHWC"}, "there is no tensor 'image'; there are: inp, wgt, bias, out"),
        ({"inp": "NHWD"}, "write its dimensions NCHW in the order they lie in"),
    ],
)
def test_layouts_that_are_none(layouts: dict[str, str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        embed.compile(CONV, SMALL, layouts=layouts)


def test_without_pins_the_operator_is_itself() -> None:
    assert hold(CONV, {}).operator is CONV
    assert held_under(CONV, SMALL, Settings(demands=(Demand.read("in-place=inp"),))).operator is CONV


def test_layouts_and_demands_in_python() -> None:
    found = embed.best(CONV, SMALL, layouts={"inp": "NHWC"}, demands=["bind=inp:inp"])
    listed = embed.alternatives(CONV, SMALL, layouts={"inp": "NHWC"}, demands=["bind=inp:inp"], dominated=True)
    assert found.costs.total == listed[0].costs.total == min(price.total for _, price in listed.ranked)
    assert found.embedding.operator.inputs[0].shape == (2, 5, 6, 8)
    assert {packing.tensor for packing in found.costs.packings.values()} == {"inp"}
    streamed = embed.stream(CONV, SMALL, layouts={"inp": "NCHW4c"}, demands=["in-place=inp"])
    assert next(streamed).costs.packings["inp"].in_place


@pytest.mark.parametrize(
    ("demands", "said"),
    [
        (["full=i", "lane=i:k"], r"k runs along i: .* Leave out lane=i:k$"),
        (["loop=c", "loop=r", "loop=s"], r"no maximal embedding meets loop=c, loop=r, loop=s; list the dominated ones"),
    ],
)
def test_a_list_without_an_entry_has_a_reason(demands: list[str], said: str) -> None:
    with pytest.raises(NoEmbedding, match=said):
        embed.alternatives(CONV, SMALL, demands=demands)


def test_packing_counts_in_the_front() -> None:
    ranked = embed.alternatives(CONV, SMALL, layouts={"inp": "NCHW4c", "out": "NHWC"}, dominated=True).pareto().ranked
    points = [(price.total, price.moved, -price.utilisation, lane_strides(embedding)) for embedding, price in ranked]
    assert len(set(points)) == len(points)
    assert not any(all(a <= b for a, b in zip(one, two, strict=True)) for one, two in permutations(points, 2))


@settings(max_examples=12, deadline=None)
@given(pinned_operators(quantised()))
def test_any_layout_of_any_operator_runs(one: tuple[Operator, dict[str, str]]) -> None:
    operator, layouts = one
    kernel = embed.compile(operator, SMALL, layouts=layouts)
    arrays = inputs(operator)
    given = {t.name: Physical.of(t, layouts.get(t.name)).pack(arrays[t.name]) for t in operator.inputs}
    result = kernel(**given)
    lies = Physical.of(operator.output, layouts.get(operator.output.name))
    assert np.array_equal(lies.unpack(lies.check(result)), evaluate(operator, arrays))


@pytest.mark.parametrize("layout", ["KCRS", "KCSR", "CKSR", "KRSC4r"])
def test_digits_follow_the_layout(layout: str) -> None:
    """Lanes that hold r and s take them in the order in which the weights have them."""
    small = conv2d(c=1, h=4, w=4, k=8, r=2, s=2)
    found = embed.best(small, SMALL, layouts={"wgt": layout}, demands=["in-place=wgt"] if "4" not in layout else [])
    assert found.status == "OPTIMAL"
    arrays = inputs(small)
    weights = Physical.of(small.inputs[1], layout).pack(arrays["wgt"])
    kernel = embed.compile(small, SMALL, found, layouts={"wgt": layout})
    assert np.array_equal(kernel(arrays["inp"], weights), evaluate(small, arrays))


@pytest.mark.parametrize("layout", ["RC", "CR", "CR4r"])
def test_sums_in_parts_are_not_the_array_of_the_results(layout: str) -> None:
    """They have a dimension more: what is written where the user's array lies is their sum."""
    operator, target = gemm(m=3, n=5, k=40, dtype="i16"), isa.load("rvv")
    found = embed.best(operator, target, layouts={"out": layout}, relax="sums")
    assert str(found.embedding.relaxed) == "sums k:2"
    assert not found.costs.packings["out"].in_place
    arrays = inputs(operator)
    kernel = embed.compile(operator, target, found, layouts={"out": layout})
    lies = Physical.of(operator.output, layout)
    assert np.array_equal(lies.unpack(lies.check(kernel(**arrays))), evaluate(operator, arrays))
