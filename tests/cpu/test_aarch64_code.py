"""Functions for AArch64: control items against Python, the calling convention, addresses that need help, text."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import isa
from dataflow.errors import UserError
from embed.cpu.assembler import aarch64_frame
from embed.cpu.assembler.aarch64 import Code, assemble, control_instructions
from embed.cpu.assembler.control import (
    STACK,
    Add,
    AddImmediate,
    Branch,
    BranchIfLess,
    BranchIfZero,
    Item,
    Label,
    Level,
    LoadPointer,
    LoadWord,
    Loop,
    Move,
    Multiply,
    MultiplyImmediate,
    Prefetch,
    Return,
    SetImmediate,
    SetMask,
    StorePointer,
)
from embed.cpu.runner import emulator, qemu
from isa import IsaError, MachineInstruction

NEON = isa.load("neon")
WORD = 1 << 64
needs_unicorn = pytest.mark.skipif(emulator.missing(), reason="needs unicorn")


def run(items: list[Item], *arrays: Any, begin: int = 0, end: int = 1) -> dict[str, int]:
    return dict(emulator.run(assemble(items, NEON), arrays, begin, end))


def results(items: list[Item], registers: list[int]) -> list[int]:
    """What pointer registers hold at the end; register 20 is used."""
    out = np.zeros(len(registers), np.uint64)
    stores = [StorePointer(register, 20, 8 * number) for number, register in enumerate(registers)]
    run([LoadPointer(20, 0), *items, *stores, Return()], out)
    return [int(value) for value in out]


# ---- bits


def random_control(name: str, rng: np.random.Generator) -> MachineInstruction:
    encoding = control_instructions().instructions[name].encoding
    assert encoding is not None
    fields = {}
    for field in encoding.fields.values():
        low, high = field.limits
        fields[field.name] = int(rng.integers(low // field.step, high // field.step, endpoint=True)) * field.step
    if name.startswith("ldp"):
        fields["b"] = (fields["a"] + 1) % 32
    return MachineInstruction(name, fields)


@pytest.mark.skipif(not shutil.which("aarch64-linux-gnu-as"), reason="needs Debian's binutils-aarch64-linux-gnu")
def test_control_encodings_are_what_binutils_assembles(tmp_path: Path) -> None:
    target, rng = control_instructions(), np.random.default_rng(1)
    cases = [(target, random_control(name, rng)) for name in target.instructions for _ in range(20)]
    code = Code(tuple(cases))
    (tmp_path / "a.s").write_text(code.assembly() + "\n", encoding="ascii")
    subprocess.run(["aarch64-linux-gnu-as", "-o", tmp_path / "a.o", tmp_path / "a.s"], check=True)
    copy = ["aarch64-linux-gnu-objcopy", "-O", "binary", "-j", ".text", tmp_path / "a.o", tmp_path / "a.bin"]
    subprocess.run(copy, check=True)
    found = (tmp_path / "a.bin").read_bytes()
    for number, (_, case) in enumerate(cases):
        assert target.encode(case) == found[4 * number : 4 * number + 4], case


# ---- items


@needs_unicorn
@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(-(1 << 63), WORD - 1), min_size=1, max_size=8))
def test_immediates(values: list[int]) -> None:
    items: list[Item] = [SetImmediate(3 + number, value) for number, value in enumerate(values)]
    assert results(items, [3 + number for number in range(len(values))]) == [value % WORD for value in values]


@needs_unicorn
@settings(max_examples=30, deadline=None)
@given(st.integers(0, WORD - 1), st.integers(0, WORD - 1), st.integers(-(1 << 31), (1 << 31) - 1))
def test_arithmetic(a: int, b: int, value: int) -> None:
    items = [SetImmediate(3, a), SetImmediate(4, b), Move(5, 3), Add(5, 4), AddImmediate(6, 3, value), Move(7, 3)]
    items += [Multiply(7, 4), MultiplyImmediate(8, 3, value), MultiplyImmediate(9, 3, 64), AddImmediate(4, 4, value)]
    expected = [a, b + value, a + b, a + value, a * b, a * value, a * 64]
    assert results(items, [3, 4, 5, 6, 7, 8, 9]) == [each % WORD for each in expected]


@needs_unicorn
@pytest.mark.parametrize("value", [0, 1, -1, 4095, 4096, -4097, (1 << 24) - 1, 1 << 24, -(1 << 31), 0x123000])
def test_sums_with_constants_of_every_size(value: int) -> None:
    assert results([SetImmediate(3, 1000), AddImmediate(19, 3, value)], [19]) == [(1000 + value) % WORD]


@needs_unicorn
@pytest.mark.parametrize("disp", [0, 8, 4, -8, 255, -256, 256, 32760, 32768, 32764, 1 << 20])
def test_loads_and_stores_at_any_distance(disp: int) -> None:
    data = np.random.default_rng(0).integers(0, 256, (1 << 20) + 600, dtype=np.uint8)
    expected = [int.from_bytes(data[300 + disp :][:8].tobytes(), "little")]
    expected.append(int.from_bytes(data[300 + disp :][:4].tobytes(), "little", signed=True) % WORD)
    out = np.zeros(2, np.uint64)
    items = [
        LoadPointer(4, 0),
        LoadPointer(5, 0, 8),
        AddImmediate(4, 4, 300),
        Prefetch(4, disp),
        Prefetch(4, 0, Level.STREAM),
    ]
    items += [LoadPointer(6, 4, disp), LoadWord(7, 4, disp), StorePointer(6, 5), StorePointer(7, 5, 8)]
    run([*items, SetImmediate(6, 0x0102), StorePointer(6, 4, disp), Return()], data, out)
    assert out.tolist() == expected
    assert data[300 + disp :][:8].tolist() == [2, 1, 0, 0, 0, 0, 0, 0]


@needs_unicorn
@pytest.mark.parametrize(("left", "right"), [(1, 2), (2, 1), (2, 2), (-1, 1), (1, -1), (-(1 << 63), (1 << 63) - 1)])
def test_branches(left: int, right: int) -> None:
    items = [SetImmediate(3, left), SetImmediate(4, right), SetImmediate(5, 1), BranchIfLess(3, 4, "less")]
    items += [SetImmediate(5, 0), Label("less"), SetImmediate(6, 1), BranchIfZero(5, "zero"), SetImmediate(6, 0)]
    items += [Label("zero"), Branch("end"), SetImmediate(6, 7), Label("end")]
    assert results(items, [5, 6]) == [left < right, left >= right]


@needs_unicorn
def test_begin_and_end_are_the_second_and_third_pointer() -> None:
    out = np.zeros(2, np.int64)
    run([LoadPointer(0, 0), StorePointer(1, 0), StorePointer(2, 0, 8), Return()], out, begin=-3, end=1 << 40)
    assert out.tolist() == [-3, 1 << 40]


# ---- a loop of vector instructions


def dot_products(rows: int) -> list[Item]:
    """out[l] = sum over rows of a[row, l] * b[row, l], in v9, with many saved registers in use."""
    a, b, out, counter = 20, 21, 22, 23
    return [
        *(LoadPointer(pointer, 0, 8 * number) for number, pointer in enumerate((a, b, out))),
        MachineInstruction("movi_0", {"dst": 9}),
        SetImmediate(counter, rows),
        BranchIfZero(counter, "end"),
        Label("loop"),
        MachineInstruction("ldr_q", {"dst": 14, "src.base": a, "src.disp": 0}),
        MachineInstruction("ldr_q", {"dst": 31, "src.base": b, "src.disp": 0}),
        MachineInstruction("fmla_4s", {"acc": 9, "a": 14, "b": 31}),
        AddImmediate(a, a, 16),
        AddImmediate(b, b, 16),
        Loop(counter, "loop"),
        Label("end"),
        MachineInstruction("str_q", {"src": 9, "dst.base": out, "dst.disp": 0}),
        Return(),
    ]


@pytest.mark.parametrize("rows", [0, 1, 1000])
@pytest.mark.parametrize("machine", ["unicorn", "qemu"])
def test_loop(rows: int, machine: str) -> None:
    rng = np.random.default_rng(rows)
    a, b = (rng.integers(-9, 10, (rows + 1, 4)).astype(np.float32) for _ in range(2))
    a.flags.writeable = False
    out = np.full(4, np.nan, np.float32)
    code = assemble(dot_products(rows), NEON)
    if machine == "qemu":
        if not qemu.available():
            pytest.skip("needs qemu-aarch64 (Debian: qemu-user)")
        qemu.run(code, [a, b, out])
    else:
        pytest.importorskip("unicorn", reason="needs unicorn")
        counts = emulator.run(code, [a, b, out])
        assert (counts["fmla_4s"], counts["ldr_q"], counts["cbnz"]) == (rows, 2 * rows, rows)
    np.testing.assert_array_equal(out, (a[:rows] * b[:rows]).sum(0))


@needs_unicorn
def test_a_function_that_loses_a_saved_register_is_caught() -> None:
    spoiled = MachineInstruction("movi_0", {"dst": 8})
    code = Code(((NEON, spoiled), (control_instructions(), MachineInstruction("ret", {}))))
    with pytest.raises(UserError, match="does not keep 1 registers"):
        emulator.run(code, [])
    assert run([spoiled, Return()])["stp_d"] == 1
    assert "stp_d" not in run([MachineInstruction("movi_0", {"dst": 7}), Return()])
    group = [LoadPointer(3, 0), MachineInstruction("ld1_4", {"dst": 5, "src.base": 3}), Return()]
    assert run(group, np.zeros(16, np.float32))["stp_d"] == 1


@needs_unicorn
def test_the_frame_holds_words_and_vectors() -> None:
    out = np.zeros(6, np.uint64)
    items = [SetImmediate(3, 11), StorePointer(3, STACK, 8), SetImmediate(3, 12), LoadPointer(4, STACK, 8)]
    items += [LoadPointer(24, 0), StorePointer(4, 24), StorePointer(3, 24, 8)]
    items += [MachineInstruction("ldr_q", {"dst": 8, "src.base": 24, "src.disp": 0})]
    items += [MachineInstruction("str_q", {"src": 8, "dst.base": STACK, "dst.disp": 48})]
    items += [MachineInstruction("ldp_q", {"dst": 16, "src.base": STACK, "src.disp": 32})]
    items += [MachineInstruction("str_q", {"src": 17, "dst.base": 24, "dst.disp": 16}), LoadPointer(5, STACK, 8)]
    run([*items, StorePointer(5, 24, 32), Return()], out)
    assert out.tolist() == [11, 12, 11, 12, 11, 0]


@needs_unicorn
@pytest.mark.parametrize("disp", [0, 4, -4, 16, 65520, 65536, 66000, -300, 1 << 18])
@pytest.mark.parametrize("scale", [0, 1, 4, 8])
def test_vector_addresses_of_every_kind(disp: int, scale: int) -> None:
    data = np.random.default_rng(0).standard_normal(1 << 17).astype(np.float32)
    start, index = 400, 12
    first = (start + disp + index * scale) // 4
    out = np.zeros(8, np.float32)
    place = {"src.base": 3, "src.index": 5, "src.scale": scale, "src.disp": disp}
    items = [LoadPointer(3, 0), LoadPointer(4, 0, 8), AddImmediate(3, 3, start), SetImmediate(5, index)]
    items += [MachineInstruction("ldr_q", {"dst": 1, **place}), MachineInstruction("ld1r_4s", {"dst": 2, **place})]
    items += [MachineInstruction("stp_q", {"src": 1, "dst.base": 4}), Return()]
    counts = run(items, data, out)
    np.testing.assert_array_equal(out, [*data[first : first + 4], *[data[first]] * 4])
    if not scale and disp in (4, -4):
        assert counts["ldur_q"] == 1


# ---- errors and text


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([Branch("nowhere")], "there is no label 'nowhere'"),
        ([Label("a"), Label("a")], "label 'a' stands twice"),
        ([Move(26, 0)], "there is no pointer register 26; there are 26"),
        ([SetMask(1, 3, 4)], "AArch64 Advanced SIMD has no mask registers"),
        ([MachineInstruction("vaddps", {})], "'neon' has no instruction 'vaddps'"),
        (
            [MachineInstruction("ldr_q", {"src.base": 3, "src.index": 4, "src.scale": 3})],
            "scaled by 1, 2, 4 or 8, not 3",
        ),
        ([StorePointer(3, STACK, 1 << 21)], "bytes of stack"),
    ],
)
def test_wrong_programs(items: list[Item], message: str) -> None:
    with pytest.raises(IsaError, match=message):
        assemble([*items, Return()], NEON)


@needs_unicorn
def test_a_fault_names_the_instruction() -> None:
    with pytest.raises(UserError, match=r"emulating AArch64: .* at ldr_q src\.base=7"):
        run([SetImmediate(7, 8), MachineInstruction("ldr_q", {"dst": 0, "src.base": 7}), Return()])


def test_arrays_are_contiguous() -> None:
    code = assemble([Return()], NEON)
    if not emulator.missing():
        with pytest.raises(UserError, match="array 0 is not C-contiguous"):
            emulator.run(code, [np.zeros((4, 4))[:, ::2]])


def test_text() -> None:
    code = assemble(dot_products(10), NEON)
    lines = code.assembly().splitlines()
    assert len(lines) * 4 == len(code.code) == 4 * len(code.names)
    assert lines[:2] == ["sub sp, sp, #64", "stp x23, x24, [sp, #0]"]
    assert "fmla v9.4s, v14.4s, v31.4s" in lines
    assert lines[-1] == "ret"


def test_reserved_registers_are_no_pointers() -> None:
    assert not {16, 17, 18, 29, 30, 31} & set(aarch64_frame.POINTERS)
