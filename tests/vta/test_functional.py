"""The functional simulator against a scalar VTA written as plain loops, on random programs and at the corners."""

import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vta_machine import MACHINE, ScalarVta, base, in_sequence, instruction, program, segment, uop_words, with_fields

import isa
from embed.vta.engines import Engine, Queue
from embed.vta.machine import Machine
from embed.vta.simulator import CHISEL, FSIM, Semantics, SimulationError, simulate
from isa.machine import MachineInstruction

SMALL = {"uop": 256, "inp": 64, "wgt": 32, "acc": 64, "out": 64}
BLOCKS = [(1, 16, 16), (1, 4, 8), (2, 4, 4), (4, 16, 16), (1, 64, 64)]
UOPS = 64


def small(batch: int, block_in: int, block_out: int) -> Machine:
    """A machine whose scratchpads have the depths `SMALL`."""
    bits = {"uop": 32, "inp": 8 * batch * block_in, "wgt": 8 * block_out * block_in, "acc": 32 * batch * block_out}
    sizes = {f"{memory}_bytes": SMALL[memory] * bits[memory] // 8 for memory in bits}
    return Machine.of(isa.load("vta", {"batch": batch, "block_in": block_in, "block_out": block_out, **sizes}))


class Programs:
    """Random straight-line programs that stay inside the scratchpads of a small machine."""

    def __init__(self, draw: random.Random, hardware: bool) -> None:
        self.draw = draw
        self.hardware = hardware
        batch, block_in, block_out = draw.choice(BLOCKS)
        self.machine = small(batch, block_in, block_out)
        spread = draw.choice([3, 16])
        fields = [(draw.randrange(spread), draw.randrange(spread), draw.randrange(8)) for _ in range(UOPS)]
        words = np.array([dst | src << 6 | wgt << 12 for dst, src, wgt in fields], np.uint32)
        sizes = {"inp": 80, "wgt": 40, "acc": 80}
        data = {memory: self._data(memory, count) for memory, count in sizes.items()}
        parts = [segment(memory, values, self.machine) for memory, values in data.items()]
        self.segments = [segment("uop", words), *parts, segment("out", 512, self.machine)]

    def instructions(self) -> list[MachineInstruction]:
        first = [instruction("load_uop", dram_base=base("uop"), y_size=1, x_size=UOPS)]
        for memory in ("inp", "wgt", "acc"):
            whole = {"y_size": 1, "x_size": SMALL[memory]}
            first.append(instruction(f"load_{memory}", dram_base=self._base(memory), **whole))
        kinds = [self._load, self._gemm, self._gemm, self._alu, self._alu, self._store]
        middle = [self.draw.choice(kinds)() for _ in range(self.draw.randint(1, 10))]
        last = instruction("store", dram_base=self._base("out", 400), x_size=SMALL["out"], y_size=1)
        return [*first, *middle, last]

    def _data(self, memory: str, count: int) -> np.ndarray:
        size = count * self.machine.element_bytes[memory]
        if self.draw.random() < 0.2:
            return np.full(size, 0x80, np.uint8)
        return np.frombuffer(self.draw.randbytes(size), np.uint8)

    def _base(self, memory: str, offset: int = 0) -> int:
        return base(memory, offset, self.machine)

    def _load(self) -> MachineInstruction:
        draw = self.draw
        memory = draw.choice(["inp", "wgt", "acc"] if self.hardware else ["inp", "wgt", "acc", "acc8", "uop"])
        start = self._base(memory, draw.randrange(8)) if memory != "acc8" else self._base("acc") * 4
        pads = {name: draw.randint(0, 1) for name in ("y_pad_0", "y_pad_1", "x_pad_0", "x_pad_1")}
        sizes = {"x_size": draw.randint(0, 2), "y_size": draw.randint(1, 3), "x_stride": draw.randint(0, 5)}
        return instruction(f"load_{memory}", sram_base=draw.randrange(8), dram_base=start, **sizes, **pads)

    def _store(self) -> MachineInstruction:
        draw = self.draw
        sizes = {"x_size": draw.randint(0, 6), "y_size": draw.randint(1, 4), "x_stride": draw.randint(0, 20)}
        start = self._base("out", draw.randrange(100))
        return instruction("store", sram_base=draw.randrange(20), dram_base=start, **sizes)

    def _loops(self, *operands: str) -> dict[str, int]:
        draw = self.draw
        count = draw.randint(1, 5)
        begin = draw.randrange(UOPS - count)
        loops = {"uop_bgn": begin, "uop_end": begin + count}
        loops |= {"iter_out": draw.randint(1, 3), "iter_in": draw.randint(1, 3)}
        for operand in operands:
            for level in ("out", "in"):
                loops[f"{operand}_factor_{level}"] = draw.choice([0, 0, 1, 2, 3 if operand == "wgt" else 5])
        return loops

    def _gemm(self) -> MachineInstruction:
        name = self.draw.choice(["gemm", "gemm", "gemm", "gemm_reset"])
        return instruction(name, **self._loops("dst", "src", "wgt"))

    def _alu(self) -> MachineInstruction:
        operation = self.draw.choice(["min", "max", "add", "shr"] + ["mul"] * (not self.hardware))
        form = self.draw.choice(["imm", "reg"])
        if operation == "shr" and not self.hardware:
            form = "imm"
        immediate = self.draw.randint(-31, 31) if operation == "shr" else self.draw.randint(-32768, 32767)
        return instruction(f"alu_{operation}_{form}", imm=immediate, **self._loops("dst", "src"))


@settings(max_examples=120, deadline=None)
@given(draw=st.randoms(use_true_random=False), hardware=st.booleans(), start=st.sampled_from(Engine))
def test_random_programs_leave_the_bytes_of_the_scalar_loops(
    draw: random.Random, hardware: bool, start: Engine
) -> None:
    source = Programs(draw, hardware)
    instructions = source.instructions()
    scalar = ScalarVta(source.machine, source.segments, hardware)
    scalar.run(instructions)
    stream = program(in_sequence(instructions), source.segments)
    semantics = CHISEL if hardware else FSIM
    result = simulate(stream, source.machine, start_engine=start, semantics=semantics)
    assert result.outputs["out"].tolist() == scalar.bytes_of(source.segments[-1])


def run(
    instructions: list[MachineInstruction],
    *,
    semantics: Semantics = FSIM,
    uops: Sequence[tuple[int, int, int]] = ((0, 0, 0),),
    acc: np.ndarray | None = None,
    inp: np.ndarray | None = None,
    wgt: np.ndarray | None = None,
    in_order: bool = True,
) -> np.ndarray:
    """The int8[64, 16] output of a program that has loaded its micro-ops (and accumulators, if given)."""
    parts = [segment("uop", uop_words(uops)), segment("out", 64)]
    first = [instruction("load_uop", dram_base=base("uop"), x_size=len(uops), y_size=1)]
    for memory, data in (("acc", acc), ("inp", inp), ("wgt", wgt)):
        if data is not None:
            parts.append(segment(memory, data))
            first.append(instruction(f"load_{memory}", dram_base=base(memory), x_size=len(data), y_size=1))
    stream = in_sequence([*first, *instructions]) if in_order else [*first, *instructions]
    return simulate(program(stream, parts), MACHINE, semantics=semantics).outputs["out"].view(np.int8).reshape(-1, 16)


ONE = {"uop_bgn": 0, "uop_end": 1, "iter_out": 1, "iter_in": 1}
STORE_ONE = instruction("store", dram_base=base("out"), x_size=1, y_size=1)


def lanes(values: list[int]) -> np.ndarray:
    """Accumulators whose first lanes have these values: int32[1, 16]."""
    padded = np.zeros((1, 16), np.int64)
    padded[0, : len(values)] = values
    return padded.astype(np.int32)


def test_store_keeps_the_low_eight_bits() -> None:
    keep = instruction("alu_add_imm", **ONE)
    out = run([keep, STORE_ONE], acc=lanes([127, 128, -129, 256, 2**31 - 1, -(2**31)]))
    assert out[0, :6].tolist() == [127, -128, 127, 0, -1, 0]


def test_a_negative_shift_goes_left_and_wraps() -> None:
    shifts = [instruction("alu_shr_imm", imm=-31, **ONE), instruction("alu_shr_imm", imm=31, **ONE)]
    out = run([*shifts, STORE_ONE], acc=lanes([1, 2, 3, -1]))
    assert out[0, :4].tolist() == [-1, 0, -1, -1]


def test_gemm_wraps_after_sums_that_float32_cannot_hold() -> None:
    uops = [(0, 0, 0)]
    inp, wgt = np.full((1, 16), -128, np.int8), np.full((1, 16, 16), -128, np.int8)
    gemm = instruction("gemm", uop_bgn=0, uop_end=1, iter_out=100, iter_in=93)
    total = (2**18 * 9300 + 2**31) % 2**32 - 2**31
    assert total < 0, "the sum wraps"
    parts = [segment("uop", uop_words(uops)), segment("inp", inp), segment("wgt", wgt), segment("out", 8)]
    loads = [
        instruction("load_uop", dram_base=base("uop"), x_size=1, y_size=1),
        instruction("load_inp", dram_base=base("inp"), x_size=1, y_size=1),
        instruction("load_wgt", dram_base=base("wgt"), x_size=1, y_size=1),
    ]
    planes = []
    for plane in range(4):
        planes.append(instruction("store", dram_base=base("out", plane), x_size=1, y_size=1))
        planes.append(instruction("alu_shr_imm", imm=8, **ONE))
    stream = in_sequence([*loads, instruction("gemm_reset", **ONE), gemm, *planes])
    result = simulate(program(stream, parts), MACHINE)
    stored = result.outputs["out"].reshape(8, 16)[:4]
    assert stored.T.copy().view(np.int32)[:, 0].tolist() == [total] * 16
    assert result.counters.gemm_uops == 9300
    assert result.counters.alu_uops == 4
    assert result.counters.bytes == {"uop": 4, "inp": 16, "wgt": 256, "acc": 0, "out": 64}


def test_iterations_of_one_alu_instruction_see_each_other() -> None:
    """A running sum along the accumulators: acc[i + 1] += acc[i], each iteration reading the one before."""
    uops = [(1, 0, 0)]
    loops = {"iter_in": 5, "dst_factor_in": 1, "src_factor_in": 1}
    chain = instruction("alu_add_reg", uop_bgn=0, uop_end=1, iter_out=1, **loops)
    store = instruction("store", dram_base=base("out"), x_size=6, y_size=1)
    acc = np.repeat(np.arange(1, 7, dtype=np.int32)[:, None], 16, axis=1)
    out = run([chain, store], uops=uops, acc=acc)
    assert out[:6, 0].tolist() == [1, 3, 6, 10, 15, 21]


def test_token_only_instructions_move_nothing() -> None:
    nothing = {"sram_base": 5000, "dram_base": 0, "y_size": 9, "y_pad_0": 3}
    stream = [instruction(name, **nothing) for name in ("load_inp", "load_uop", "store")]
    assert not run(stream).any()


def test_load_acc8_extends_the_sign() -> None:
    load = instruction("load_acc8", dram_base=base("acc") * 4, x_size=1, y_size=1)
    shift = instruction("alu_shr_imm", imm=7, **ONE)
    bytes_ = np.array([[0x80, 0x7F, 0, 0] * 4], np.uint8).view(np.int32)
    out = run([load, shift, STORE_ONE], acc=np.repeat(bytes_, 4, axis=1))
    assert out[0, :4].tolist() == [-1, 0, 0, 0]


@pytest.mark.parametrize("name", ["load", "reset"])
def test_hardware_stores_what_alu_or_gemm_wrote_and_fsim_the_accumulator(name: str) -> None:
    write = instruction("alu_add_imm", **ONE)
    again = instruction("load_acc", dram_base=base("acc", 1), x_size=1, y_size=1)
    late = again if name == "load" else instruction("gemm_reset", **ONE)
    acc = np.vstack([lanes([7]), lanes([9])])
    stream = [write, late, STORE_ONE]
    assert run(stream, acc=acc)[0, 0] == (9 if name == "load" else 0)
    assert run(stream, acc=acc, semantics=CHISEL)[0, 0] == 7


def test_hardware_reads_src_in_an_immediate_alu() -> None:
    acc = np.vstack([lanes([7]), lanes([9])])
    stream = [instruction("alu_add_imm", imm=1, **ONE), STORE_ONE]
    assert run(stream, uops=[(0, 1, 0)], acc=acc)[0, 0] == 8
    assert run(stream, uops=[(0, 1, 0)], acc=acc, semantics=CHISEL)[0, 0] == 10


def test_hardware_takes_a_negative_register_amount_modulo_32() -> None:
    acc = np.vstack([lanes([64]), lanes([-30])])
    stream = [instruction("alu_shr_reg", **ONE), STORE_ONE]
    assert run(stream, uops=[(0, 1, 0)], acc=acc)[0, 0] == (64 << 30) % 256
    assert run(stream, uops=[(0, 1, 0)], acc=acc, semantics=CHISEL)[0, 0] == 64 >> 2


def pipeline(*, racy: bool) -> list[MachineInstruction]:
    """Two tiles through all engines; the racy one does not wait for its first input."""
    waits = int(not racy)
    load = instruction("load_inp", dram_base=base("inp"), x_size=1, y_size=1, push_next=waits)
    gemm = instruction("gemm", pop_prev=waits, push_prev=1, push_next=1, **ONE)
    store = with_fields(STORE_ONE, pop_prev=1, push_prev=1)
    second = {"dram_base": base("inp", 1), "pop_next": 1, "push_next": 1}
    tail = {"pop_prev": 1, "pop_next": 1, "push_prev": 1, "push_next": 1}
    return [
        instruction("load_uop", dram_base=base("uop"), x_size=1, y_size=1),
        instruction("load_acc", dram_base=base("acc"), x_size=1, y_size=1),
        instruction("load_wgt", dram_base=base("wgt"), x_size=1, y_size=1),
        load,
        gemm,
        store,
        with_fields(load, **second),
        with_fields(gemm, **tail),
        with_fields(store, dram_base=base("out", 1)),
        instruction("load_uop", pop_next=1),
        instruction("load_inp", pop_next=1, push_next=1),
        instruction("finish", pop_prev=1),
    ]


def pipeline_bytes(start: Engine, *, racy: bool, semantics: Semantics = FSIM, seed: int | None = None) -> bytes:
    inp = np.arange(32, dtype=np.int8).reshape(2, 16)
    wgt = np.ones((1, 16, 16), np.int8)
    parts = [segment("uop", uop_words([(0, 0, 0)])), segment("inp", inp), segment("wgt", wgt)]
    parts += [segment("acc", lanes([1])), segment("out", 2)]
    stream = program(pipeline(racy=racy), parts)
    result = simulate(stream, MACHINE, start_engine=start, semantics=semantics, sram_seed=seed)
    assert result.tokens_left == dict.fromkeys(Queue, 0)
    return result.outputs["out"].tobytes()


def test_a_correct_program_gives_the_same_bytes_everywhere() -> None:
    results = {
        pipeline_bytes(start, racy=False, semantics=semantics, seed=seed)
        for start in Engine
        for semantics in (FSIM, CHISEL)
        for seed in (None, 1)
    }
    assert len(results) == 1


def test_a_race_depends_on_the_engine_that_starts() -> None:
    assert len({pipeline_bytes(start, racy=True) for start in Engine}) > 1


LOAD_ONE = {"x_size": 1, "y_size": 1}
FAULTS = {
    "inp index 2048 is beyond": [instruction("load_inp", sram_base=2048, dram_base=base("uop") // 4, **LOAD_ONE)],
    "out index 2048 is beyond": [with_fields(STORE_ONE, sram_base=2048)],
    "acc index 2048 is beyond": [instruction("gemm_reset", **(ONE | {"iter_in": 2049, "dst_factor_in": 1}))],
    "wgt index 1024 is beyond": [instruction("gemm", **(ONE | {"iter_in": 2, "wgt_factor_in": 1024}))],
    "uop_end 8193 is beyond": [instruction("alu_add_imm", **(ONE | {"uop_end": 8193}))],
    "not inside one segment": [instruction("load_inp", dram_base=0, **LOAD_ONE)],
    "DRAM bytes 0x2003f0..0x200410": [with_fields(STORE_ONE, dram_base=base("out", 63), x_size=2)],
    "cannot pad": [with_fields(STORE_ONE, x_pad_0=1)],
    "a shift by more than 31": [instruction("alu_shr_imm", imm=32, **ONE)],
}


@pytest.mark.parametrize("text", FAULTS)
def test_faults_stop_the_simulation_with_the_instruction_and_the_limit(text: str) -> None:
    with pytest.raises(SimulationError, match=text) as caught:
        run(FAULTS[text])
    assert caught.value.index >= 1
    assert str(caught.value).startswith(f"instruction {caught.value.index}: ")


HARDWARE_FAULTS = {
    "no MUL": [instruction("alu_mul_imm", **ONE)],
    "8-bit accumulator": [instruction("load_acc8", dram_base=base("out"), **LOAD_ONE)],
    "empty loop": [instruction("gemm", **(ONE | {"iter_in": 0}))],
    "y_size 0": [with_fields(STORE_ONE, y_size=0)],
    "uop memory of 2048": [instruction("alu_add_imm", **(ONE | {"uop_end": 2049}))],
}


@pytest.mark.parametrize("text", HARDWARE_FAULTS)
def test_hardware_lacks_what_only_fsim_has(text: str) -> None:
    run(HARDWARE_FAULTS[text])
    with pytest.raises(SimulationError, match=text):
        run(HARDWARE_FAULTS[text], semantics=CHISEL)


ORDER_FAULTS = {
    "deadlock: compute waits for load->compute at instruction 2; load waits": [
        instruction("load_inp", pop_next=1, push_next=1),
        instruction("finish", pop_prev=1),
    ],
    "had not run when FINISH": [
        instruction("load_inp", pop_next=1),
        instruction("finish"),
        instruction("load_uop", push_prev=1),
    ],
    "ends without FINISH": [instruction("load_uop")],
    "load engine has no pop_prev": [instruction("load_inp", pop_prev=1), instruction("finish")],
    "store engine has no push_next": [instruction("store", push_next=1), instruction("finish", pop_next=1)],
}


@pytest.mark.parametrize("text", ORDER_FAULTS)
def test_order_faults_stop_the_simulation(text: str) -> None:
    with pytest.raises(SimulationError, match=text):
        run(ORDER_FAULTS[text], in_order=False)


def test_stores_to_data_leave_the_given_array_alone() -> None:
    data = np.arange(16, dtype=np.int8).reshape(1, 16)
    parts = [segment("uop", uop_words([(0, 0, 0)])), segment("inp", data)]
    store = instruction("store", dram_base=base("inp"), x_size=1, y_size=1)
    result = simulate(program(in_sequence([store]), parts), MACHINE)
    assert not result.memory["inp"].any()
    assert data[0, 5] == 5
