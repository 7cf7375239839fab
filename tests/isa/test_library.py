"""Every entry of the accelerator files runs in the interpreter as numpy, written here by hand, says it should."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest

import isa
from isa import MachineInstruction, interpreter

Array = npt.NDArray[Any]
Answer = Callable[..., Array]
EXTERNAL = 1 << 16
ROUNDS = 6
DTYPES: dict[str, Any] = {
    "i8": np.int8,
    "u8": np.uint8,
    "i16": np.int16,
    "i32": np.int32,
    "f16": np.float16,
    "bf16": ml_dtypes.bfloat16,
    "f32": np.float32,
}
EPSILON = {"f16": 2.0**-11, "bf16": 2.0**-8, "f32": 2.0**-24}


@dataclass(frozen=True)
class Row:
    """One entry: its operands `name:memory:dtype:shape`, the output first, and the answer from arrays in that order.

    The arrays are int64 or float64; the answer is that of exact arithmetic.
    """

    target: str
    entry: str
    operands: str
    answer: Answer

    def __str__(self) -> str:
        return f"{self.target}-{self.entry}"


def copy(_: Array, source: Array) -> Array:
    return source


def zero(out: Array) -> Array:
    return 0 * np.nan_to_num(out)


ROWS = [
    Row("edge", "load_a", "a:a:i8:4,4 dram:dram:i8:4,4", copy),
    Row("edge", "load_b", "b:b:i8:4,4 dram:dram:i8:4,4", copy),
    Row("edge", "load_sums", "sums:sums:i32:4,4 dram:dram:i32:4,4", copy),
    Row("edge", "store_sums", "dram:dram:i32:4,4 sums:sums:i32:4,4", copy),
    Row("edge", "mma", "sums:sums:i32:4,4 a:a:i8:4,4 b:b:i8:4,4", lambda c, a, b: c + a @ b.T),
    Row("edge", "clear", "sums:sums:i32:4,4", zero),
    Row("gemmini", "mvin", "sp:sp:i8:16,16 dram:dram:i8:16,16", copy),
    Row("gemmini", "mvin_acc", "acc:acc:i32:16,16 dram:dram:i32:16,16", copy),
    Row("gemmini", "mvout_acc", "dram:dram:i32:16,16 acc:acc:i32:16,16", copy),
    Row("gemmini", "preload", "pe:pe:i8:16,16 sp:sp:i8:16,16", copy),
    Row("gemmini", "matmul", "acc:acc:i32:16,16 a:sp:i8:16,16 w:pe:i8:16,16", lambda c, a, b: c + a @ b),
    Row("gemmini", "clear", "acc:acc:i32:16,16", zero),
    Row(
        "avx_vnni",
        "vpdpbusd_ymm_ymm_ymm",
        "acc:ymm:i32:8 a:ymm:u8:8,4 b:ymm:i8:8,4",
        lambda c, a, b: c + (a * b).sum(axis=1),
    ),
    Row(
        "avx_vnni",
        "vpdpbusd_ymm_ymm_m256",
        "acc:ymm:i32:8 a:ymm:u8:8,4 b:dram:i8:8,4",
        lambda c, a, b: c + (a * b).sum(axis=1),
    ),
    Row(
        "avx_vnni",
        "vpdpwssd_ymm_ymm_ymm",
        "acc:ymm:i32:8 a:ymm:i16:8,2 b:ymm:i16:8,2",
        lambda c, a, b: c + (a * b).sum(axis=1),
    ),
    Row(
        "avx_vnni",
        "vpdpwssd_ymm_ymm_m256",
        "acc:ymm:i32:8 a:ymm:i16:8,2 b:dram:i16:8,2",
        lambda c, a, b: c + (a * b).sum(axis=1),
    ),
]
TARGETS = {name: isa.load(name) for name in dict.fromkeys(row.target for row in ROWS)}


@dataclass(frozen=True)
class Place:
    """Where one operand lies, found without the file's word on types and shapes."""

    name: str
    memory: str
    dtype: str
    shape: tuple[int, ...]

    @classmethod
    def of(cls, text: str) -> "Place":
        name, memory, dtype, shape = text.split(":")
        return cls(name, memory, dtype, tuple(int(size) for size in shape.split(",") if size))

    @property
    def bytes(self) -> int:
        return int(np.prod(self.shape, dtype=int)) * np.dtype(DTYPES[self.dtype]).itemsize


class Machine:
    """Memories with random contents, and a place for each operand of a row, none of them overlapping."""

    def __init__(self, row: Row, seed: int) -> None:
        self.random = np.random.default_rng([zlib.crc32(str(row).encode()), seed])
        self.target = TARGETS[row.target]
        external = {name: EXTERNAL for name, memory in self.target.memories.items() if memory.count is None}
        self.memories: dict[str, Array] = dict(interpreter.allocate(self.target, external))
        for array in self.memories.values():
            array[...] = self.random.integers(0, 256, array.shape, np.uint8)
        self.places = [Place.of(text) for text in row.operands.split()]
        self.fields: dict[str, int] = {}
        self.at: dict[str, int] = {}
        for place in self.places:
            self.put(row, place)

    def put(self, row: Row, place: Place) -> None:
        """Choose a place for an operand behind those before it, and fill it with extremes here and there."""
        memory = self.target.memories[place.memory]
        words = -(-place.bytes // memory.word_bytes)
        before = [self.at[p.name] // memory.word_bytes + words for p in self.places if self.beside(p, place)]
        most = self.memories[place.memory].size // memory.word_bytes - words
        word = int(self.random.integers(max(before, default=0), max(before, default=0) + 2))
        word = min(word, most)
        self.at[place.name] = word * memory.word_bytes
        entry = self.target.instructions[row.entry]
        if f"{place.name}.base" in entry.fields:
            self.point(place.name, memory.pointers, word)
        elif place.name in entry.fields:
            self.fields[place.name] = word
        self.view(place)[...] = values(place, self.random)

    def beside(self, one: Place, other: Place) -> bool:
        return one.name in self.at and one.memory == other.memory

    def point(self, name: str, registers: str, address: int) -> None:
        number = 8 + len(self.at)
        self.fields[f"{name}.base"] = number
        word = self.target.memories[registers].word_bytes
        self.memories[registers].reshape(-1, word)[number] = np.frombuffer(address.to_bytes(word, "little"), np.uint8)

    def view(self, place: Place) -> Array:
        data = self.memories[place.memory].reshape(-1)[self.at[place.name] :][: place.bytes]
        return data.view(DTYPES[place.dtype]).reshape(place.shape)


def values(place: Place, random: np.random.Generator) -> Array:
    """Random bits of any kind, plain numbers, and extremes."""
    kind, shape = np.dtype(DTYPES[place.dtype]), place.shape
    if place.dtype not in EPSILON:
        low, high = np.iinfo(kind).min, np.iinfo(kind).max
        noise = random.integers(low, high, shape, endpoint=True)
        return np.where(random.integers(0, 2, shape), noise, random.choice([low, high, -1 % high, 0, 1], shape))
    info = ml_dtypes.finfo(kind)
    large = float(info.max) if random.integers(0, 2) else 1.0
    edges = [0.0, -0.0, 1.0, -1.0, large, -large, float(info.smallest_normal), float(info.eps)]
    if random.integers(0, 3) == 0:
        edges += [np.inf, -np.inf, np.nan]
    plain = random.normal(scale=10, size=shape)
    return np.where(random.integers(0, 4, shape), plain, random.choice(edges, shape))


def close(found: Array, exact: Array, scale: Array, dtype: str) -> bool:
    """Whether a result is what rounding after each of some hundred sums may give; infinities where they must be."""
    largest = float(ml_dtypes.finfo(DTYPES[dtype]).max)
    sure = np.isfinite(exact) & (scale < largest / 2)
    error = np.abs(found[sure].astype(np.float64) - exact[sure])
    tiny = float(ml_dtypes.finfo(DTYPES[dtype]).smallest_normal)
    nans = np.isnan(found.astype(np.float64)) == np.isnan(exact)
    return bool(
        (error <= 600 * EPSILON[dtype] * scale[sure] + 4 * tiny).all() and (nans | (scale >= largest / 2)).all()
    )


@pytest.mark.parametrize("row", ROWS, ids=str)
@pytest.mark.parametrize("seed", range(ROUNDS))
def test_entry_against_numpy(row: Row, seed: int) -> None:
    machine = Machine(row, seed)
    out = machine.places[0]
    kind = np.float64 if out.dtype in EPSILON else np.int64
    arrays = [machine.view(place).astype(kind) for place in machine.places]
    with np.errstate(all="ignore"):
        expected = row.answer(*arrays)
        sizes = row.answer(*(np.abs(array) for array in arrays))
    untouched = {name: array.copy() for name, array in machine.memories.items()}
    interpreter.run(machine.target, MachineInstruction(row.entry, machine.fields), machine.memories)
    found = machine.view(out).copy()
    if kind is np.int64:
        np.testing.assert_array_equal(found, expected.astype(DTYPES[out.dtype]))
    else:
        assert close(found, expected, np.nan_to_num(sizes, nan=np.inf), out.dtype)
    machine.view(out)[...] = 0
    restored = machine.memories[out.memory].copy()
    machine.memories[out.memory][...] = untouched[out.memory]
    machine.view(out)[...] = 0
    np.testing.assert_array_equal(restored, machine.memories[out.memory])


def test_every_entry_has_a_row() -> None:
    here = {(row.target, row.entry) for row in ROWS}
    for name, target in TARGETS.items():
        base = isa.load("avx2").instructions if name == "avx_vnni" else {}
        missing = [entry for entry in target.instructions if entry not in base and (name, entry) not in here]
        assert not missing, f"{name}: {missing}"


@pytest.mark.parametrize("name", TARGETS)
def test_numbers_have_a_source(name: str) -> None:
    assert TARGETS[name].timings
    assert all(timing.source for timing in TARGETS[name].timings.values())
