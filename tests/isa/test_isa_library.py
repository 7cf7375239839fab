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
EXTERNAL = 1 << 17
ROUNDS = 6
DTYPES: dict[str, Any] = {
    "i8": np.int8,
    "u8": np.uint8,
    "i16": np.int16,
    "i32": np.int32,
    "i64": np.int64,
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
    return np.zeros_like(out)


def outer(c: Array, a: Array, b: Array) -> Array:
    return c + a @ b.T


def inner(c: Array, a: Array, b: Array) -> Array:
    return c + a @ b


def lanes(c: Array, a: Array, b: Array) -> Array:
    return c + (a * b).sum(axis=1)


def scaled(c: Array, a: Array, b: Array) -> Array:
    return c + a * b


def tiles(c: Array, a: Array, b: Array) -> Array:
    """Row k of the right tile holds the elements 4k.. (2k..) of the reduction of every column."""
    group = b.shape[2]
    right = np.stack([b[k, :, q] for k in range(16) for q in range(group)])
    return c + a.reshape(16, -1) @ right


def ones(out: Array) -> Array:
    return np.full_like(out, 0xFF)


ROWS = [
    Row("edge", "load_a", "a:a:i8:4,4 dram:dram:i8:4,4", copy),
    Row("edge", "load_b", "b:b:i8:4,4 dram:dram:i8:4,4", copy),
    Row("edge", "load_sums", "sums:sums:i32:4,4 dram:dram:i32:4,4", copy),
    Row("edge", "store_sums", "dram:dram:i32:4,4 sums:sums:i32:4,4", copy),
    Row("edge", "mma", "sums:sums:i32:4,4 a:a:i8:4,4 b:b:i8:4,4", outer),
    Row("edge", "clear", "sums:sums:i32:4,4", zero),
    Row("gemmini", "mvin", "sp:sp:i8:16,16 dram:dram:i8:16,16", copy),
    Row("gemmini", "mvin_acc", "acc:acc:i32:16,16 dram:dram:i32:16,16", copy),
    Row("gemmini", "mvout_acc", "dram:dram:i32:16,16 acc:acc:i32:16,16", copy),
    Row("gemmini", "preload", "pe:pe:i8:16,16 sp:sp:i8:16,16", copy),
    Row("gemmini", "matmul", "acc:acc:i32:16,16 a:sp:i8:16,16 w:pe:i8:16,16", inner),
    Row("gemmini", "clear", "acc:acc:i32:16,16", zero),
    Row("avx_vnni", "vpdpbusd_ymm_ymm_ymm", "acc:ymm:i32:8 a:ymm:u8:8,4 b:ymm:i8:8,4", lanes),
    Row("avx_vnni", "vpdpbusd_ymm_ymm_m256", "acc:ymm:i32:8 a:ymm:u8:8,4 b:dram:i8:8,4", lanes),
    Row("avx_vnni", "vpdpwssd_ymm_ymm_ymm", "acc:ymm:i32:8 a:ymm:i16:8,2 b:ymm:i16:8,2", lanes),
    Row("avx_vnni", "vpdpwssd_ymm_ymm_m256", "acc:ymm:i32:8 a:ymm:i16:8,2 b:dram:i16:8,2", lanes),
    Row("amx", "tdpbssd", "acc:tmm:i32:16,16 a:tmm:i8:16,16,4 b:tmm:i8:16,16,4", tiles),
    Row("amx", "tdpbsud", "acc:tmm:i32:16,16 a:tmm:i8:16,16,4 b:tmm:u8:16,16,4", tiles),
    Row("amx", "tdpbusd", "acc:tmm:i32:16,16 a:tmm:u8:16,16,4 b:tmm:i8:16,16,4", tiles),
    Row("amx", "tdpbuud", "acc:tmm:i32:16,16 a:tmm:u8:16,16,4 b:tmm:u8:16,16,4", tiles),
    Row("amx", "tdpbf16ps", "acc:tmm:f32:16,16 a:tmm:bf16:16,16,2 b:tmm:bf16:16,16,2", tiles),
    Row("amx", "tilezero", "dst:tmm:i32:16,16", zero),
    Row("rvv", "vfmacc_vf", "acc:v:f32:16 a:f:f32: b:v:f32:16", scaled),
    Row("rvv", "vfmacc_vv", "acc:v:f32:16 a:v:f32:16 b:v:f32:16", scaled),
    Row("rvv", "vmacc_vx", "acc:v:i32:16 a:x:i32: b:v:i32:16", scaled),
    Row("rvv", "vmacc_vv", "acc:v:i32:16 a:v:i32:16 b:v:i32:16", scaled),
    Row("rvv", "vwmacc_vx", "acc:v:i32:32 a:x:i16: b:v:i16:32", scaled),
    Row("rvv", "vwmacc_vv", "acc:v:i32:32 a:v:i16:32 b:v:i16:32", scaled),
    Row("rvv", "vle32", "dst:v:i32:16 src:dram:i32:16", copy),
    Row("rvv", "vle16", "dst:v:i16:32 src:dram:i16:32", copy),
    Row("rvv", "vse32", "dst:dram:i32:16 src:v:i32:16", copy),
    Row("rvv", "vmv_v_i_0", "dst:v:i32:16", zero),
    Row("rvv", "vfmv_v_f", "dst:v:f32:16 src:f:f32:", lambda c, a: c * 0 + a),
    Row("rvv", "flw", "dst:f:i32: src:dram:i32:", copy),
    Row("rvv", "lw", "dst:x:i64: src:dram:i32:", copy),
    Row("rvv", "lh", "dst:x:i64: src:dram:i16:", copy),
    Row("sme", "fmopa_s", "acc:za:f32:16,16 a:z:f32:16 b:z:f32:16", lambda c, a, b: c + np.outer(a, b)),
    Row("sme", "bfmopa_s", "acc:za:f32:16,16 a:z:bf16:16,2 b:z:bf16:16,2", outer),
    Row("sme", "smopa_s", "acc:za:i32:16,16 a:z:i8:16,4 b:z:i8:16,4", outer),
    Row("sme", "usmopa_s", "acc:za:i32:16,16 a:z:u8:16,4 b:z:i8:16,4", outer),
    Row("sme", "umopa_s", "acc:za:i32:16,16 a:z:u8:16,4 b:z:u8:16,4", outer),
    Row("sme", "ldr_z", "dst:z:i32:16 src:dram:i32:16", copy),
    Row("sme", "str_z", "dst:dram:i32:16 src:z:i32:16", copy),
    Row("sme", "load_tile", "dst:za:i32:16,16 src:dram:i32:16,16", copy),
    Row("sme", "store_tile", "dst:dram:i32:16,16 src:za:i32:16,16", copy),
    Row("sme", "zero_tile", "dst:za:i32:16,16", zero),
    Row("sme", "zero_za", "dst:za:i32:4,16,16", zero),
    Row("sme", "ptrue_p0", "dst:p:u8:8", ones),
    Row("mma_sync", "mma_m16n8k16_f16", "d:reg:f32:16,8 a:reg:f16:16,16 b:reg:f16:8,16", outer),
    Row("mma_sync", "mma_m16n8k16_bf16", "d:reg:f32:16,8 a:reg:bf16:16,16 b:reg:bf16:8,16", outer),
    Row("mma_sync", "mma_m16n8k32_s8", "d:reg:i32:16,8 a:reg:i8:16,32 b:reg:i8:8,32", outer),
    Row("mma_sync", "mma_m16n8k32_u8s8", "d:reg:i32:16,8 a:reg:u8:16,32 b:reg:i8:8,32", outer),
    Row("mma_sync", "ld_global", "dst:reg:i32:32 src:gmem:i32:32", copy),
    Row("mma_sync", "st_global", "dst:gmem:i32:32 src:reg:i32:32", copy),
    Row("mma_sync", "mov_zero", "dst:reg:i32:32", zero),
    Row("mfma", "v_mfma_f32_32x32x8f16", "d:vgpr:f32:32,32 a:vgpr:f16:32,8 b:vgpr:f16:32,8", outer),
    Row("mfma", "v_mfma_f32_32x32x8bf16_1k", "d:vgpr:f32:32,32 a:vgpr:bf16:32,8 b:vgpr:bf16:32,8", outer),
    Row("mfma", "v_mfma_i32_32x32x8i8", "d:vgpr:i32:32,32 a:vgpr:i8:32,8 b:vgpr:i8:32,8", outer),
    Row("mfma", "global_load_dword", "dst:vgpr:i32:64 src:gmem:i32:64", copy),
    Row("mfma", "global_store_dword", "dst:gmem:i32:64 src:vgpr:i32:64", copy),
    Row("mfma", "v_mov_b32_0", "dst:vgpr:i32:64", zero),
    Row("tpu", "matmul_i8", "acc:acc:i32:128,128 a:ub:i8:128,128 w:fifo:i8:128,128", inner),
    Row("tpu", "matmul_bf16", "acc:acc:f32:128,128 a:ub:bf16:128,128 w:fifo:bf16:128,128", inner),
    Row("tpu", "read_host", "ub:ub:i8:128,128 dram:dram:i8:128,128", copy),
    Row("tpu", "read_weights", "fifo:fifo:i8:128,128 dram:dram:i8:128,128", copy),
    Row("tpu", "write_sums", "dram:dram:i32:128,128 acc:acc:i32:128,128", copy),
    Row("tpu", "clear", "acc:acc:i32:128,128", zero),
]
TESTED_APART = {("amx", "tileloadd"), ("amx", "tileloaddt1"), ("amx", "tilestored")}
"""Strided rows: tests/isa/test_amx.py."""
SMALLER = {"tpu": {"ub_bytes": 1 << 16, "acc_bytes": 1 << 18}}
TARGETS = {name: isa.load(name, SMALLER.get(name)) for name in dict.fromkeys(row.target for row in ROWS)}


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
        entry = self.target.instructions[row.entry]
        behind_pointer = f"{place.name}.base" in entry.fields
        if not behind_pointer and place.name not in entry.fields:
            word = 0
        self.at[place.name] = word * memory.word_bytes
        if behind_pointer:
            self.point(place.name, memory.pointers, word)
        elif place.name in entry.fields:
            self.fields[place.name] = word
        self.view(place)[...] = values(place, self.random)

    def beside(self, one: Place, other: Place) -> bool:
        return one.name in self.at and one.memory == other.memory

    def point(self, name: str, registers: str, address: int) -> None:
        number = 8 + len(self.at)  # no register of another operand
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
    with np.errstate(all="ignore"):
        arrays = [machine.view(place).astype(kind) for place in machine.places]
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
        missing = [
            entry.name
            for entry in target.instructions.values()
            if entry.pattern and entry.name not in base and (name, entry.name) not in here | TESTED_APART
        ]
        assert not missing, f"{name}: {missing}"


@pytest.mark.parametrize("name", TARGETS)
def test_numbers_have_a_source(name: str) -> None:
    assert TARGETS[name].timings
    assert all(timing.source for timing in TARGETS[name].timings.values())
