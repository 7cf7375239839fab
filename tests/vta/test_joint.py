"""Embedding and schedule together: no other embedding has a better schedule, and what fits nowhere is passed over."""

import os
import subprocess
import sys
from collections.abc import Hashable

import numpy as np
import pytest

import embed
import isa
from dataflow import Operator, conv2d, evaluate, gemm, requantise
from embed.costs import evaluate as price_of
from embed.embedding import Embedding
from embed.errors import NoEmbedding
from embed.relax.steps import EXACT
from embed.solver.bound import least
from embed.solver.deadline import Deadline
from embed.solver.model import Placements
from embed.solver.questions import every
from embed.solver.settings import Settings
from embed.vta.checker import check
from embed.vta.executable import compile_vta, scheduled, task_of
from embed.vta.joint import choose
from embed.vta.refine import neighbours, reading, refined
from tests.operators import inputs

LITTLE = isa.load("vta", {"block_in": 4, "block_out": 4, "inp_bytes": 256, "wgt_bytes": 512, "acc_bytes": 1024})
"""VTA 1x4x4 with 64 inp, 32 wgt and 64 acc words."""

VTA = isa.load("vta")


@pytest.mark.parametrize(
    "operator",
    [
        requantise(conv2d(c=3, h=7, w=7, k=6, r=3, s=3, pad=1)),
        requantise(conv2d(c=1, h=12, w=12, k=8, r=5, s=5, stride=2)),
        requantise(gemm(m=9, n=5, k=30), bias=True),
    ],
    ids=lambda operator: operator.title,
)
def test_no_embedding_has_a_better_schedule(operator: Operator) -> None:
    solution, taken = choose(operator, LITTLE, Settings())
    assert embed.compile(operator, LITTLE, solution.embedding).schedule == taken
    schedule = scheduled(solution.embedding, LITTLE)
    others = embed.alternatives(operator, LITTLE)
    assert others.complete
    best = schedule.cycles
    for place in range(len(others)):
        if others[place].costs.cycles < best:
            try:
                best = min(best, scheduled(others[place].embedding, LITTLE).cycles)
            except NoEmbedding:
                continue
    assert schedule.cycles <= best * 1.02


@pytest.mark.parametrize(
    "operator",
    [
        requantise(conv2d(c=3, h=7, w=7, k=6, r=3, s=3, pad=1)),
        requantise(conv2d(c=20, h=6, w=5, k=24, r=1, s=1), bias=True),
        gemm(m=9, n=20, k=30),
    ],
    ids=lambda operator: operator.title,
)
def test_refined_programs_are_no_slower_and_right(operator: Operator) -> None:
    """Steps from the solver's schedule in the simulator; the checker and the reference see what they lead to."""
    embedding = embed.best(operator, LITTLE).embedding
    first = scheduled(embedding, LITTLE)
    last = refined(embedding, LITTLE, first, bound=0)
    kernels = [compile_vta(embedding, LITTLE, schedule) for schedule in (first, last)]
    cycles = [kernel.timing().cycles for kernel in kernels]
    assert cycles[1] <= cycles[0]
    assert (cycles[1] < cycles[0]) == (first != last)
    arrays = inputs(operator)
    assert check(kernels[1].bind(arrays), kernels[1].machine) == []
    np.testing.assert_array_equal(kernels[1](**arrays), evaluate(operator, arrays))
    assert refined(embedding, LITTLE, first, bound=cycles[0]) == first
    task = task_of(embedding, LITTLE)
    around = {str(one): one for near in neighbours(task, first) for one in (near, *neighbours(task, near))}
    for schedule in list(around.values())[:40]:
        kernel = compile_vta(embedding, LITTLE, schedule)
        timing = kernel.timing()
        loaded = sum(timing.bytes[kernel.plan.places[tensor].memory] for tensor in task.inputs)
        assert reading(task, schedule) <= loaded // task.rates.bus <= timing.cycles


@pytest.mark.parametrize(
    "operator",
    [
        requantise(conv2d(c=3, h=5, w=5, k=4, r=3, s=3, pad=1), bias=True),
        requantise(conv2d(c=1, h=6, w=7, k=3, r=3, s=2, stride=2)),
    ],
    ids=lambda operator: operator.title,
)
def test_tasks_of_one_form_take_the_same_cycles(operator: Operator) -> None:
    """Those that are one to the contest, each scheduled on its own."""
    forms: dict[Hashable, list[Embedding]] = {}
    for embedding, _ in embed.alternatives(operator, LITTLE, dominated=True).ranked:
        forms.setdefault(task_of(embedding, LITTLE).form, []).append(embedding)
    several = [alike for alike in forms.values() if len(alike) > 1]
    assert len(several) > 1
    for alike in several[:3]:
        assert len({scheduled(embedding, LITTLE).cycles for embedding in alike[:3]}) == 1


def test_a_rewriting_is_proven_best() -> None:
    """No placement of any rewriting that may win has a schedule of 2 % fewer cycles, each scheduled on its own."""
    operator = requantise(conv2d(c=64, h=14, w=14, k=64, r=3, s=3, groups=16, pad=1))
    solution, _ = choose(operator, VTA, Settings())
    best = scheduled(solution.embedding, VTA).cycles
    assert solution.embedding.relaxed
    assert (solution.status, solution.note) == ("OPTIMAL", "")
    tried = 0
    asked = every(operator, VTA, Settings(relax=EXACT))
    for problem in (problem for problem in asked if least(problem, "cycles") * 1.02 < best):
        for embedding in Placements(problem).stream(Settings(), Deadline(10), maximal=False):
            if price_of(embedding, problem.rates).cycles * 1.02 < best:
                tried += 1
                with pytest.raises(NoEmbedding):
                    scheduled(embedding, VTA, below=int(best / 1.02))
    assert tried > 3


def test_an_embedding_without_room_is_passed_over() -> None:
    """All of a 5 x 5 filter at once is more than 8 words of weights: another embedding takes its place, or none is."""
    narrow = isa.load("vta", {"block_in": 4, "block_out": 4, "inp_bytes": 256, "wgt_bytes": 128, "acc_bytes": 1024})
    operator = requantise(conv2d(c=1, h=8, w=8, k=4, r=5, s=5, pad=2))
    with pytest.raises(NoEmbedding, match="fits the scratchpads"):
        scheduled(embed.best(operator, narrow, objective="bytes", relax="none").embedding, narrow)
    _, schedule = choose(operator, narrow, Settings("bytes", relax=()))
    assert schedule.cycles > 0


def test_other_objectives_keep_their_embedding() -> None:
    operator = requantise(conv2d(c=3, h=7, w=7, k=6, r=3, s=3, pad=1))
    solution, _ = choose(operator, LITTLE, Settings("invocations"))
    assert solution.embedding == embed.best(operator, LITTLE, objective="invocations").embedding


SAME_BYTES = """
import hashlib
import dataflow, embed, isa
from embed.solver.schedule.model import Model
from embed.vta.executable import task_of
operator = dataflow.requantise(dataflow.conv2d(c=3, h=8, w=9, k=12, r=3, s=3, stride=2), bias=True)
kernel = embed.compile(operator, isa.load("vta", {"block_in": 4, "block_out": 4, "acc_bytes": 1024}))
digest = hashlib.sha256(b"".join(map(kernel.target.encode, kernel.code.instructions)))
digest.update(kernel.code.segment("uops").data.tobytes())
task = task_of(kernel.embedding, kernel.target)
for order in task.orders:
    digest.update(str(Model(task, order).model.proto).encode())
print(kernel.schedule, digest.hexdigest())
"""


def test_the_same_input_gives_the_same_bytes_in_every_process() -> None:
    """Two processes whose sets and dicts of names are ordered differently."""
    said = []
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", SAME_BYTES]
        said.append(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    assert said[0] == said[1]
    assert "buffers=" in said[0]
