"""Every x86 entry runs on this CPU as its own pattern says, on random and on extreme values."""

from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest

import isa
from dataflow.dtypes import bits, is_integer, limits, numpy_dtype
from dataflow.expression import Apply, Cast, walk
from embed.cpu.assembler.control import Item, LoadPointer, Return, SetImmediate, SetMask
from embed.cpu.assembler.x86 import assemble
from embed.cpu.runner.native import NativeFunction, pointers
from embed.physical import aligned_zeros
from isa import Isa, MachineInstruction
from isa.interpreter import run
from isa.model import Instruction, Operand

Array = npt.NDArray[Any]
BASES = {"avx512": "", "avx512_vnni": "avx512", "avx512_bf16": "avx512", "avx2": "", "avx_vnni": "avx2"}
TARGETS = {name: isa.load(name) for name in BASES}
ENTRIES = [
    (name, entry)
    for name, target in TARGETS.items()
    for entry in target.instructions
    if target.instructions[entry].form and (not BASES[name] or entry not in TARGETS[BASES[name]].instructions)
]
DRAM_BYTES, VECTORS, PLACE = 1024, 16, 256
LOADS = {"zmm": ("vmovups_zmm_m512", "vmovups_m512_zmm"), "ymm": ("vmovups_ymm_m256", "vmovups_m256_ymm")}
STATE, DRAM, BASE, SCRATCH, GENERAL = 3, 4, 5, 6, 7
ROUNDS = 24


def runs_here(target: Isa, entry: Instruction) -> None:
    """Skip the test if the CPU lacks what the entry, or moving its registers, needs."""
    moves = [name for names in LOADS.values() for name in names if name in target.instructions]
    missing = target.missing_features([entry.name, *moves])
    if missing:
        pytest.skip(f"this CPU lacks {', '.join(missing)}")


def extremes(dtype: str) -> Array:
    """Values at which arithmetic goes wrong if it does."""
    kind = numpy_dtype(dtype)
    if is_integer(dtype):
        low, high = limits(dtype)
        return np.array([low, low + 1, -1 if low else 1, 0, 1, high - 1, high], kind)
    info = ml_dtypes.finfo(kind)
    tiny, small = float(info.smallest_normal), float(info.smallest_subnormal)
    numbers = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, tiny, -tiny, small, -small, 0.75 * tiny]
    return np.array([*numbers, float(info.max), float(info.min), float(info.eps)], np.float64).astype(kind)


def values(dtype: str, count: int, generator: np.random.Generator) -> Array:
    """A mixture of random values of all sizes, of ordinary ones, and of extremes."""
    kind = numpy_dtype(dtype)
    noise = generator.integers(0, 256, count * kind.itemsize, np.uint8).view(kind)
    plain = generator.normal(scale=100, size=count).astype(kind) if not is_integer(dtype) else noise
    edge = generator.choice(extremes(dtype), count)
    return np.select([generator.integers(0, 3, count) == choice for choice in (0, 1)], [noise, plain], edge).astype(
        kind
    )


def tamed(entry: Instruction, operand: Operand, found: Array) -> Array:
    """Leave out what the entry's doc says the pattern leaves open."""
    assert entry.pattern is not None
    body = list(walk(entry.pattern.body))
    dtype = operand.tensor.dtype
    if not is_integer(dtype) and any(isinstance(node, Apply) and node.operation in ("min", "max") for node in body):
        return np.where(np.isnan(found) | (found == 0), 1, found).astype(found.dtype)
    if dtype == "f32" and any(isinstance(node, Cast) and is_integer(node.dtype) for node in body):
        return np.clip(np.nan_to_num(found), -(2.0**31), 2.0**31 - 256).astype(found.dtype)
    if operand.name == "count":
        return np.abs(found.astype(np.int64) % 48).astype(found.dtype)
    return found


class Case:
    """One instruction with random registers and memory, for the CPU and for the interpreter."""

    def __init__(self, target: Isa, entry: Instruction, generator: np.random.Generator) -> None:
        self.target, self.entry, self.generator = target, entry, generator
        self.file = next(name for name in LOADS if name in target.memories)
        width = target.memories[self.file].word_bytes
        self.dram = generator.integers(0, 256, DRAM_BYTES, np.uint8)
        self.vectors = generator.integers(0, 256, (VECTORS, width), np.uint8)
        self.masks = generator.integers(0, 256, (8, 8), np.uint8)
        self.general = np.zeros((16, 8), np.uint8)
        self.fields: dict[str, int] = {}
        self.registers = iter(generator.permutation(VECTORS).tolist())
        for operand in entry.operands.values():
            self.fill(operand)
        if entry.mask:
            self.fill_mask(entry.mask.operand)

    def fill(self, operand: Operand) -> None:
        """Choose a place for an operand and write values into it."""
        tensor, name = operand.tensor, operand.name
        data = tamed(self.entry, operand, values(tensor.dtype, tensor.size, self.generator))
        raw = np.ascontiguousarray(data).view(np.uint8)
        if operand.memory == "field":
            self.fields[name] = int(self.generator.integers(0, 256) if self.generator.random() < 0.3 else data[0])
        elif operand.pointers:
            step = tensor.bytes if self.entry.caches else 1
            disp = int(self.generator.integers(0, 512)) // step * step - PLACE
            self.fields |= {f"{name}.base": BASE, f"{name}.disp": disp}
            start = PLACE + self.fields[f"{name}.disp"]
            self.dram[start : start + raw.size] = raw
        elif operand.memory == "r64":
            self.fields[name] = GENERAL
            self.general[GENERAL, : raw.size] = raw
        else:
            self.fields[name] = next(self.registers) if operand.memory != "k" else 2
            if operand.memory != "k":
                self.vectors[self.fields[name], : raw.size] = raw

    def fill_mask(self, mask: Operand) -> None:
        self.fields["k"] = next(self.registers) if mask.memory == self.file else 1
        if mask.memory == "k" and self.generator.random() < 0.3:
            self.masks[1] = self.generator.choice([0, 255])

    @property
    def instruction(self) -> MachineInstruction:
        return MachineInstruction(self.entry.name, self.fields)

    def interpreted(self) -> dict[str, Array]:
        """The memories after the interpreter ran the pattern."""
        general = self.general.copy()
        general[BASE] = np.array([PLACE], np.int64).view(np.uint8)
        every = self.target.memories[self.file].count or 0
        vectors = np.zeros((every, self.vectors.shape[1]), np.uint8)
        vectors[:VECTORS] = self.vectors
        memories = {"dram": self.dram.copy(), self.file: vectors, "k": self.masks.copy(), "r64": general}
        run(self.target, self.instruction, memories)
        return {"dram": memories["dram"], "vectors": vectors[:VECTORS], "k": memories["k"]}

    def executed(self) -> dict[str, Array]:
        """The memories after the CPU ran the bytes."""
        dram, vectors = aligned_zeros(DRAM_BYTES, self.dram.dtype), self.vectors.copy()
        dram[...] = self.dram
        function = NativeFunction(assemble(list(self.program()), self.target).code)
        function(pointers([vectors.ctypes.data, dram.ctypes.data]), 0, 0)
        return {"dram": dram, "vectors": vectors, "k": self.masks}

    def program(self) -> Iterator[Item]:
        load, store = LOADS[self.file]
        width = self.vectors.shape[1]
        yield LoadPointer(STATE, 0, 0)
        yield LoadPointer(DRAM, 0, 8)
        for number in range(VECTORS):
            yield MachineInstruction(load, {"dst": number, "src.base": STATE, "src.disp": number * width})
        if "k" in self.target.memories:
            yield SetMask(1, int(self.masks[1].view(np.uint64)[0]), SCRATCH)
        yield SetImmediate(GENERAL, int(self.general[GENERAL].view(np.uint64)[0]))
        yield SetImmediate(SCRATCH, 1)
        placed = {name: DRAM if name.endswith(".base") else value for name, value in self.fields.items()}
        yield MachineInstruction(
            self.entry.name,
            {name: value + PLACE if name.endswith(".disp") else value for name, value in placed.items()},
        )
        for number in range(VECTORS):
            yield MachineInstruction(store, {"src": number, "dst.base": STATE, "dst.disp": number * width})
        yield Return()


def same(entry: Instruction, left: Array, right: Array) -> bool:
    """Whether bytes agree; the payload of a NaN that the output may hold is not compared."""
    assert entry.output is not None
    if (left == right).all():
        return True
    dtype = entry.output.tensor.dtype
    if is_integer(dtype):
        return False
    a, b = (np.ascontiguousarray(side).view(numpy_dtype(dtype)) for side in (left, right))
    apart = np.ascontiguousarray(left != right).reshape(-1, bits(dtype) // 8).any(axis=1)
    return bool((np.isnan(a.reshape(-1)[apart]) & np.isnan(b.reshape(-1)[apart])).all())


@pytest.mark.parametrize(("target", "name"), [(target, name) for target, name in ENTRIES if "kmov" not in name])
def test_the_cpu_does_what_the_pattern_says(target: str, name: str) -> None:
    entry = TARGETS[target].instructions[name]
    runs_here(TARGETS[target], entry)
    generator = np.random.default_rng([ord(letter) for letter in name])
    for _ in range(ROUNDS):
        case = Case(TARGETS[target], entry, generator)
        expected, found = case.interpreted(), case.executed()
        for memory, content in expected.items():
            if not same(entry, found[memory], content):
                pytest.fail(f"{case.instruction}: {memory} differs\n{differences(entry, case, found[memory], content)}")


def differences(entry: Instruction, case: Case, found: Array, expected: Array) -> str:
    assert entry.output is not None
    kind = numpy_dtype(entry.output.tensor.dtype)
    if found.ndim == 1:
        return f"bytes {np.flatnonzero(found != expected)}"
    row = int(np.flatnonzero((found != expected).any(axis=1))[0])
    return f"register {row}: got {found[row].view(kind)}\nexpected {expected[row].view(kind)}\nfields {case.fields}"
