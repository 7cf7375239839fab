"""Leaps of the timed simulator against going through every event, and the bus against one cycle at a time."""

from dataclasses import fields, replace
from itertools import count, islice

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from vta_machine import CORES, DE10, MACHINE, base, instruction, program, with_fields

from embed.vta.simulator import SimulationError, TimingModel, TimingReport, time_program
from embed.vta.simulator.bus import CLIENTS, Bus
from embed.vta.simulator.clockwork import Clockwork
from embed.vta.simulator.costs import Traffic
from isa.machine import MachineInstruction

FINISH = instruction("finish")
Stream = list[MachineInstruction]


def outcome(stream: Stream, core: TimingModel, leaps: bool) -> TimingReport | str:
    try:
        return time_program(program(stream, []), MACHINE, core, leaps=leaps)
    except SimulationError as error:
        return str(error)


def assert_same(stream: Stream, core: TimingModel) -> None:
    """Leaps change nothing: every number of the report, or the same error."""
    plain, leaping = outcome(stream, core, False), outcome(stream, core, True)
    if isinstance(plain, str) or isinstance(leaping, str):
        assert plain == leaping
        return
    for field in fields(TimingReport):
        np.testing.assert_equal(getattr(leaping, field.name), getattr(plain, field.name), field.name)


LOADS = st.tuples(
    st.sampled_from(["inp", "wgt"]), st.integers(1, 40), st.integers(1, 3), st.integers(0, 3), st.integers(0, 9)
)
KERNELS = st.tuples(st.sampled_from(["gemm", "gemm_reset", "alu_add_imm", "alu_max_reg"]), st.integers(1, 200))
TILES = st.fixed_dictionaries(
    {
        "loads": st.lists(LOADS, min_size=1, max_size=3),
        "kernels": st.lists(KERNELS, min_size=1, max_size=3),
        "store": st.integers(0, 12),
        "waits": st.booleans(),
        "own": st.booleans(),
    }
)


def tile(shape: dict, number: int, buffers: int) -> Stream:  # type: ignore[type-arg]
    """Loads, kernels and perhaps a store, with tokens in all directions; addresses move on from tile to tile."""
    loads = [
        instruction(
            f"load_{memory}",
            dram_base=base(memory, number * step),
            x_size=columns,
            y_size=rows,
            x_stride=columns,
            y_pad_0=pad,
        )
        for memory, columns, rows, pad, step in shape["loads"]
    ]
    kernels = [instruction(name, uop_end=1, iter_out=size, iter_in=1) for name, size in shape["kernels"]]
    kernels += [instruction("load_acc", x_size=3, y_size=1)] if shape["own"] else []
    loads[-1] = with_fields(loads[-1], push_next=1)
    loads[0] = with_fields(loads[0], pop_next=int(number >= buffers))
    kernels[0] = with_fields(kernels[0], pop_prev=1)
    kernels[-1] = with_fields(kernels[-1], push_prev=1, push_next=int(shape["store"] > 0))
    if not shape["store"]:
        return [*loads, *kernels]
    place = {"dram_base": base("out", number * shape["store"]), "x_size": shape["store"], "y_size": 1}
    stores = [instruction("store", pop_prev=1, push_prev=int(shape["waits"]), **place)]
    waits = [instruction("alu_add_imm", pop_next=1, uop_end=1, iter_out=9, iter_in=1)] if shape["waits"] else []
    return [*loads, *kernels, *stores, *waits]


def ended(stream: Stream) -> Stream:
    """The stream, and a FINISH that waits for a last store."""
    last = instruction("gemm", push_next=1, uop_end=1, iter_out=1, iter_in=1)
    store = instruction("store", pop_prev=1, push_prev=1, x_size=1, y_size=1)
    return [*stream, last, store, with_fields(FINISH, pop_next=1)]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(TILES, st.integers(1, 40)), min_size=1, max_size=3),
    st.integers(1, 12),
    st.integers(1, 3),
    st.sampled_from(sorted(CORES)),
    st.integers(4, 512),
)
def test_leaps_change_no_number(body: list, repeats: int, buffers: int, core: str, queue: int) -> None:  # type: ignore[type-arg]
    """Nests of tiles, each again and again, all of them again: as without leaps, errors included."""
    numbers = count()
    stream = [
        each
        for _ in range(repeats)
        for shape, times in body
        for number in islice(numbers, times)
        for each in tile(shape, number, buffers)
    ]
    assert_same(ended(stream), replace(CORES[core], queue_entries=queue))


def steps_of(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> int:
    """Events that the simulator goes through."""
    found = 0
    plain = Clockwork.step

    def step(clock: Clockwork) -> None:
        nonlocal found
        found += 1
        plain(clock)

    with monkeypatch.context() as patched:
        patched.setattr(Clockwork, "step", step)
        time_program(program(stream, []), MACHINE, DE10)
    return found


def test_a_long_program_takes_no_longer_than_what_it_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of tiles whose loads move on in memory, 300 rows against 30."""
    inner = {"loads": [("inp", 30, 2, 1, 5)], "kernels": [("gemm", 70)], "store": 0, "waits": False, "own": False}
    ending = {**inner, "loads": [("wgt", 4, 1, 0, 0)], "kernels": [("alu_max_reg", 50)], "store": 40}

    def rows(count: int) -> Stream:
        shapes = [*[inner] * 48, ending] * count
        return ended([each for number, shape in enumerate(shapes) for each in tile(shape, number, 2)])

    assert_same(rows(10), DE10)
    assert steps_of(rows(300), monkeypatch) < 1.1 * steps_of(rows(30), monkeypatch)


REQUESTS = st.tuples(st.sampled_from(CLIENTS), st.integers(0, 300), st.integers(1, 200), st.integers(1, 16))


@settings(max_examples=60, deadline=None)
@example([("fetch", 88, 1, 1), ("uop", 87, 4, 1)], 1, 0)
@given(
    st.lists(REQUESTS, min_size=1, unique_by=lambda request: request[0]),  # type: ignore[no-any-return]
    st.integers(1, 20),
    st.integers(0, 20),
)
def test_bursts_granted_at_once_end_as_if_one_by_one(
    requests: list[tuple[str, int, int, int]], places: int, latency: int
) -> None:
    """The bus asked up to far horizons against one that is asked cycle by cycle."""
    model = replace(DE10, outstanding_bursts=places, memory_latency=latency)
    assert ends(requests, model, 10**6) == ends(requests, model, 1)


def ends(requests: list[tuple[str, int, int, int]], model: TimingModel, stride: int) -> list[tuple[str, int]]:
    """Who gets its transfer when, if the bus is asked every `stride` cycles and where a request comes."""
    bus, found, now = Bus(model), [], 0
    arrivals = sorted((at, client, bursts, size) for client, at, bursts, size in requests)
    while len(found) < len(requests):
        for at, client, bursts, size in arrivals:
            if at == now:
                bus.request(client, now, Traffic(bursts * size - bursts // 2, bursts, 0))
        now = min([now + stride, *(at for at, _, _, _ in arrivals if at > now)])
        while granted := bus.advance(now):
            found.append(granted)
    return found
