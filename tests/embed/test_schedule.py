"""The solver's schedule against every schedule of the same model, priced one by one, and against the simulator."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import product
from math import prod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dataflow
import embed
import isa
from dataflow import Operator, conv2d, gemm, requantise
from embed import serial
from embed.nest.floor import Floor
from embed.nest.price import MOST_PIECES, fits, price, schedule, tile_words
from embed.nest.task import Choice, Room, Task
from embed.nest.tilings import Tilings
from embed.solver.schedule import plan
from embed.vta.executable import compile_vta, task_of

LITTLE = isa.load("vta", {"block_in": 4, "block_out": 4, "inp_bytes": 256, "wgt_bytes": 512, "acc_bytes": 512})
"""VTA 1x4x4 with 64 inp, 32 wgt and 32 acc words."""

VTA = isa.load("vta")


def every(task: Task) -> Iterator[Choice]:
    """Every choice of the model, whether or not it fits."""
    room = task.room
    pieces = range(1, 1 + (MOST_PIECES if room.passes > 1 and room.result_buffers > 1 else 1))
    wholes = [tuple(n for n, taken in zip(room.shared, some, strict=True) if taken)
              for some in product((False, True), repeat=len(room.shared))]  # fmt: skip
    for order, sizes in product(task.orders, product(*task.options.values())):
        tiles = dict(zip(task.options, sizes, strict=True))
        for depths in product(range(len(order) + 1), repeat=len(task.inputs)):
            kept = dict(zip(task.inputs, depths, strict=True))
            for double, buffers, whole, count in product(
                (True, False), range(1, room.result_buffers + 1), wholes, pieces
            ):
                yield Choice(tiles, order, kept, double, buffers, whole, count)


SMALL = [
    requantise(gemm(m=2, n=8, k=8)),
    requantise(gemm(m=1, n=12, k=4), bias=True),
    gemm(m=3, n=8, k=8),
    requantise(conv2d(c=4, h=3, w=1, k=4, r=2, s=1)),
    requantise(conv2d(c=8, h=3, w=1, k=4, r=3, s=1, pad=(1, 0))),
]


@pytest.mark.parametrize("operator", SMALL, ids=lambda operator: operator.title)
def test_no_schedule_is_cheaper(operator: Operator) -> None:
    task = task_of(embed.best(operator, LITTLE).embedding, LITTLE)
    found = plan(task)
    assert found.proven
    assert fits(task, found.choice)
    assert price(task, found.choice) == found.cycles == min(price(task, c) for c in every(task) if fits(task, c))


@pytest.mark.parametrize(("operator", "share"), [(SMALL[0], 3), (SMALL[1], 1), (SMALL[2], 2), (SMALL[3], 3)])
def test_no_schedule_is_below_the_floor(operator: Operator, share: int) -> None:
    task = task_of(embed.best(operator, LITTLE).embedding, LITTLE)
    task = replace(task, room=replace(task.room, words={name: n // share for name, n in task.room.words.items()}))
    floor = Floor(task)
    for order in task.orders:
        least = min(price(task, choice) for choice in every(task) if choice.order == order and fits(task, choice))
        assert 0.8 * least < floor.least(order) <= least


LARGER = {
    "padded": requantise(conv2d(n=2, c=64, h=14, w=28, k=128, r=3, s=3, pad=1), bias=True),
    "strided": requantise(conv2d(n=4, c=48, h=15, w=15, k=96, r=3, s=3, stride=2), bias=True),
}


@cache
def larger(name: str) -> Task:
    return task_of(embed.best(LARGER[name], VTA).embedding, VTA)


@settings(max_examples=150, deadline=None)
@given(st.data(), st.sampled_from(list(LARGER)))
def test_no_schedule_of_a_layer_is_below_the_floor(data: st.DataObject, name: str) -> None:
    task = larger(name)
    room = {tensor: data.draw(st.integers(words // 8, words)) for tensor, words in task.room.words.items()}
    task = replace(task, room=replace(task.room, words=room, store_burst=data.draw(st.integers(0, 9))))
    order = data.draw(st.sampled_from(task.orders))
    tiles = {loop: data.draw(st.sampled_from(sizes)) for loop, sizes in task.options.items()}
    kept = {tensor: data.draw(st.integers(0, len(order))) for tensor in task.inputs}
    whole = tuple(tensor for tensor in task.room.shared if data.draw(st.booleans()))
    pieces, buffers = data.draw(st.integers(1, MOST_PIECES)), data.draw(st.integers(1, task.room.result_buffers))
    choice = Choice(tiles, order, kept, data.draw(st.booleans()), buffers, whole, pieces)
    if fits(task, choice):
        assert Floor(task).least(order) <= price(task, choice)


@pytest.mark.parametrize("name", LARGER)
def test_all_tile_sizes_at_once_are_what_each_is(name: str) -> None:
    task = larger(name)
    found = Tilings.fitting(task)
    assert found is not None
    for number in range(0, found.number, max(1, found.number // 200)):
        tiles = {loop: task.options[loop][place[number]] for loop, place in found.places.items()}
        for tensor in task.layouts:
            assert found.words[tensor][number] == tile_words(task, tensor, tiles)
        for tensor in task.inputs:
            axes = task.layouts[tensor].axes
            assert found.parts[tensor][number] == task.parts(tensor, tiles)
            assert found.reads[tensor][number] == prod(task.reads(axis, tiles) for axis in axes)
    every_tile = (dict(zip(task.options, sizes, strict=True)) for sizes in product(*task.options.values()))
    alone = (Choice(tiles, task.orders[0], dict.fromkeys(task.inputs, 9), False, 1, (), 1) for tiles in every_tile)
    assert found.number == sum(fits(task, choice) for choice in alone)


def test_the_same_input_gives_the_same_schedule() -> None:
    operator = requantise(conv2d(c=64, h=28, w=28, k=64, r=3, s=3, pad=1), bias=True)
    first, second = (embed.compile(operator, VTA) for _ in range(2))
    assert first.schedule == second.schedule
    assert serial.schedule_from_json(serial.schedule_to_json(first.schedule)) == first.schedule


LAYERS = [
    requantise(conv2d(c=256, h=14, w=14, k=512, r=1, s=1, stride=2), bias_last=True, relu=True),
    requantise(conv2d(c=64, h=28, w=28, k=64, r=3, s=3, pad=1)),
    requantise(gemm(m=64, n=1024, k=1024)),
    requantise(gemm(m=1, n=1760, k=1760)),
    requantise(dataflow.conv2d(c=3, h=64, w=64, k=64, r=7, s=7, stride=2, pad=3)),
]


@pytest.mark.parametrize("operator", LAYERS, ids=lambda operator: operator.title)
def test_the_model_predicts_the_simulator(operator: Operator) -> None:
    solution = embed.best(operator, VTA)
    kernel = compile_vta(solution.embedding, VTA)
    cycles = kernel.timing().cycles
    assert kernel.schedule.cycles == pytest.approx(cycles, rel=0.05)
    assert cycles <= 1.1 * solution.costs.bound


def test_resident_tiles_are_loaded_once() -> None:
    """All of a 7 x 7 x 256 input stays while weights stream past: 784 words of 16 bytes."""
    kernel = embed.compile(LAYERS[0], VTA)
    assert kernel.timing().bytes["inp"] == 784 * 16
    assert kernel.timing().bytes["wgt"] == 256 * 512


def test_cycles_by_hand() -> None:
    """A product of 4 x 16 by 16 x 32: n is cut in two, the input stays; every number by hand.

    Loads: 4 words of 2 beats and 23 of start, then a weight tile of 1 word (32 beats, 23). Compute: 8 GEMMs, 8 results
    of 4 cycles, a start of 7 for 2 steps and 2 x 4 passes. The last 4 words are stored in 3 cycles each, in one burst.
    """
    operator = requantise(gemm(m=4, n=32, k=16))
    task = task_of(embed.best(operator, VTA).embedding, VTA)
    room = task.room
    assert (room.load_start, room.pass_start, room.passes) == (23, 7, 4)
    loops = {loop.name: loop.extent for loop in task.embedding.loops}
    cut = max(loops, key=lambda name: loops[name] == 2)
    assert loops[cut] == 2
    tiles = {**loops, cut: 1}
    order = next(order for order in task.orders)
    choice = Choice(tiles, order, dict.fromkeys(task.inputs, 0), True, 2, (), 1)
    compute = 8 + 8 * 4 + 7 * (2 + 2 * 4)
    streamed = 23 + 32
    step = 4 + 7 + 4 * 4 + 4 * 7  # every step ends an output tile
    begun = 23 + 8 + streamed
    stalls = 1 * max(0, begun - step) + 1 * max(0, streamed - step)
    assert price(task, choice) == room.launch + begun + compute + stalls + 3 * 4 + 3
    assert schedule(task, choice, 0).cycles == price(task, choice)
    assert isinstance(room, Room)
