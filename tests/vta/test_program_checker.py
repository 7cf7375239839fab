"""The program checker: a correct program passes, and each single mutation of it breaks the rule it should."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vta_machine import CORES, MACHINE, PYNQ, base, instruction, program, segment, uop_words, with_fields

import isa
from dataflow.errors import UserError
from embed.vta.checker import RULES, ProgramError, Violation, check, verify
from embed.vta.checker.fields import field_limits
from embed.vta.engines import FLAGS, Engine
from embed.vta.machine import Machine
from embed.vta.program import Program, Segment
from embed.vta.roles import Scratchpad
from embed.vta.simulator import CHISEL, FSIM, SimulationError, simulate, time_program
from isa.machine import MachineInstruction

BIAS, AMOUNT = 100, 101
UOPS = [
    *[(row, row, 0) for row in range(4)],  # 0..4: GEMM
    *[(row, row, 0) for row in range(4)],  # 4..8: immediate ALU
    *[(row, BIAS, 0) for row in range(4)],  # 8..12: add the bias
    *[(row, AMOUNT, 0) for row in range(4)],  # 12..16: shift by the loaded amount
]
TILE = {"iter_out": 1, "iter_in": 4, "dst_factor_in": 4}
GEMM = {"uop_bgn": 0, "uop_end": 4, "src_factor_in": 4, **TILE}
ALU = {"uop_bgn": 4, "uop_end": 8, "src_factor_in": 4, **TILE}


@dataclass
class Draft:
    """A program under mutation: instructions by name, in program order."""

    instructions: dict[str, MachineInstruction]
    segments: dict[str, Segment]

    def set(self, name: str, **fields: int) -> None:
        self.instructions[name] = with_fields(self.instructions[name], **fields)

    def rename(self, name: str, kind: str) -> None:
        self.instructions[name] = MachineInstruction(kind, self.instructions[name].fields)

    def insert(self, before: str, *added: MachineInstruction) -> None:
        items: dict[str, MachineInstruction] = {}
        start = sum(name.startswith("added") for name in self.instructions)
        for name, each in self.instructions.items():
            if name == before:
                items |= {f"added {number}": extra for number, extra in enumerate(added, start)}
            items[name] = each
        self.instructions = items

    def program(self) -> Program:
        return program(list(self.instructions.values()), list(self.segments.values()))

    def index(self, name: str) -> int:
        return list(self.instructions).index(name)


def correct() -> Draft:
    """Two tiles of 16 outputs through load, GEMM, bias, shift, clip and store, with both kinds of waiting."""
    rng = np.random.default_rng(7)
    constants = np.zeros((2, 16), np.int32)
    constants[0], constants[1] = rng.integers(-999, 999, 16), 3
    inp = rng.integers(-128, 128, (32, 16)).astype(np.int8)
    wgt = rng.integers(-128, 128, (2, 16, 16)).astype(np.int8)
    parts = [segment("uop", uop_words(UOPS)), segment("inp", inp), segment("wgt", wgt), segment("acc", constants)]
    row = {"x_size": 8, "y_size": 2, "x_stride": 8}
    instructions = {
        "uops": instruction("load_uop", dram_base=base("uop"), x_size=len(UOPS), y_size=1),
        "constants": instruction("load_acc", sram_base=BIAS, dram_base=base("acc"), x_size=2, y_size=1),
        "weights": instruction("load_wgt", dram_base=base("wgt"), x_size=2, y_size=1, x_stride=2),
        "input": instruction("load_inp", dram_base=base("inp"), **row, push_next=1),
        "reset": instruction("gemm_reset", **GEMM, pop_prev=1),
        "gemm": instruction("gemm", **GEMM, push_prev=1),
        "bias": instruction("alu_add_reg", **(ALU | {"uop_bgn": 8, "uop_end": 12, "src_factor_in": 0})),
        "amount": instruction("alu_shr_reg", **(ALU | {"uop_bgn": 12, "uop_end": 16, "src_factor_in": 0})),
        "shift": instruction("alu_shr_imm", **ALU, imm=5),
        "low": instruction("alu_max_imm", **ALU, imm=-128),
        "high": instruction("alu_min_imm", **ALU, imm=127, push_next=1),
        "store": instruction("store", dram_base=base("out"), **row, pop_prev=1, push_prev=1),
        "input 2": instruction("load_inp", dram_base=base("inp", 16), **row, pop_next=1, push_next=1),
        "reset 2": instruction("gemm_reset", **GEMM, pop_prev=1, pop_next=1),
        "gemm 2": instruction("gemm", **GEMM),
        "shift 2": instruction("alu_shr_imm", **ALU, imm=8, push_next=1),
        "store 2": instruction("store", dram_base=base("out", 16), **row, pop_prev=1, push_prev=1),
        "finish": instruction("finish", pop_next=1),
    }
    return Draft(instructions, {part.name: part for part in [*parts, segment("out", 32)]})


def test_the_correct_program_breaks_no_rule() -> None:
    assert check(correct().program(), MACHINE) == []
    verify(correct().program(), MACHINE)


def test_the_correct_program_runs_alike_everywhere() -> None:
    stream = correct().program()
    results = {
        simulate(stream, MACHINE, start_engine=start, semantics=semantics, sram_seed=seed).outputs["out"].tobytes()
        for start in Engine
        for semantics in (FSIM, CHISEL)
        for seed in (None, 5)
    }
    assert len(results) == 1
    for core in CORES.values():
        assert time_program(stream, MACHINE, core).cycles > 0


Mutation = Callable[[Draft], None]
MUTATIONS: list[tuple[str, str, Mutation]] = []


def breaks(rule: str, at: str) -> Callable[[Mutation], Mutation]:
    """Register a mutation under the rule that it breaks and the instruction where."""

    def register(mutation: Mutation) -> Mutation:
        MUTATIONS.append((rule, at, mutation))
        return mutation

    return register


def change(rule: str, name: str, *, at: str | None = None, **fields: int) -> None:
    """Register a mutation of some fields of one instruction."""
    MUTATIONS.append((rule, at or name, lambda draft: draft.set(name, **fields)))


change("field-range", "shift", imm=32768)
change("field-range", "gemm", iter_in=16384)
change("field-range", "input", x_pad_0=16)
change("field-range", "store", dram_base=-1)
change("instruction", "shift", wgt_factor_in=1)
change("illegal-flag", "weights", pop_prev=1)
change("illegal-flag", "store", push_next=1)
change("empty-loop", "shift", iter_out=0)
change("empty-loop", "low", uop_end=4)
change("empty-rows", "store", y_size=0)
change("uop-load-shape", "uops", y_size=2)
change("uop-load-shape", "uops", x_pad_1=1)
change("wgt-pad", "weights", y_pad_1=1)
change("store-pad", "store", y_pad_0=1)
change("sram-bounds", "input", sram_base=2040)
change("sram-bounds", "store", sram_base=2040)
change("sram-bounds", "gemm", src_factor_in=700)
change("sram-bounds", "shift", src_factor_in=0, dst_factor_in=1000)
change("dram-bounds", "input", dram_base=base("inp", 24))
change("dram-bounds", "store 2", x_stride=24)
change("imm-source", "high", src_factor_in=5)
change("shift-amount", "shift", imm=16)
change("shift-amount", "shift", imm=-16)
change("shift-amount", "amount", imm=-1)
change("alu-distance", "bias", uop_bgn=11, dst_factor_in=0)
change("alu-distance", "low", uop_bgn=7, dst_factor_in=0, src_factor_in=0)
change("uninitialised", "gemm 2", wgt_factor_in=1)
change("uninitialised", "gemm", src_factor_in=5)
change("uninitialised", "low", dst_factor_in=5, src_factor_in=5)
change("uninitialised", "bias", uop_bgn=9, uop_end=17)
change("uninitialised", "store", sram_base=200)
change("race", "reset 2", pop_next=0)
change("race", "store", pop_prev=0)
change("token-balance", "gemm 2", push_prev=1)
change("token-balance", "reset", at="input 2", pop_prev=0)
change("deadlock", "gemm", at="input 2", push_prev=0)
change("finish-order", "finish", pop_next=0)


@breaks("instruction", "low")
def _unknown_instruction(draft: Draft) -> None:
    draft.rename("low", "alu_sub_imm")


@breaks("fsim-only", "low")
def _multiply(draft: Draft) -> None:
    draft.rename("low", "alu_mul_imm")


@breaks("fsim-only", "constants")
def _bytes_to_accumulators(draft: Draft) -> None:
    draft.rename("constants", "load_acc8")


@breaks("uop-depth", "uops")
def _high_micro_ops(draft: Draft) -> None:
    draft.set("uops", sram_base=2048 - 8)


@breaks("inp-load-size", "input")
def _all_of_inp_in_one_load(draft: Draft) -> None:
    draft.segments["inp"] = segment("inp", np.zeros((2048, 16), np.int8))
    draft.set("input", x_size=1024, x_stride=1024)


@breaks("dram-memory", "input")
def _input_from_weights(draft: Draft) -> None:
    draft.set("input", dram_base=base("wgt") * 16)


@breaks("store-target", "store")
def _store_to_input(draft: Draft) -> None:
    draft.set("store", dram_base=base("inp"))


@breaks("register-shift", "amount")
def _shift_by_a_computed_amount(draft: Draft) -> None:
    draft.set("amount", uop_bgn=8, uop_end=12)


@breaks("register-shift", "amount")
def _shift_by_a_written_amount(draft: Draft) -> None:
    draft.insert("amount", instruction("alu_add_imm", uop_bgn=16, uop_end=17, iter_out=1, iter_in=1))
    draft.segments["uop"] = segment("uop", uop_words([*UOPS, (AMOUNT, AMOUNT, 0)]))
    draft.set("uops", x_size=17)


@breaks("alu-distance", "bias")
def _read_what_was_just_written(draft: Draft) -> None:
    """acc[i + 2] += acc[i]: a distance of two iterations."""
    draft.segments["uop"] = segment("uop", uop_words([*UOPS[:8], *[(row + 2, row, 0) for row in range(4)], *UOPS[12:]]))
    draft.set("bias", iter_in=1)


@breaks("hls-distance", "bias")
def _the_same_dst_two_micro_ops_later(draft: Draft) -> None:
    near = [(0, BIAS, 0), (1, BIAS, 0), (0, BIAS, 0), (3, BIAS, 0)]
    draft.segments["uop"] = segment("uop", uop_words([*UOPS[:8], *near, *UOPS[12:]]))


@breaks("hls-distance", "gemm")
def _the_same_dst_in_the_next_micro_op(draft: Draft) -> None:
    near = [(0, 0, 0), (1, 1, 0), (1, 2, 0), (3, 3, 0)]
    draft.segments["uop"] = segment("uop", uop_words([*UOPS, *near]))
    draft.set("uops", x_size=20)
    draft.set("gemm", uop_bgn=16, uop_end=20)


@breaks("uninitialised", "reset")
def _no_micro_ops(draft: Draft) -> None:
    draft.set("uops", x_size=0)


@breaks("last-writer", "store 2")
def _store_a_reset(draft: Draft) -> None:
    draft.insert("store 2", instruction("gemm_reset", **GEMM, push_next=1))
    draft.set("shift 2", push_next=0)


@breaks("last-writer", "store 2")
def _store_a_loaded_accumulator(draft: Draft) -> None:
    draft.insert("store 2", instruction("load_acc", dram_base=base("acc"), x_size=1, y_size=1, push_next=1))
    draft.set("shift 2", push_next=0)


@breaks("race", "input 2")
def _reload_under_the_reader(draft: Draft) -> None:
    draft.set("input 2", pop_next=0)
    draft.set("gemm", push_prev=0)


@breaks("race", "gemm 2")
def _compute_before_the_load(draft: Draft) -> None:
    draft.set("reset 2", pop_prev=0)
    draft.set("shift 2", pop_prev=1)


@breaks("race", "added 0")
def _load_accumulators_over_a_pending_store(draft: Draft) -> None:
    """Harmless in hardware, which stores from OUT; fsim stores ACC."""
    draft.insert("reset 2", instruction("load_acc", dram_base=base("acc"), x_size=1, y_size=1))


@breaks("race", "added 0")
def _load_what_is_being_stored(draft: Draft) -> None:
    draft.insert(
        "input 2", instruction("load_inp", sram_base=500, dram_base=base("out"), x_size=8, y_size=2, x_stride=8)
    )


@breaks("uninitialised", "input 2")
def _load_what_is_never_stored(draft: Draft) -> None:
    draft.segments["more"] = Segment("more", Scratchpad.OUT, 0x300000, 256)
    draft.set("input 2", dram_base=0x300000 // 16)


@breaks("token-limit", "added 254")
def _too_many_tokens(draft: Draft) -> None:
    draft.insert("reset", *[instruction("load_inp", push_next=1) for _ in range(256)])
    draft.insert("finish", *[instruction("load_uop", pop_prev=1) for _ in range(256)])


@breaks("queue-depth", "far")
def _too_far_ahead(draft: Draft) -> None:
    """The load waits for a GEMM that fetch reaches only behind 512 more loads."""
    items = {name: each for name, each in draft.instructions.items() if name != "input 2"}
    nothing = {f"ahead {number}": instruction("load_inp") for number in range(511)}
    ahead = {"input 2": draft.instructions["input 2"], **nothing, "far": instruction("load_inp")}
    place = list(items).index("gemm")
    names = list(items)
    draft.instructions = {name: items[name] for name in names[:place]} | ahead
    draft.instructions |= {name: items[name] for name in names[place:]}


@breaks("finish", "program")
def _no_finish(draft: Draft) -> None:
    draft.rename("finish", "load_uop")


@breaks("finish", "finish")
def _work_after_finish(draft: Draft) -> None:
    draft.instructions["late"] = instruction("load_uop")


@breaks("finish", "finish")
def _two_finishes(draft: Draft) -> None:
    draft.insert("finish", instruction("finish"))


@breaks("finish-order", "finish")
def _an_unawaited_load(draft: Draft) -> None:
    draft.insert("finish", instruction("load_inp", sram_base=500, dram_base=base("inp"), x_size=1, y_size=1))


@breaks("segment", "program")
def _unaligned_weights(draft: Draft) -> None:
    draft.segments["odd"] = replace(draft.segments["wgt"], name="odd", address=0x300010)


@breaks("segment", "program")
def _segment_in_page_zero(draft: Draft) -> None:
    draft.segments["low"] = Segment("low", Scratchpad.OUT, 0, 16)


@breaks("segment", "program")
def _overlapping_segments(draft: Draft) -> None:
    draft.segments["more"] = Segment("more", Scratchpad.OUT, 0x200000 + 16 * 31, 64)


@breaks("segment", "program")
def _short_data(draft: Draft) -> None:
    draft.segments["more"] = Segment("more", Scratchpad.INP, 0x300000, 64, np.zeros(48, np.uint8))


def _names(mutation: tuple[str, str, Mutation]) -> str:
    rule, at, function = mutation
    return f"{rule} at {at}{function.__name__ if function.__name__ != '<lambda>' else ''}"


@pytest.mark.parametrize("mutation", MUTATIONS, ids=_names)
def test_a_mutation_breaks_its_rule(mutation: tuple[str, str, Mutation]) -> None:
    rule, at, mutate = mutation
    draft = correct()
    mutate(draft)
    violations = check(draft.program(), MACHINE)
    place = -1 if at == "program" else draft.index(at)
    assert (place, rule) in {(each.index, each.rule) for each in violations}, violations
    # A rule may stand for others: nothing is known about memory behind a broken instruction.
    consequences = {
        "uninitialised",
        "deadlock",
        "finish-order",
        "race",
        "token-balance",
        "alu-distance",
        "register-shift",
    }
    assert {each.rule for each in violations} <= {rule} | consequences, violations


def test_every_rule_has_a_mutation() -> None:
    assert {rule for rule, _, _ in MUTATIONS} == set(RULES)


@pytest.mark.parametrize("block", [16, 64])
def test_field_limits_are_those_of_the_encodings(block: int) -> None:
    """The checker's table against the fields of the ISA file."""
    target = isa.load("vta", {"block_in": block, "block_out": block})
    tables = field_limits(Machine.of(target))
    assert set(tables) == set(target.instructions)
    for name, entry in target.instructions.items():
        assert entry.encoding is not None
        encoded = {field.name: field.limits for field in entry.encoding.fields.values()}
        implied = {"opcode", "memory_type", "reset", "alu_opcode", "use_imm"}
        assert tables[name] == {field: limits for field, limits in encoded.items() if field not in implied}


def test_verify_raises_the_first_violation_as_one_line() -> None:
    draft = correct()
    draft.set("shift", imm=16)
    draft.set("shift 2", imm=-20)
    with pytest.raises(ProgramError) as caught:
        verify(draft.program(), MACHINE)
    assert isinstance(caught.value, UserError)
    text = "instruction 8: imm 16 of a shift is not in -15..15 [shift-amount] (and 1 more)"
    assert str(caught.value) == text
    assert caught.value.violations[1] == Violation(15, "shift-amount", "imm -20 of a shift is not in -15..15")


def test_a_race_names_both_instructions() -> None:
    draft = correct()
    _reload_under_the_reader(draft)
    (race,) = check(draft.program(), MACHINE)
    text = "inp is overwritten before it is read: no token orders load_inp and gemm (instruction 5)"
    assert race == Violation(12, "race", text)


def test_a_chain_of_tokens_orders_a_store_before_a_load() -> None:
    """STORE then LOAD of the same bytes: store->compute, a NOP, compute->load."""
    draft = correct()
    again = instruction("load_inp", sram_base=500, dram_base=base("out"), x_size=8, y_size=2, x_stride=8, pop_next=1)
    draft.insert(
        "finish",
        instruction("load_uop", pop_next=1, push_prev=1),
        with_fields(again, push_next=1),
    )
    draft.set("finish", pop_next=0, pop_prev=1)
    assert check(draft.program(), MACHINE) == []
    draft.set("added 1", pop_next=0)
    assert "race" in {each.rule for each in check(draft.program(), MACHINE)}


@pytest.mark.parametrize("name", ["reset", "reset 2", "store", "input 2", "finish"])
def test_the_simulator_agrees_that_a_missing_token_matters(name: str) -> None:
    """Without a pop, some order of the engines changes the bytes or never ends; the checker needs no luck."""
    draft = correct()
    draft.set(name, pop_prev=0, pop_next=0)
    assert check(draft.program(), MACHINE)
    good = simulate(correct().program(), MACHINE).outputs["out"].tobytes()
    outcomes = set()
    for start in Engine:
        try:
            result = simulate(draft.program(), MACHINE, start_engine=start)
            outcomes.add((result.outputs["out"].tobytes(), tuple(result.tokens_left.values())))
        except SimulationError as error:
            outcomes.add((str(error).encode(), ()))
    assert outcomes != {(good, (0, 0, 0, 0))}


FLIPS = st.tuples(st.sampled_from(list(correct().instructions)), st.sampled_from(FLAGS))
SHIFTS = st.tuples(
    st.sampled_from(list(correct().instructions)),
    st.sampled_from(["sram_base", "x_size", "y_size", "uop_bgn", "src_factor_in", "dst_factor_in"]),
)


@settings(max_examples=150, deadline=None)
@given(flips=st.lists(FLIPS, max_size=3), shifts=st.lists(SHIFTS, max_size=1))
def test_what_the_checker_accepts_runs_alike_everywhere(
    flips: list[tuple[str, str]], shifts: list[tuple[str, str]]
) -> None:
    """Flip any flags and enlarge any field by one: an accepted program never depends on order or machine."""
    draft = correct()
    for name, flag in flips:
        draft.set(name, **{flag: 1 - draft.instructions[name][flag]})
    for name, field in shifts:
        draft.set(name, **{field: draft.instructions[name][field] + 1})
    stream = draft.program()
    if check(stream, MACHINE):
        return
    assert time_program(stream, MACHINE, PYNQ).cycles > 0
    results = [
        simulate(stream, MACHINE, start_engine=start, semantics=semantics, sram_seed=seed)
        for start, semantics, seed in [(Engine.COMPUTE, FSIM, 1), (Engine.LOAD, CHISEL, 2), (Engine.STORE, CHISEL, 3)]
    ]
    assert len({result.outputs["out"].tobytes() for result in results}) == 1
    assert not any(results[0].tokens_left.values())
