"""Bytes of VTA against a C struct of its header, of Arm against the manual; round trips for every entry."""

import ctypes
import functools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import isa
from isa import IsaError, MachineInstruction, loads
from isa.encoding import diagram
from isa.model import Instruction

FILES = Path(__file__).parent / "files"
VTA = isa.load("vta")
SHAPES = [(1, 16, 16), (1, 32, 32), (1, 64, 64), (4, 16, 16), (16, 16, 16)]
FLAGS = [("opcode", 3), ("pop_prev", 1), ("pop_next", 1), ("push_prev", 1), ("push_next", 1)]
OPCODES = {"load": 0, "store": 1, "gemm": 2, "finish": 3, "alu": 4}
MEMORY_TYPES = {"load_uop": 0, "load_wgt": 1, "load_inp": 2, "load_acc": 3, "store": 4, "load_acc8": 5}
ALU_OPCODES = {"min": 0, "max": 1, "add": 2, "shr": 3, "mul": 4}


@functools.cache
def shaped(batch: int, block_in: int, block_out: int) -> isa.Isa:
    return isa.load("vta", {"batch": batch, "block_in": block_in, "block_out": block_out})


def struct(*words: list[tuple[str, int]]) -> type[ctypes.LittleEndianStructure]:
    """The C struct of these bit-fields, each word a uint64_t of its own."""
    fields = []
    for number, word in enumerate(words):
        unused = 64 - sum(width for _, width in word)
        rows = [*word, (f"unused{number}", unused)] if unused else word
        fields += [(name, ctypes.c_uint64, width) for name, width in rows]
    return type("Struct", (ctypes.LittleEndianStructure,), {"_fields_": fields})


@functools.cache
def structs(batch: int, block_in: int, block_out: int) -> dict[str, type[ctypes.LittleEndianStructure]]:
    """The instruction structs of tvm-vta's hw_spec.h for one configuration, scratchpad bytes being upstream's."""
    uop, inp = 13, (32768 // (batch * block_in)).bit_length() - 1
    wgt, acc = (262144 // (block_in * block_out)).bit_length() - 1, (131072 // (4 * batch * block_out)).bit_length() - 1
    loop = [*FLAGS, ("reset", 1), ("uop_bgn", uop), ("uop_end", uop + 1), ("iter_out", 14), ("iter_in", 14)]
    steps = [("dst_factor_out", acc), ("dst_factor_in", acc), ("src_factor_out", inp), ("src_factor_in", inp)]
    memory = struct(
        [*FLAGS, ("memory_type", 3), ("sram_base", 16), ("dram_base", 32)],
        [
            ("y_size", 16),
            ("x_size", 16),
            ("x_stride", 16),
            ("y_pad_0", 4),
            ("y_pad_1", 4),
            ("x_pad_0", 4),
            ("x_pad_1", 4),
        ],
    )
    return {
        "load": memory,
        "store": memory,
        "gemm": struct(loop, [*steps, ("wgt_factor_out", wgt), ("wgt_factor_in", wgt)]),
        "alu": struct(loop, [*steps, ("alu_opcode", 3), ("use_imm", 1), ("imm", 16)]),
        "finish": struct(FLAGS, [("nothing", 64)]),
    }


def implied(name: str) -> dict[str, int]:
    """The fields that the name of an entry stands for."""
    family = name.split("_")[0]
    values = {"opcode": OPCODES[family]}
    if name in MEMORY_TYPES:
        values["memory_type"] = MEMORY_TYPES[name]
    if family == "gemm":
        values["reset"] = int(name == "gemm_reset")
    if family == "alu":
        values |= {"alu_opcode": ALU_OPCODES[name.split("_")[1]], "use_imm": int(name.endswith("imm"))}
    return values


def field_values(entry: Instruction) -> st.SearchStrategy[dict[str, int]]:
    """Every field of an entry, extremes as likely as anything else."""
    assert entry.encoding is not None
    ranges = {name: entry.encoding.fields[name].limits for name in entry.fields}
    return st.fixed_dictionaries({name: st.sampled_from(ends) | st.integers(*ends) for name, ends in ranges.items()})


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_bytes_are_those_of_the_c_struct(shape: tuple[int, int, int], data: st.DataObject) -> None:
    target, layouts = shaped(*shape), structs(*shape)
    entry = target.instructions[data.draw(st.sampled_from(sorted(target.instructions)))]
    values = data.draw(field_values(entry))
    row: Any = layouts[entry.name.split("_")[0]]()
    for name, value in {**implied(entry.name), **values}.items():
        setattr(row, name, value)
    assert target.encode(MachineInstruction(entry.name, values)) == bytes(row)


@pytest.mark.parametrize(
    ("name", "field", "position", "width"),
    [
        ("load_inp", "memory_type", 7, 3), ("load_inp", "sram_base", 10, 16), ("load_inp", "dram_base", 26, 32),
        ("load_inp", "y_size", 64, 16), ("load_inp", "x_stride", 96, 16), ("load_inp", "x_pad_1", 124, 4),
        ("gemm", "reset", 7, 1), ("gemm", "uop_bgn", 8, 13), ("gemm", "uop_end", 21, 14), ("gemm", "iter_out", 35, 14),
        ("gemm", "iter_in", 49, 14), ("gemm", "dst_factor_in", 75, 11), ("gemm", "src_factor_out", 86, 11),
        ("gemm", "wgt_factor_out", 108, 10), ("gemm", "wgt_factor_in", 118, 10), ("alu_add_imm", "alu_opcode", 108, 3),
        ("alu_add_imm", "use_imm", 111, 1), ("alu_add_imm", "imm", 112, 16), ("finish", "push_next", 6, 1),
    ],
)  # fmt: skip
def test_default_positions(name: str, field: str, position: int, width: int) -> None:
    encoding = VTA.instructions[name].encoding
    assert encoding is not None
    assert encoding.size == 128
    assert (position, width, field) in list(diagram(encoding))


def test_micro_op_word() -> None:
    assert VTA.encode_format("uop", {"dst": 5, "src": 7, "wgt": 1023}) == 5 | 7 << 11 | 1023 << 22
    assert VTA.decode_format("uop", 5 | 7 << 11 | 1023 << 22) == {"dst": 5, "src": 7, "wgt": 1023}
    small = shaped(16, 16, 16)
    assert small.encode_format("uop", {"dst": 127, "src": 1, "wgt": 2}) == 127 | 1 << 7 | 2 << 14


@pytest.mark.parametrize("name", sorted(VTA.instructions))
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_round_trip(name: str, data: st.DataObject) -> None:
    instruction = MachineInstruction(name, data.draw(field_values(VTA.instructions[name])))
    assert VTA.decode(VTA.encode(instruction)) == instruction


@settings(max_examples=100, deadline=None)
@given(st.binary(min_size=16, max_size=16))
def test_what_decodes_encodes_to_the_same_bytes(data: bytes) -> None:
    try:
        found = VTA.decode(data)
    except IsaError:
        return
    assert VTA.encode(found) == data


def test_stream() -> None:
    program = [
        MachineInstruction("load_inp", {"x_size": 3, "y_size": 1, "push_next": 1}),
        MachineInstruction("alu_add_imm", {"imm": -5, "uop_end": 1}),
        MachineInstruction("finish", {}),
    ]
    data = b"".join(map(VTA.encode, program))
    text = "load_inp push_next=1 y_size=1 x_size=3\nalu_add_imm uop_end=1 imm=-5\nfinish"
    assert VTA.disassemble(data) == text
    with pytest.raises(IsaError, match=r"byte 16: ff .* is no instruction of 'vta'"):
        VTA.disassemble(data[:16] + b"\xff" * 16)
    with pytest.raises(IsaError, match="byte 32"):
        VTA.disassemble(data[:40])


@pytest.mark.parametrize(
    ("instruction", "message"),
    [
        (MachineInstruction("gem", {}), "'vta' has no instruction 'gem'; it has load_inp"),
        (MachineInstruction("gemm", {"iter": 1}), "gemm has no field 'iter'; it has pop_prev"),
        (MachineInstruction("gemm", {"opcode": 1}), "gemm has no field 'opcode'"),
        (MachineInstruction("gemm", {"iter_in": 1 << 14}), r"gemm: iter_in = 16384 does not fit 14 unsigned bits"),
        (MachineInstruction("gemm", {"iter_in": -1}), r"gemm: iter_in = -1 does not fit"),
        (
            MachineInstruction("alu_add_imm", {"imm": 32768}),
            r"imm = 32768 does not fit 16 signed bits \(-32768..32767\)",
        ),
    ],
)
def test_wrong_instructions(instruction: MachineInstruction, message: str) -> None:
    with pytest.raises(IsaError, match=message):
        VTA.encode(instruction)


def test_absent_fields_are_zero_and_implied_ones_may_be_given() -> None:
    assert VTA.encode(MachineInstruction("gemm", {"opcode": 2, "reset": 0})) == VTA.encode(
        MachineInstruction("gemm", {})
    )


def test_arm_split_fields() -> None:
    """fmla v0.4s, v1.4s, v2.s[1] and fmla v31.4s, v8.4s, v17.s[2], worked out from the Arm ARM's diagram."""
    target = loads((FILES / "mixed.toml").read_text(encoding="utf-8"))
    first = MachineInstruction("fmla_4s_by_element", {"lane": 1, "b": 2, "a": 1, "acc": 0})
    second = MachineInstruction("fmla_4s_by_element", {"lane": 2, "b": 17, "a": 8, "acc": 31})
    assert target.encode(first) == (0x4FA21020).to_bytes(4, "little")
    assert target.encode(second) == (0x4F91191F).to_bytes(4, "little")
    for instruction in (first, second):
        assert target.decode(target.encode(instruction)) == instruction


def test_an_alias_wins_over_what_it_is_an_alias_of() -> None:
    text = """
name = "aliases"
memory.r = { kind = "register", bits = 32, count = 8 }
[format.word]
order = "msb"
word = 8
fields = "op:2 d:3 s:3"
[[instruction]]
name = "copy"
format = "word"
set = { op = 1 }
[[instruction]]
name = "copy_zero"
like = "copy"
set = { s = 0 }
"""
    target = loads(text)
    assert target.decode(bytes([0b01_011_000])) == MachineInstruction("copy_zero", {"d": 3})
    assert target.decode(bytes([0b01_011_001])) == MachineInstruction("copy", {"d": 3, "s": 1})
