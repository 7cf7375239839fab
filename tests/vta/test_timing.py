"""The timed simulator against cycles measured on the RTL, one formula per test."""

from dataclasses import asdict

import numpy as np
import pytest
from vta_machine import BASES, CORES, DE10, MACHINE, PYNQ, base, instruction, program, with_fields

import isa
from dataflow.errors import UserError
from embed.vta.engines import Engine
from embed.vta.machine import Machine
from embed.vta.simulator import SimulationError, TimingModel, TimingReport, time_program
from isa.machine import MachineInstruction

FINISH = instruction("finish")
ELEMENT_BEATS = {"inp": 2, "wgt": 32, "acc": 8}


@pytest.fixture(params=CORES, name="core")
def _core(request: pytest.FixtureRequest) -> TimingModel:
    return CORES[request.param]


def report(instructions: list[MachineInstruction], core: TimingModel) -> TimingReport:
    """Time a stream as it is; segments do not matter to time."""
    return time_program(program(instructions, []), MACHINE, core)


def ordered(*instructions: MachineInstruction) -> list[MachineInstruction]:
    """Instructions of one engine before a FINISH that waits for the last of them."""
    *first, last = instructions
    if last.name in ("load_inp", "load_wgt"):
        return [*first, with_fields(last, push_next=1), with_fields(FINISH, pop_prev=1)]
    if last.name == "store":
        return [*first, with_fields(last, push_prev=1), with_fields(FINISH, pop_next=1)]
    return [*first, last, FINISH]


def alone(each: MachineInstruction, core: TimingModel) -> int:
    """Cycles from issue to end of an instruction that has the machine to itself."""
    result = report(ordered(each), core)
    return int(result.end[0] - result.start[0])


def load(memory: str, columns: int, rows: int = 1, **fields: int) -> MachineInstruction:
    sizes = {"dram_base": base(memory), "x_size": columns, "y_size": rows, "x_stride": columns}
    return instruction(f"load_{memory}", **(sizes | fields))


def loops(uops: int, outer: int, inner: int) -> dict[str, int]:
    return {"uop_bgn": 0, "uop_end": uops, "iter_out": outer, "iter_in": inner}


def test_finish_alone(core: TimingModel) -> None:
    """Chisel RTL, Verilator: a program of FINISH alone reports 25 cycles."""
    result = report([FINISH], core)
    assert result.cycles == 25
    assert result.bytes["insn"] == 16


@pytest.mark.parametrize("name", ["load_inp", "load_wgt", "load_uop", "load_acc", "store"])
def test_token_only(name: str, core: TimingModel) -> None:
    """Chisel RTL, Verilator: an instruction with x_size 0 takes 2 cycles, whatever its other fields."""
    assert alone(instruction(name, y_size=3, y_pad_0=2), core) == 2


@pytest.mark.parametrize("memory", ["inp", "wgt", "acc"])
@pytest.mark.parametrize(("columns", "rows", "stride"), [(1, 1, 0), (64, 1, 64), (1, 60, 7), (9, 13, 31), (58, 10, 58)])
def test_load(memory: str, columns: int, rows: int, stride: int, core: TimingModel) -> None:
    """Chisel RTL, Verilator: LOAD INP / WGT / ACC take 23 + beats, whatever the rows, stride and offset."""
    beats = ELEMENT_BEATS[memory] * columns * rows
    for offset in (0, 3):
        each = load(memory, columns, rows, x_stride=stride, dram_base=base(memory, offset))
        assert alone(each, core) == 23 + beats


@pytest.mark.parametrize(("count", "offset", "beats"), [(1, 0, 1), (2, 0, 1), (5, 0, 3), (300, 0, 150), (300, 1, 151)])
def test_load_uop(count: int, offset: int, beats: int, core: TimingModel) -> None:
    """Chisel RTL, Verilator: LOAD UOP takes 22 + ceil(n / 2), and a beat more from the middle of 8 bytes."""
    assert alone(load("uop", count, dram_base=base("uop", offset)), core) == 22 + beats


def test_load_uop_rows_that_end_half_way(core: TimingModel) -> None:
    """Chisel RTL, Verilator: every row of LOAD UOP takes the 8-byte words it touches."""
    assert alone(load("uop", 3, 4, x_stride=4), core) == 22 + 4 * 2


@pytest.mark.parametrize("memory", ["inp", "wgt", "acc"])
@pytest.mark.parametrize("pads", [(1, 0, 0, 0), (1, 1, 1, 1), (0, 15, 0, 0), (15, 15, 15, 15)])
def test_padded_load(memory: str, pads: tuple[int, int, int, int], core: TimingModel) -> None:
    """Chisel RTL, Verilator: pads go in one per cycle without data: max(23 + beats, 3 + pads + beats)."""
    columns, rows = 6, 4
    top, bottom, left, right = pads
    elements = (top + rows + bottom) * (left + columns + right) - rows * columns
    beats = ELEMENT_BEATS[memory] * columns * rows
    each = load(memory, columns, rows, y_pad_0=top, y_pad_1=bottom, x_pad_0=left, x_pad_1=right)
    assert alone(each, core) == max(23 + beats, 3 + elements + beats)


@pytest.mark.parametrize(
    ("columns", "rows", "stride", "offset", "de10", "pynq"),
    [
        (1, 1, 1, 0, 1, 1),
        (8, 1, 8, 0, 1, 1),
        (8, 1, 8, 1, 2, 1),
        (128, 1, 128, 0, 16, 1),
        (128, 1, 128, 64, 16, 2),
        (14, 14, 56, 0, 28, 15),
        (1, 16, 1, 0, 16, 16),
    ],
)
def test_store(columns: int, rows: int, stride: int, offset: int, de10: int, pynq: int) -> None:
    """Chisel RTL, Verilator: STORE takes 1 + 3n + 3b for n elements in b bursts; rows start new bursts."""
    fields = {"dram_base": base("out", offset), "x_size": columns, "y_size": rows, "x_stride": stride}
    for core, bursts in ((DE10, de10), (PYNQ, pynq)):
        assert alone(instruction("store", **fields), core) == 1 + 3 * columns * rows + 3 * bursts


@pytest.mark.parametrize(("uops", "outer", "inner"), [(1, 1, 1), (18, 14, 28), (5, 1, 7)])
@pytest.mark.parametrize(("name", "cycles"), [("gemm", 1), ("gemm_reset", 1), ("alu_add_imm", 1), ("alu_max_reg", 2)])
def test_arithmetic(name: str, cycles: int, uops: int, outer: int, inner: int, core: TimingModel) -> None:
    """Chisel RTL, Verilator: GEMM, reset and immediate ALU take 7 + N, register ALU 7 + 2N."""
    assert alone(instruction(name, **loops(uops, outer, inner)), core) == 7 + cycles * uops * outer * inner


def test_instructions_of_one_engine_follow_without_a_gap() -> None:
    """Chisel RTL, Verilator: back-to-back instructions start with zero gap once they are fetched."""
    result = report([instruction("gemm", **loops(1, 1, 100)) for _ in range(5)] + [FINISH], DE10)
    assert (result.start[1:] == result.end[:-1]).all()
    assert result.engines[Engine.COMPUTE].waiting == {"fetch": int(result.start[0])}


def test_loads_of_one_engine_do_not_overlap() -> None:
    """Chisel RTL, Verilator: the load engine executes one LOAD at a time, latency included."""
    result = report(ordered(load("inp", 100), load("wgt", 10), load("inp", 50)), PYNQ)
    assert result.end[2] - result.start[0] == (23 + 200) + (23 + 320) + (23 + 100)


def test_a_token_wakes_its_consumer_in_the_cycle_it_is_pushed(core: TimingModel) -> None:
    """Chisel RTL, Verilator: a waiting instruction starts in the cycle in which the producer ends."""
    stream = [
        load("inp", 100, push_next=1),
        instruction("gemm", pop_prev=1, push_next=1, **loops(4, 4, 4)),
        instruction("store", pop_prev=1, push_prev=1, dram_base=base("out"), x_size=16, y_size=1),
        with_fields(FINISH, pop_next=1),
    ]
    result = report(stream, core)
    assert (result.start[1:] == result.end[:-1]).all()
    waiting = result.engines[Engine.COMPUTE].waiting
    assert waiting["load->compute"] == result.start[1] - result.start[0] - 1, "fetched a cycle later"
    assert waiting["store->compute"] == result.end[2] - result.start[2]


def test_concurrent_reads_take_the_sum_of_their_beats(core: TimingModel) -> None:
    """Chisel RTL, Verilator: INP 16 KiB beside ACC 16 KiB end after the sum of their beats; INP goes first."""
    stream = [load("inp", 1024, push_next=1), load("acc", 256), with_fields(FINISH, pop_prev=1)]
    result = report(stream, core)
    assert result.end[1] - result.start[0] == 23 + 2048 + 2048
    assert result.end[0] < result.end[1]
    assert result.engines[Engine.COMPUTE].waiting["bus"] > 2000
    assert result.engines[Engine.LOAD].waiting.get("bus", 0) <= 2 * core.burst_bytes // 8


def test_stores_do_not_slow_reads(core: TimingModel) -> None:
    """Chisel RTL, Verilator: writes have their own channel."""
    store = instruction("store", dram_base=base("out"), x_size=500, y_size=1, push_prev=1)
    stream = [store, load("inp", 500, push_next=1), with_fields(FINISH, pop_prev=1, pop_next=1)]
    result = report(stream, core)
    assert result.end[1] - result.start[1] == 23 + 1000
    assert result.start[1] < result.end[0]


def test_queued_bursts_go_before_a_client_of_higher_priority() -> None:
    """Chisel RTL, Verilator: a LOAD UOP behind an INP stream waits for up to 16 bursts, not for the stream."""
    delay = instruction("gemm", **loops(1, 1, 100))
    stream = [load("inp", 2000, push_next=1), delay, load("uop", 2), with_fields(FINISH, pop_prev=1)]
    result = report(stream, DE10)
    waited = result.end[2] - result.start[2]
    assert 16 * 15 <= waited <= 16 * 17 + 22
    assert result.start[2] < result.end[0]


@pytest.mark.parametrize(("name", "each"), [("de10", 5.6), ("pynq", 3.2)])
def test_fetch_with_an_idle_bus(name: str, each: float) -> None:
    """Chisel RTL, Verilator: a chunk of 8 (De10) takes 45 cycles, of 128 (Pynq) 3.2 cycles per instruction."""
    chunks = 10 * CORES[name].fetch_chunk
    result = report(ordered(*[instruction("store") for _ in range(chunks + 200)]), CORES[name])
    assert round((result.start[chunks] - result.start[0]) / chunks, 1) == each


def test_fetch_beside_a_streaming_load_engine() -> None:
    """Chisel RTL, Verilator: while the load engine streams, De10 fetch takes about 30 cycles per instruction."""
    stream = [load("inp", 2000), load("inp", 2000)] + [instruction("store")] * 100
    result = report([*stream, *ordered(load("inp", 1))], DE10)
    streaming = np.flatnonzero(result.start[2:102] < result.end[1])
    rate = (result.start[2 + streaming[-1]] - result.start[2]) / len(streaming)
    assert 25 < rate < 36


def test_every_cycle_of_an_engine_is_accounted_for(core: TimingModel) -> None:
    """By construction: busy and waiting cycles of an engine add up to the cycles of the program."""
    tile = [
        load("inp", 30, push_next=1),
        load("acc", 10),
        instruction("gemm", pop_prev=1, push_next=1, **loops(3, 5, 7)),
        instruction("store", pop_prev=1, push_prev=1, dram_base=base("out"), x_size=40, y_size=1),
        instruction("alu_add_imm", pop_next=1, **loops(1, 4, 4)),
    ]
    result = report([*tile * 20, FINISH], core)
    for engine in result.engines.values():
        assert engine.busy + sum(engine.waiting.values()) == result.cycles
    assert sum(engine.instructions for engine in result.engines.values()) == 101
    assert result.counts == {"load_inp": 20, "load_acc": 20, "gemm": 20, "store": 20, "alu_add_imm": 20, "finish": 1}
    traffic = {"insn": 101 * 16, "uop": 0, "inp": 20 * 480, "wgt": 0, "acc": 20 * 640, "out": 20 * 640}
    assert result.bytes == traffic
    assert result.bus_beats == sum(traffic[memory] for memory in ("insn", "inp", "acc")) // 8


def test_a_full_instruction_queue_stops_fetch_for_good() -> None:
    """Chisel RTL, Verilator: 512 instructions behind a token whose producer comes later deadlock the machine."""

    def stream(count: int) -> list[MachineInstruction]:
        waiting = instruction("load_inp", pop_next=1)
        behind = [instruction("load_inp") for _ in range(count - 2)]
        last = instruction("load_inp", push_next=1)
        return [waiting, *behind, last, instruction("load_uop", push_prev=1), with_fields(FINISH, pop_prev=1)]

    assert report(stream(512), DE10).cycles > 0
    with pytest.raises(SimulationError, match="full load queue at instruction 512"):
        report(stream(513), DE10)


def test_a_token_counter_saturates_at_255() -> None:
    """Chisel RTL, Verilator: counters are 8 bit and lose the 256th token."""

    def stream(count: int) -> list[MachineInstruction]:
        pushes = [instruction("load_inp", push_next=1) for _ in range(count)]
        slow = instruction("gemm", **loops(100, 100, 1))
        return [slow, *pushes, *[instruction("load_uop", pop_prev=1) for _ in range(count)], FINISH]

    assert report(stream(255), PYNQ).cycles > 0
    with pytest.raises(SimulationError, match="instruction 256: a token is lost: load->compute counts to 255"):
        report(stream(256), PYNQ)


FAULTS = {
    "deadlock: compute waits for load->compute": [with_fields(FINISH, pop_prev=1)],
    "ends without FINISH": [instruction("load_uop")],
    "instruction 0: store ends after FINISH": [
        instruction("store", dram_base=BASES["out"] // 16, x_size=100, y_size=1),
        FINISH,
    ],
    "no alu_mul_imm": [instruction("alu_mul_imm", **loops(1, 1, 1)), FINISH],
    "an empty loop": [instruction("gemm", **loops(1, 0, 1)), FINISH],
    "y_size 0": [load("inp", 1, 0), FINISH],
    "load engine has no push_prev": [instruction("load_inp", push_prev=1), FINISH],
}


@pytest.mark.parametrize("text", FAULTS)
def test_what_hangs_the_hardware_is_an_error(text: str) -> None:
    with pytest.raises(SimulationError, match=text):
        report(FAULTS[text], DE10)


def test_a_model_is_made_from_a_table_of_the_same_names() -> None:
    table = asdict(PYNQ)
    assert TimingModel.from_table(table) == PYNQ
    with pytest.raises(UserError, match="lacks fetch_chunk"):
        TimingModel.from_table({name: value for name, value in table.items() if name != "fetch_chunk"})
    with pytest.raises(UserError, match="has no fetch; its entries are: burst_bytes"):
        TimingModel.from_table(table | {"fetch": 1})
    with pytest.raises(UserError, match="burst_bytes must be an integer of at least 1, not 0"):
        TimingModel.from_table(table | {"burst_bytes": 0})


def test_a_wider_block_takes_the_beats_of_its_elements() -> None:
    """Section LOAD of the same measurement, scaled: beats are bytes over the 8 bytes of the bus."""
    machine = Machine.of(isa.load("vta", {"batch": 4, "block_in": 32}))
    stream = program(ordered(instruction("load_inp", dram_base=512, x_size=10, y_size=1)), [])
    result = time_program(stream, machine, DE10)
    assert result.end[0] - result.start[0] == 23 + 10 * 128 // 8
