"""The suite of grouped convolutions: its layers are the papers', and what relaxations gain is simulated and checked."""

from collections import Counter

import numpy as np
import pytest
from rich.console import Console

import isa
from dataflow import conv2d, evaluate, requantise
from deepbench.abstract.reduced import reduced
from deepbench.abstract.run import run_abstract
from deepbench.abstract.typed import Typed
from deepbench.problems import Problem, select
from deepbench.report import problem_table
from deepbench.suite import Settings, Task
from deepbench.vta.run import run_one
from embed.checker import verify
from embed.cli.data import random_arrays
from embed.solver.search import best
from embed.solver.settings import Settings as SearchSettings
from embed.vta.executable import compile_vta

LAYERS = select(suites=["grouped"])
VTA = isa.load("vta")


def layer(**wanted: object) -> Problem:
    return next(problem for problem in LAYERS if wanted.items() <= dict(problem.sizes).items())


def test_the_layers_are_those_of_the_papers() -> None:
    """MobileNet: 9 multiply-accumulates an output element; ResNeXt-50: 9 times the channels of a group."""
    depthwise = [problem for problem in LAYERS if dict(problem.sizes)["groups"] == dict(problem.sizes)["c"]]
    assert len(depthwise) == 9
    for problem in LAYERS:
        sizes = dict(problem.sizes)
        outputs = problem.operator().output.size
        assert problem.macs == 9 * outputs * int(str(sizes["c"])) // int(str(sizes["groups"]))
    assert Counter(dict(problem.sizes)["groups"] for problem in LAYERS if problem not in depthwise) == {
        32: 7,
        2: 4,
        4: 4,
    }
    assert {problem.operator().output.shape[2] for problem in LAYERS} == {112, 56, 28, 14, 7}


def test_a_depthwise_layer_runs_bit_for_bit_in_a_third_of_the_cycles() -> None:
    problem = layer(c=1024, groups=1024)
    record = run_one(Task(problem, Settings("vta")))
    assert record.checked
    assert record.executed == "full"
    assert record.relaxation
    assert record.cycles is not None
    assert record.plain_cycles is not None
    assert record.plain_cycles > 3 * record.cycles
    console = Console(width=320)
    with console.capture() as captured:
        console.print(problem_table(problem.group, [(problem, record)]))
    assert f"{record.plain_cycles:,}" in captured.get()
    assert "plain util" in captured.get()


@pytest.mark.parametrize("groups", [2, 4, 32])
def test_grouped_layers_run_bit_for_bit(groups: int) -> None:
    """The channels of the papers on a smaller picture."""
    c = {2: 80, 4: 96, 32: 128}[groups]
    operator = requantise(conv2d(c=c, h=5, w=6, k=c, r=3, s=3, stride=(1, 2), pad=1, groups=groups))
    arrays = random_arrays(operator, groups)
    kernel = compile_vta(best(operator, VTA, SearchSettings()).embedding, VTA)
    assert np.array_equal(kernel(**arrays), evaluate(operator, arrays))


def test_without_relaxations_none_is_taken() -> None:
    record = run_one(Task(layer(c=512, stride=(2, 2)), Settings("vta", relax=())))
    assert record.checked
    assert (record.relaxation, record.plain_cycles) == ("", None)


@pytest.mark.parametrize("problem", [layer(c=64), layer(c=256, groups=32)], ids=lambda problem: problem.name)
def test_a_reduced_problem_is_rewritten_alike(problem: Problem) -> None:
    typed = Typed.of(isa.load("gemmini"))
    found = best(typed.operator(problem), typed.target, SearchSettings()).embedding
    again = found.on(typed.operator(reduced(problem, found)))
    verify(again)
    assert again.invocations < found.invocations


def test_a_file_alone_runs_them() -> None:
    assert run_abstract(Task(layer(c=256, groups=32), Settings("gemmini"))).checked
