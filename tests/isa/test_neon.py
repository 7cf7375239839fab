"""The Arm files: every entry's bits against binutils and capstone, its numbers against unicorn and qemu."""

import functools
import re
import shutil
import subprocess
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest

import isa
from dataflow.dtypes import numpy_dtype
from embed.cpu.assembler import aarch64
from embed.cpu.assembler.control import AddImmediate, Item, LoadPointer, Return, SetImmediate
from embed.cpu.runner import emulator, qemu
from isa import Isa, MachineInstruction, interpreter
from isa.model import FIELD, Instruction
from isa.syntax import text_of

Array = npt.NDArray[Any]

FILES = ("neon", "neon_fp16", "neon_dotprod", "neon_i8mm", "neon_bf16")
ISAS = {name: isa.load(name) for name in FILES}
ENTRIES = {entry: target for target in reversed(ISAS.values()) for entry in target.instructions}
ENTRIES.update(dict.fromkeys(ISAS["neon"].instructions, ISAS["neon"]))
MARCH = "-march=armv8.6-a+fp16+dotprod+i8mm+bf16"
CASES = 12
REGISTERS = 512
MEMORY, MIDDLE = 70_000, 1024
MEMORY_POINTER, FIRST_FREE = 5, 6
ROUNDED_TO_ODD = ("bfdot_4s", "bfdot_4s_by_element", "bfmmla")


def operands(entry: Instruction, rng: np.random.Generator) -> MachineInstruction:
    """A random instruction; no group of registers passes v31, no general register is 31."""
    assert entry.encoding is not None
    fields = {}
    for name in entry.fields:
        field = entry.encoding.fields[name]
        low, high = field.limits
        operand = entry.operands.get(name)
        if operand is not None and operand.memory == "v":
            high = min(high, 32 - operand.tensor.bytes // 16)
        elif name.endswith(".base") or (operand is not None and operand.memory == "x"):
            high = 30
        fields[name] = int(rng.integers(low // field.step, high // field.step, endpoint=True)) * field.step
    return MachineInstruction(entry.name, fields)


def examples(entry: str, count: int = CASES) -> list[MachineInstruction]:
    rng = np.random.default_rng(len(entry))
    return [operands(ENTRIES[entry].instructions[entry], rng) for _ in range(count)]


# ---- bits


def assembled(lines: list[str], folder: Path) -> bytes:
    """What binutils makes of these lines."""
    source, result, raw = folder / "a.s", folder / "a.o", folder / "a.bin"
    source.write_text("\n".join(lines) + "\n", encoding="ascii")
    subprocess.run(["aarch64-linux-gnu-as", MARCH, "-o", result, source], check=True)
    subprocess.run(["aarch64-linux-gnu-objcopy", "-O", "binary", "-j", ".text", result, raw], check=True)
    return raw.read_bytes()


@pytest.mark.skipif(not shutil.which("aarch64-linux-gnu-as"), reason="needs Debian's binutils-aarch64-linux-gnu")
def test_every_encoding_is_what_binutils_assembles(tmp_path: Path) -> None:
    cases = [(ENTRIES[name], case) for name in ENTRIES for case in examples(name)]
    found = assembled([text_of(target, case) for target, case in cases], tmp_path)
    for number, (target, case) in enumerate(cases):
        assert target.encode(case) == found[4 * number : 4 * number + 4], text_of(target, case)


@functools.cache
def disassembler() -> Any:
    capstone = pytest.importorskip("capstone", reason="needs capstone")
    return capstone.Cs(capstone.CS_ARCH_ARM64, capstone.CS_MODE_ARM)


def normal(text: str) -> str:
    """One spelling of the ways to write an instruction."""
    text = re.sub(r"([#\[]-?)0x([0-9a-f]+)", lambda match: f"{match[1]}{int(match[2], 16)}", text.lower())
    text = re.sub(r"\s+", " ", text).strip()
    text = text.replace(", #0]", "]").replace("#0000000000000000", "#0")
    text = re.sub(r"^mov (v\d+\.[sd]\[)", r"ins \1", text)
    text = re.sub(r"^([us])shll(2?) (.*), #0$", r"\1xtl\2 \3", text)
    return re.sub(r"^dup (.*), (v\d+)\.([bhsd])\[", r"dup \1, \2.\3[", text)


CAPSTONE_LACKS = {
    name for name, target in ENTRIES.items() if {"i8mm", "bf16"} & set(target.instructions[name].requires)
}


@pytest.mark.parametrize("name", [name for name in ENTRIES if name not in CAPSTONE_LACKS])
def test_every_encoding_reads_as_its_syntax(name: str) -> None:
    target = ENTRIES[name]
    for case in examples(name):
        (found,) = disassembler().disasm(target.encode(case), 0)
        assert normal(f"{found.mnemonic} {found.op_str}") == normal(text_of(target, case))


@pytest.mark.parametrize("name", ENTRIES)
def test_bits_decode_to_the_same_instruction(name: str) -> None:
    target = ENTRIES[name]
    for case in examples(name):
        assert target.decode(target.encode(case)) == case


# ---- numbers


SPECIAL = {
    "f32": np.array([0, -0.0, 1, -1, 3e38, -3e38, 1e-38, 1e-44, -1e-45, np.inf, -np.inf, np.nan, 2.5, 2.0**31, -3e9]),
    "f16": np.array([0, -0.0, 1, -1, 65504, -65504, 6.1e-5, 6e-8, -1e-6, np.inf, -np.inf, np.nan, 2049.0, 0.1]),
    "bf16": np.array([0, -0.0, 1, -1, 3e38, -3e38, 1e-38, 1e-39, np.inf, -np.inf, np.nan, 0.1]),
}
EXTREME = np.array([0x80, 0x7F, 0xFF, 0x00, 0x01], np.uint8)


def values(dtype: str, count: int, rng: np.random.Generator) -> Array:
    """Random and extreme numbers of a type."""
    kind = numpy_dtype(dtype)
    if dtype in SPECIAL:
        with np.errstate(over="ignore"):
            some = (rng.standard_normal(count) * 2.0 ** rng.integers(-12, 13, count)).astype(kind)
            return np.where(rng.random(count) < 0.3, rng.choice(SPECIAL[dtype], count).astype(kind), some)
    data = rng.integers(0, 256, count * kind.itemsize, dtype=np.uint8)
    extreme = np.repeat(rng.random(count) < 0.4, kind.itemsize)
    ends = np.stack([rng.choice(EXTREME[:3], count)] * kind.itemsize, 1)
    ends[:, :-1] = np.where(ends[:, -1:] == 0x80, 0, np.where(ends[:, -1:] == 0x7F, 0xFF, ends[:, -1:]))
    return np.where(extreme, ends.reshape(-1), data).view(kind)


def registers(entry: Instruction, case: MachineInstruction, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Contents of v0..v31: numbers of each operand's type where it lies, random bits elsewhere."""
    state = rng.integers(0, 256, REGISTERS, dtype=np.uint8)
    for operand in entry.operands.values():
        if operand.memory == "v":
            data = values(operand.tensor.dtype, operand.tensor.size, rng).view(np.uint8)
            state[16 * case[operand.name] :][: data.size] = data
    return state


class Trial:
    """Instances of one entry, each between loads of all vector registers and stores of them."""

    def __init__(self, name: str) -> None:
        self.target = ENTRIES[name]
        self.entry = self.target.instructions[name]
        self.rng = np.random.default_rng(len(name))
        self.cases = [self.placed(case) for case in examples(name)]
        self.before = np.stack([registers(self.entry, case, self.rng) for case in self.cases])
        self.memory = self.filled()
        self.general = self.rng.integers(0, 1 << 63, 32, dtype=np.uint64) * 2 + 1

    def placed(self, case: MachineInstruction) -> MachineInstruction:
        """The instruction with the memory's pointer as its base; other general registers are free ones."""
        fields = dict(case.fields)
        for name in fields:
            operand = self.entry.operands.get(name)
            if name.endswith(".base"):
                fields[name] = MEMORY_POINTER
            elif operand is not None and operand.memory == "x":
                fields[name] = FIRST_FREE + fields[name] % 8
        return MachineInstruction(case.name, fields)

    def filled(self) -> npt.NDArray[np.uint8]:
        return self.rng.integers(0, 256, MEMORY, dtype=np.uint8)

    def program(self) -> Iterator[Item]:
        for number in range(3):
            yield LoadPointer(3 + number, 0, 8 * number)
        yield AddImmediate(MEMORY_POINTER, MEMORY_POINTER, MIDDLE)
        for number in range(FIRST_FREE, FIRST_FREE + 8):
            yield SetImmediate(number, int(self.general[number]))
        places = range(0, 32, 2)
        for case in self.cases:
            yield from (MachineInstruction("ldp_q", {"dst": v, "src.base": 3, "src.disp": 16 * v}) for v in places)
            yield case
            yield from (MachineInstruction("stp_q", {"src": v, "dst.base": 4, "dst.disp": 16 * v}) for v in places)
            yield AddImmediate(3, 3, REGISTERS)
            yield AddImmediate(4, 4, REGISTERS)
        yield Return()

    def executed(self) -> tuple[Array, Array]:
        """Vector registers after each case, and the memory after all, as the machine leaves them."""
        code = aarch64.assemble(list(self.program()), self.target)
        after, memory = np.zeros_like(self.before), self.memory.copy()
        if emulator.MISSING & set(self.entry.requires):
            if not qemu.available():
                pytest.skip("needs qemu-aarch64 (Debian: qemu-user): unicorn lacks this instruction")
            qemu.run(code, [self.before, after, memory])
        else:
            pytest.importorskip("unicorn", reason="needs unicorn")
            counts = emulator.run(code, [self.before, after, memory])
            assert counts[self.entry.name] >= len(self.cases)
        return after, memory

    def interpreted(self) -> tuple[Array, Array]:
        """The same from the patterns."""
        memory, after = self.memory.copy(), []
        self.general[MEMORY_POINTER] = MIDDLE
        for case, before in zip(self.cases, self.before, strict=True):
            state = before.copy()
            interpreter.run(self.target, case, {"v": state, "x": self.general, "dram": memory})
            after.append(state)
        return np.stack(after), memory


def same(found: Array, expected: Array, entry: Instruction) -> Array:
    """Where bytes of registers agree: NaNs are alike, and so are the zeros that a minimum or maximum picks from."""
    equal = found == expected
    output = entry.output
    assert output is not None
    if output.tensor.dtype in SPECIAL:
        kind = numpy_dtype(output.tensor.dtype)
        left, right = found.view(kind), expected.view(kind)
        with np.errstate(invalid="ignore"):
            alike = np.isnan(left) & np.isnan(right)
        if entry.name.startswith(("fmin", "fmax")):
            alike |= (left == 0) & (right == 0)
        equal |= np.repeat(alike, kind.itemsize, axis=-1)
    return equal


@pytest.mark.parametrize("name", ENTRIES)
def test_every_entry_does_what_its_pattern_says(name: str) -> None:
    trial = Trial(name)
    if name in ("fcvtns_4s", "fcvtzs_4s"):
        for case, state in zip(trial.cases, trial.before, strict=True):
            lanes = state.view(np.float32)[4 * case["src"] :][:4]
            lanes[...] = np.nan_to_num(lanes, nan=-0.5, posinf=np.inf, neginf=-np.inf)
    (after, memory), (expected, expected_memory) = trial.executed(), trial.interpreted()
    wrong = np.flatnonzero(~same(after, expected, trial.entry).all(axis=1))
    assert not wrong.size, f"{trial.cases[wrong[0]]}\n{after[wrong[0]]}\n{expected[wrong[0]]}"
    np.testing.assert_array_equal(memory, expected_memory)


@pytest.mark.parametrize("name", ["fcvtns_4s", "fcvtzs_4s"])
def test_conversion_of_nan_is_zero(name: str) -> None:
    trial = Trial(name)
    trial.before.view(np.uint32)[...] = 0x7FC00000
    after, _ = trial.executed()
    for case, state in zip(trial.cases, after, strict=True):
        assert state.view(np.int32)[4 * case["dst"] :][:4].tolist() == [0] * 4


def round_to_odd(exact: Fraction) -> float:
    """The manual's BFRound: fp32, to odd, subnormal results zero, overflow infinite."""
    size = abs(exact)
    if size < Fraction(2) ** -126:
        return 0.0
    exponent = size.numerator.bit_length() - size.denominator.bit_length()
    exponent -= size < Fraction(2) ** exponent
    scaled = size / Fraction(2) ** (exponent - 23)
    whole = int(scaled) | (scaled.denominator != 1)
    if exponent > 127:
        return float("inf") if exact > 0 else float("-inf")
    return float((1 if exact > 0 else -1) * whole * Fraction(2) ** (exponent - 23))


def dot_add(total: float, pairs: list[tuple[float, float]]) -> float:
    """The manual's BFDotAdd on finite inputs."""
    first, second = (round_to_odd(flushed(a) * flushed(b)) for a, b in pairs)
    return add_to_odd(total, add_to_odd(first, second))


def add_to_odd(left: float, right: float) -> float:
    finite = np.isfinite(left) and np.isfinite(right)
    return round_to_odd(flushed(left) + flushed(right)) if finite else left + right


def flushed(value: float) -> Fraction:
    return Fraction(0) if abs(value) < 2.0**-126 else Fraction(value)


@pytest.mark.parametrize("name", ROUNDED_TO_ODD)
def test_bfloat16_sums_are_rounded_to_odd(name: str) -> None:
    """The manual's definition in exact arithmetic against the interpreter, and the bound that the file states."""
    target = ENTRIES[name]
    entry, rng = target.instructions[name], np.random.default_rng(5)
    count = next(iter(reversed(entry.index.values())))
    for scale in (0, 0, -65, -70, 63):
        state = np.zeros((32, 8), ml_dtypes.bfloat16)
        state[2:4] = (rng.standard_normal((2, 8)) * 2.0 ** rng.integers(-9, 10, (2, 8)) * 2.0**scale).astype(
            state.dtype
        )
        sums = state.view(np.float32)[1]
        sums[:] = rng.standard_normal(4) * 2.0 ** rng.integers(-20, 21, 4) * 2.0 ** min(2 * scale, 100)
        a, b = (state[register].astype(np.float64).reshape(-1, count) for register in (2, 3))
        rows = [
            (lane // 2, lane % 2) if "i" in entry.index else (lane, 1 if entry.choice else lane) for lane in range(4)
        ]
        pairs = [list(zip(a[left], b[right], strict=True)) for left, right in rows]
        expected = [by_pairs(float(total), terms) for total, terms in zip(sums, pairs, strict=True)]
        sizes = [abs(float(t)) + sum(abs(x * y) for x, y in terms) for t, terms in zip(sums, pairs, strict=True)]
        exact = [float(t) + sum(x * y for x, y in terms) for t, terms in zip(sums, pairs, strict=True)]
        fields = {"acc": 1, "a": 2, "b": 3, **({"lane": 1} if entry.choice else {})}
        interpreter.run(target, MachineInstruction(name, fields), {"v": state})
        np.testing.assert_array_equal(sums, np.array(expected, np.float32))
        for found, wanted, size in zip(expected, exact, sizes, strict=True):
            assert not np.isfinite(found) or abs(found - wanted) <= count * 2.0**-23 * size + 2 * count * 2.0**-126


def by_pairs(total: float, terms: list[tuple[float, float]]) -> float:
    for first in range(0, len(terms), 2):
        total = dot_add(total, terms[first : first + 2])
    return total


# ---- what the files say


def test_each_file_adds_to_neon() -> None:
    base = set(ISAS["neon"].instructions)
    for name, target in ISAS.items():
        assert base <= set(target.instructions), name
        assert all(entry.syntax and entry.requires and entry.doc for entry in target.instructions.values())


def test_multiplier_by_half_word_element_is_one_of_sixteen_registers() -> None:
    encoding = ISAS["neon_fp16"].instructions["fmla_8h_by_element"].encoding
    assert encoding is not None
    assert encoding.fields["b"].limits == (0, 15)


def test_pair_loads_take_consecutive_registers() -> None:
    target = ISAS["neon"]
    with pytest.raises(isa.IsaError, match=r"dst = 31 does not fit"):
        target.encode(MachineInstruction("ldp_q", {"dst": 31}))
    with pytest.raises(isa.IsaError, match=r"src.disp = 8 does not fit .* in steps of 16"):
        target.encode(MachineInstruction("ldp_q", {"src.disp": 8}))
    other = int.from_bytes(target.encode(MachineInstruction("ldp_q", {"dst": 2})), "little") ^ 1 << 10
    with pytest.raises(isa.IsaError, match="is no instruction of 'neon'"):
        target.decode(other.to_bytes(4, "little"))


def fields_of(target: Isa) -> set[str]:
    return {where.memory for entry in target.instructions.values() for where in entry.operands.values()}


def test_operands_are_in_vector_registers_memory_fields_and_general_registers() -> None:
    assert fields_of(ISAS["neon"]) == {"v", "dram", "x", FIELD}
