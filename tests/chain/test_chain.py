"""Chains: the joint choice against brute force, greedy that loses, forms that really are the same, and the command."""

import json
import time
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import embed
import isa
from dataflow import Operator, UserError, conv2d, evaluate, gemm, requantise
from embed.chain import Chain, Form, Offers, Option, plan
from embed.chain.packed import packed_offers
from embed.cli.app import app, run
from embed.embedding import Embedding
from embed.solver.chain import choose
from embed.vta.executable import VtaKernel
from embed.vta.simulator import simulate

ROOT = Path(__file__).parent.parent.parent
SMALL = isa.load("vta", {"block_in": 4, "block_out": 4, "inp_bytes": 8192, "wgt_bytes": 16384, "acc_bytes": 32768})
BOTTLENECK = ROOT / "docs" / "examples" / "bottleneck.toml"


def quantised(operator: Operator) -> Operator:
    return requantise(operator, shift=2, relu=True)


def convolutions(*shapes: tuple[int, int, int], size: int = 6) -> Chain:
    """Convolutions of (input channels, output channels, filter) over an image of `size`."""
    return Chain.of(
        [quantised(conv2d(c=c, h=size, w=size, k=k, r=r, s=r, pad=r // 2)) for c, k, r in shapes],
        ["inp"] * len(shapes),
    )


EMBEDDING = embed.best(gemm(m=2, n=2, k=2), SMALL).embedding


@st.composite
def offers(draw: st.DrawFn) -> Offers:
    """Options with made-up forms and prices; repacks cost what a random table says."""
    names = "abcd"
    prices = {pair: draw(st.integers(0, 9)) for pair in product(names, names)}
    forms = st.sampled_from(names).map(lambda name: Form(name, name, 1))
    option = st.builds(Option, forms, forms, st.integers(0, 20), st.just(EMBEDDING))
    steps = draw(st.lists(st.lists(option, min_size=1, max_size=5), min_size=1, max_size=4))
    ends = draw(forms), draw(forms)
    return Offers(steps, ends, lambda a, b: 0 if a.key == b.key else prices[a.name, b.name], True)


@settings(max_examples=80, deadline=None)
@given(offers())
def test_the_choice_is_the_best_of_all(found: Offers) -> None:
    places, proven = choose(found, time.perf_counter() + 10)
    taken = [options[place] for options, place in zip(found.options, places, strict=True)]
    assert proven
    assert found.total(taken) == min(map(found.total, product(*found.options)))


def test_nothing_that_could_be_best_is_left_out() -> None:
    """Every embedding of three small convolutions, by dynamic programming over all of them."""
    chain = convolutions((4, 8, 1), (8, 4, 3), (4, 8, 1), size=4)
    found = plan(chain, SMALL)
    unpruned = packed_offers(chain, SMALL, None, time.perf_counter() + 10)
    best: dict[Form, int] = {unpruned.ends[0]: 0}
    for operator, flow in zip(chain.operators, chain.flows, strict=True):
        reached: dict[Form, int] = {}
        for option in every_option(operator, flow):
            for form, cycles in best.items():
                total = cycles + unpruned.repack(form, option.given) + option.cycles
                reached[option.made] = min(total, reached.get(option.made, total))
        best = reached
    assert found.cycles == min(cycles + unpruned.repack(form, unpruned.ends[1]) for form, cycles in best.items())
    assert found.status == "OPTIMAL"
    assert found.cycles <= found.greedy


def every_option(operator: Operator, flow: str) -> list[Option]:
    """The options of an operator alone, none left out: of a chain of which nothing else costs anything."""
    from embed.chain.packed import options_of

    listed = embed.alternatives(operator, SMALL, dominated=True)
    return list(options_of(operator, flow, listed.ranked))


def test_greedy_loses() -> None:
    found = plan(convolutions((8, 8, 1), (8, 8, 3), (8, 16, 1)), SMALL)
    assert found.cycles < found.greedy


def test_the_bottleneck_of_resnet_50(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for name, text in (("vta", BOTTLENECK.read_text()), ("avx512", floats(BOTTLENECK.read_text()))):
        file, out = tmp_path / f"{name}.toml", tmp_path / f"{name}.json"
        file.write_text(text)
        assert run(app, ["chain", str(file), "--isa", name, "--json", str(out)]) == 0
        assert "OPTIMAL" in capsys.readouterr().out
        found = json.loads(out.read_text())
        assert found["total"] == sum(found["cycles"]) + sum(found["repacks"]) <= found["greedy"]


def floats(text: str) -> str:
    kept = [line for line in text.splitlines() if not line.startswith("epilogue")]
    return "\n".join(kept).replace("conv2d", "conv2d dtype=f32")


def test_without_a_repack_the_bytes_are_the_same() -> None:
    """What one kernel writes is what the next one reads, byte for byte, wherever the plan repacks nothing."""
    chain = convolutions((8, 8, 1), (8, 8, 3), (8, 16, 1))
    found = plan(chain, SMALL)
    rng = np.random.default_rng(0)
    flowing = rng.integers(-128, 128, chain.enters.shape, np.int8)
    same, before = 0, None
    for operator, option, cost in zip(chain.operators, found.options, found.repacks, strict=False):
        kernel = embed.compile(operator, SMALL, option.embedding)
        assert isinstance(kernel, VtaKernel)
        weights = rng.integers(-128, 128, operator.inputs[1].shape, np.int8)
        program = kernel.bind({"inp": flowing, "wgt": weights})
        if before is not None and not cost:
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
