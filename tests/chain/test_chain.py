"""Chains: the joint choice against brute force, greedy that loses, forms that really are the same, and the command."""

import json
import re
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import embed
import isa
from dataflow import Operator, UserError, conv2d, evaluate, gemm, requantise
from embed.chain import Chain, Flow, Form, Offers, Option, plan
from embed.chain.options import cheapest
from embed.chain.packed import options_of, packed_offers
from embed.chain.prune import hopeful
from embed.cli.app import app, run
from embed.embedding import Embedding
from embed.relax.steps import EXACT
from embed.relax.steps import names as relaxations
from embed.solver.chain import choose
from embed.solver.deadline import Deadline
from embed.solver.listing import written
from embed.solver.settings import Settings
from embed.vta.executable import VtaKernel
from embed.vta.simulator import simulate

ROOT = Path(__file__).parent.parent.parent
SMALL = isa.load("vta", {"block_in": 4, "block_out": 4, "inp_bytes": 8192, "wgt_bytes": 16384, "acc_bytes": 32768})
EXAMPLES = ROOT / "docs" / "examples"


def quantised(operator: Operator) -> Operator:
    return requantise(operator, shift=2, relu=True)


def convolutions(*shapes: tuple[int, int, int], size: int = 6) -> Chain:
    """Convolutions of (input channels, output channels, filter) over an image of `size`."""
    return Chain.of(
        [quantised(conv2d(c=c, h=size, w=size, k=k, r=r, s=r, pad=r // 2)) for c, k, r in shapes],
        ["inp"] * len(shapes),
    )


EMBEDDING = embed.best(gemm(m=2, n=2, k=2), SMALL).embedding
TENSOR = gemm(m=2, n=2, k=2).inputs[0]


@st.composite
def offers(draw: st.DrawFn) -> Offers:
    """Operators that read any tensors before them, with made-up forms and prices; copies cost what a table says."""
    names = "abcd"
    prices = {pair: draw(st.integers(0, 9)) for pair in product(names, names)}
    forms = st.sampled_from(names).map(lambda name: Form(name, name, 1))
    count = draw(st.integers(1, 4))
    readers: dict[int | None, list[tuple[int, str]]] = {place: [] for place in (None, *range(count))}
    for place in range(count):
        sources: list[int | None] = [None, *range(place)]
        for number, source in enumerate(draw(st.lists(st.sampled_from(sources), min_size=1, max_size=2))):
            readers[source].append((place, f"in{number}"))
    flows = tuple(Flow(str(source), TENSOR, source, tuple(own)) for source, own in readers.items())
    steps = []
    for place in range(count):
        entries = [entry for own in readers.values() for reader, entry in own if reader == place]
        given = st.fixed_dictionaries(dict.fromkeys(entries, forms))
        option = st.builds(Option, given, forms, st.integers(0, 20), st.just(EMBEDDING))
        steps.append(draw(st.lists(option, min_size=1, max_size=4)))
    ends = {flow.name: draw(forms) for flow in flows}
    chain = Chain((EMBEDDING.operator,) * count, flows)
    return Offers(chain, steps, ends, lambda a, b: 0 if a.key == b.key else prices[a.name, b.name])


@settings(max_examples=80, deadline=None)
@given(offers())
def test_the_choice_is_the_best_of_all(found: Offers) -> None:
    first = [options[0] for options in found.options]
    left = hopeful(found, found.total(first))
    chosen = choose(left, first, Settings(), Deadline(10))
    assert chosen.proven
    assert found.total(chosen.options) == chosen.bound == min(map(found.total, product(*found.options)))


def test_nothing_that_could_be_best_is_left_out() -> None:
    """Every embedding of three small convolutions, by dynamic programming over all of them."""
    chain = convolutions((4, 8, 1), (8, 4, 3), (4, 8, 1), size=4)
    found = plan(chain, SMALL)
    first, last = chain.flows[0], chain.flows[-1]
    unpruned = packed_offers(chain, SMALL, {}, Settings(), Deadline(10))
    best: dict[Form, int] = {unpruned.ends[first.name]: 0}
    for operator in chain.operators:
        reached: dict[Form, int] = {}
        for option in every_option(operator, ["inp"]):
            for form, cycles in best.items():
                total = cycles + unpruned.repack(form, option.given["inp"]) + option.cycles
                reached[option.made] = min(total, reached.get(option.made, total))
        best = reached
    assert found.cycles == min(
        cycles + unpruned.repack(form, unpruned.ends[last.name]) for form, cycles in best.items()
    )
    assert found.status == "OPTIMAL"
    assert found.bound == found.cycles <= found.greedy


def every_option(operator: Operator, flowing: list[str], relax: str = "none") -> list[Option]:
    """The options of an operator alone, none left out."""
    settings = Settings(relax=relaxations(relax), time_limit=100)
    return list(options_of(flowing, SMALL, written(operator, SMALL, settings, True, Deadline(100)).ranked))


def grouped(groups: int, r: int, size: int = 4) -> Chain:
    """A convolution of 1x1, and one of `groups` with a filter of `r`."""
    deep = quantised(conv2d(c=8, h=size, w=size, k=8, r=r, s=r, pad=r // 2, groups=groups))
    return Chain.of([quantised(conv2d(c=8, h=size, w=size, k=8, r=1, s=1)), deep], ["inp", "inp"])


def test_rewritten_operators_against_all_pairs_of_embeddings() -> None:
    chain = grouped(4, 3)
    found = plan(chain, SMALL, settings=Settings(relax=EXACT))
    offers = packed_offers(chain, SMALL, {}, Settings(), Deadline(10))
    first, last = (cheapest(every_option(operator, ["inp"], ",".join(EXACT))) for operator in chain.operators)
    assert found.cycles == min(map(offers.total, product(first, last)))
    assert found.status == "OPTIMAL"
    assert found.cycles < plan(chain, SMALL).cycles


def residual(size: int = 4) -> Chain:
    """An identity shortcut around one convolution: x is read by the operator and by the sum after it."""
    inner = quantised(conv2d(c=8, h=size, w=size, k=8, r=1, s=1))
    outer = requantise(conv2d(c=8, h=size, w=size, k=8, r=1, s=1), shift=2, add=True)
    return Chain.graph({"inner": inner, "outer": outer}, {"inner": {"inp": "x"}, "outer": {"inp": "inner", "res": "x"}})


def test_branches_against_all_pairs_of_embeddings() -> None:
    chain = residual()
    found = plan(chain, SMALL)
    offers = packed_offers(chain, SMALL, {}, Settings(), Deadline(10))
    inner, outer = (cheapest(every_option(o, chain.read_by(n))) for n, o in enumerate(chain.operators))
    assert found.cycles == min(map(offers.total, product(inner, outer)))
    assert found.status == "OPTIMAL"


def test_a_plan_with_branches_runs() -> None:
    """The kernels of the plan one after the other, the shortcut included, against the reference."""
    chain = residual()
    inner, outer = (
        embed.compile(operator, SMALL, option.embedding)
        for operator, option in zip(chain.operators, plan(chain, SMALL).options, strict=True)
    )
    rng = np.random.default_rng(0)
    x = rng.integers(-128, 128, (1, 8, 4, 4), np.int8)
    first, last = (rng.integers(-128, 128, (8, 8, 1, 1), np.int8) for _ in range(2))
    found = outer(inp=inner(x, first), wgt=last, res=x)
    between = evaluate(chain.operators[0], {"inp": x, "wgt": first})
    assert np.array_equal(found, evaluate(chain.operators[1], {"inp": between, "wgt": last, "res": x}))


def test_two_readers_of_one_form_share_a_copy() -> None:
    twin = quantised(conv2d(c=8, h=4, w=4, k=8, r=1, s=1))
    chain = Chain.graph({"a": twin, "b": twin}, {"a": {"inp": "x"}, "b": {"inp": "x"}})
    found = plan(chain, SMALL)
    assert sum(copy.flow.name == "x" for copy in found.copies) <= 1
    assert found.cycles < 2 * plan(Chain.of([twin]), SMALL).cycles


def test_pinned_ends() -> None:
    """A chain whose ends lie as its operators want them packs nothing."""
    chain = convolutions((4, 4, 1), (4, 4, 1), size=4)
    ends = {flow.name: "NCHW4c" for flow in (chain.flows[0], chain.flows[-1])}
    assert plan(chain, SMALL, layouts=ends).copies == ()
    assert plan(chain, SMALL).copies


def test_greedy_loses() -> None:
    found = plan(convolutions((8, 8, 1), (8, 8, 3), (8, 16, 1)), SMALL)
    assert found.cycles < found.greedy


@pytest.mark.parametrize("example", ["bottleneck", "residual"])
def test_blocks_of_resnet_50(example: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    written = (EXAMPLES / f"{example}.toml").read_text()
    for name, text in (("vta", written), ("avx512", floats(written))):
        file, out = tmp_path / f"{name}.toml", tmp_path / f"{name}.json"
        file.write_text(text)
        assert run(app, ["chain", str(file), "--isa", name, "--json", str(out), "--time-limit", "100"]) == 0
        assert "OPTIMAL" in capsys.readouterr().out
        found = json.loads(out.read_text())
        repacks = sum(repack["cycles"] for repack in found["repacks"])
        assert found["bound"] == found["total"] == sum(found["cycles"]) + repacks <= found["greedy"]
        assert name != "vta" or found["total"] < found["greedy"]


def test_a_block_of_mobilenet(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Rewriting the depthwise convolution pays for itself, copies included."""
    totals = []
    for relax in ("none", "all"):
        out = tmp_path / f"{relax}.json"
        asked = ["chain", str(EXAMPLES / "mobilenet.toml"), "--relax", relax, "--json", str(out), "--time-limit", "100"]
        assert run(app, asked) == 0
        assert "OPTIMAL" in capsys.readouterr().out
        found = json.loads(out.read_text())
        assert any(found["relaxations"]) == (relax == "all")
        totals.append(found["total"])
    assert totals[1] < totals[0]


@pytest.mark.parametrize(
    ("isa_name", "relax", "said"),
    [
        ("vta", "sums", "--relax sums: in a chain each operator writes whole sums; name other relaxations"),
        ("avx512_vnni", "split", "--relax: kernels for avx512_vnni compute the operator as it is"),
    ],
)
def test_relaxations_that_no_chain_takes(
    isa_name: str, relax: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(app, ["chain", str(EXAMPLES / "bottleneck.toml"), "--isa", isa_name, "--relax", relax]) == 2
    assert said in capsys.readouterr().err


def floats(text: str) -> str:
    return re.sub(r"shift=8,?", "", text).replace('epilogue = ""\n', "").replace("conv2d", "conv2d dtype=f32")


@pytest.mark.parametrize(
    ("chain", "relax"),
    [(convolutions((8, 8, 1), (8, 8, 3), (8, 16, 1)), ()), (grouped(4, 3, size=7), EXACT), (grouped(8, 1), EXACT)],
)
def test_without_a_repack_the_bytes_are_the_same(chain: Chain, relax: tuple[str, ...]) -> None:
    """What one kernel writes is what the next one reads, byte for byte, wherever the plan repacks nothing."""
    found = plan(chain, SMALL, settings=Settings(relax=relax))
    assert any(option.embedding.relaxed for option in found.options) == bool(relax)
    rng = np.random.default_rng(0)
    flowing = rng.integers(-128, 128, chain.flows[0].tensor.shape, np.int8)
    same, before = 0, None
    copied = {copy.flow.readers[0][0] for copy in found.copies if copy.flow.readers}
    for place, (operator, option) in enumerate(zip(chain.operators, found.options, strict=True)):
        kernel = embed.compile(operator, SMALL, option.embedding)
        assert isinstance(kernel, VtaKernel)
        weights = rng.integers(-128, 128, operator.inputs[1].shape, np.int8)
        program = kernel.bind({"inp": flowing, "wgt": weights})
        if before is not None and place not in copied:
            assert np.array_equal(program.segment("inp").data, before)
            same += 1
        before = next(iter(simulate(program, kernel.machine).outputs.values()))
        flowing = kernel.unpack(before)
        assert np.array_equal(flowing, evaluate(operator, {"inp": rng_free(program, kernel), "wgt": weights}))
    assert same


def rng_free(program: object, kernel: VtaKernel) -> np.ndarray:
    """The user's input back from the packed one."""
    layout = kernel.nest.layouts["inp"]
    return layout.unpack(program.segment("inp").data.view(np.int8))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("operators", "flows", "said"),
    [
        ([], None, "at least one operator"),
        ([conv2d(c=3, h=4, w=4, k=4, r=1, s=1)], ["image"], "has no input 'image'; it has: inp, wgt"),
        (
            [quantised(conv2d(c=3, h=4, w=4, k=4, r=1, s=1)), conv2d(c=5, h=4, w=4, k=4, r=1, s=1)],
            ["inp", "inp"],
            "operator 1 writes i8[1, 4, 4, 4], but operator 2 reads i8[1, 5, 4, 4] as 'inp'",
        ),
    ],
)
def test_chains_that_break(operators: list[Operator], flows: list[str] | None, said: str) -> None:
    with pytest.raises(UserError) as raised:
        Chain.of(operators, flows)
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("op = 1", "write one [[operator]]"),
        ("[[operator]", "is not TOML"),
        ('[[operator]]\nopp = "gemm"', "operator 1: there is no key 'opp'; there are: name, op"),
        ("[[operator]]\nop = 3", "operator 1: op is text in quotes, not 3"),
        ('[[operator]]\nop = "gemm m=2"', "operator 1: gemm needs n, k"),
        ('[[operator]]\nop = "gemm m=2 n=2 k=2"\nreads = "a"', "operator 1: reads is a table of inputs"),
        ('[[operator]]\nop = "gemm m=2 n=2 k=2"\nreads = { c = "x" }', "has no input 'c'; it has: a, b"),
        (2 * '[[operator]]\nname = "p"\nop = "gemm m=2 n=2 k=2"\n', "operator 2: there is a p already"),
        (
            '[[operator]]\nop = "gemm m=2 n=2 k=2"\nreads = { a = "1" }',
            "operator 1 reads 1, which does not come before it",
        ),
    ],
)
def test_files_that_are_wrong(text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "chain.toml"
    file.write_text(text)
    assert run(app, ["chain", str(file)]) == 2
    assert said in capsys.readouterr().err


def test_embeddings_differ_from_those_alone() -> None:
    """The joint choice is not each operator's best: that is what greedy misses."""
    chain = convolutions((8, 8, 1), (8, 8, 3), (8, 16, 1))
    alone: list[Embedding] = [embed.best(operator, SMALL).embedding for operator in chain.operators]
    assert [option.embedding for option in plan(chain, SMALL).options] != alone
