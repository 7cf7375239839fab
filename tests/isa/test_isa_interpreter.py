"""The interpreter, which knows only the ISA file, against VTA's semantics written out in numpy."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import isa
from isa import IsaError, MachineInstruction, interpreter, loads

MIXED = loads((Path(__file__).parent / "files" / "mixed.toml").read_text(encoding="utf-8"))
SHAPES = [(1, 16, 16), (1, 32, 32), (1, 64, 64), (4, 16, 16), (16, 16, 16)]
TARGETS = {
    shape: isa.load("vta", dict(zip(("batch", "block_in", "block_out"), shape, strict=True))) for shape in SHAPES
}
VTA = TARGETS[1, 16, 16]
ELEMENT = {"uop": "u4", "inp": "i1", "wgt": "i1", "acc": "i4", "acc8": "i1"}
EXTREMES = np.array([-(1 << 31), (1 << 31) - 1, -1, 0, 1, 127, -128, 255, 256, 65536], np.int64)
ALU: dict[str, Callable[[npt.NDArray[np.int64], npt.NDArray[np.int64]], npt.NDArray[np.int64]]] = {
    "min": np.minimum,
    "max": np.maximum,
    "add": lambda x, y: x + y,
    "mul": lambda x, y: x * y,
    "shr": lambda x, y: np.where(y >= 0, x >> np.clip(y, 0, 63), np.where(y < -31, 0, x << np.clip(-y, 0, 31))),
}

Memories = dict[str, npt.NDArray[np.uint8]]


def filled(target: isa.Isa, seed: int, external: int = 65536) -> Memories:
    """Memories with random bytes; every fourth accumulator is an extreme value."""
    random = np.random.default_rng(seed)
    memories = interpreter.allocate(target, {"dram": external})
    for array in memories.values():
        array[...] = random.integers(0, 256, array.shape, np.uint8)
    acc = memories["acc"].view(np.int32).reshape(-1)
    acc[::4] = random.choice(EXTREMES, acc[::4].shape)
    return memories


def loop_fields(data: st.DataObject, uops: int) -> dict[str, int]:
    factor = st.integers(0, 5)
    names = ("dst_factor_out", "dst_factor_in", "src_factor_out", "src_factor_in")
    fields = {name: data.draw(factor) for name in names}
    begin = data.draw(st.integers(0, 6))
    loops = {"iter_out": data.draw(st.integers(0, 3)), "iter_in": data.draw(st.integers(0, 3))}
    return {**fields, **loops, "uop_bgn": begin, "uop_end": begin + uops}


def trips(target: isa.Isa, fields: dict[str, int], memories: Memories) -> list[tuple[int, int, int]]:
    """(dst, src, wgt) of every trip, in order; micro-ops are small so that every index is inside."""
    words = memories["uop"].view(np.uint32).reshape(-1)
    widths = [int(target.memories[name].count or 0).bit_length() - 1 for name in ("acc", "inp", "wgt")]
    found = []
    for i in range(fields["iter_out"]):
        for j in range(fields["iter_in"]):
            for u in range(fields["uop_bgn"], fields["uop_end"]):
                word, indices = int(words[u]), []
                for operand, width in zip(("dst", "src", "wgt"), widths, strict=True):
                    index, word = word & ((1 << width) - 1), word >> width
                    steps = i * fields.get(f"{operand}_factor_out", 0) + j * fields.get(f"{operand}_factor_in", 0)
                    indices.append(index + steps)
                found.append((indices[0], indices[1], indices[2]))
    return found


def write_uops(target: isa.Isa, data: st.DataObject, begin: int, count: int, memories: Memories) -> None:
    words = memories["uop"].view(np.uint32).reshape(-1)
    for at in range(begin, begin + count):
        values = {name: data.draw(st.integers(0, 9)) for name in ("dst", "src", "wgt")}
        words[at] = target.encode_format("uop", values)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", ["uop", "inp", "wgt", "acc", "acc8"])
@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_load(kind: str, shape: tuple[int, int, int], data: st.DataObject) -> None:
    target = TARGETS[shape]
    small = st.integers(0, 3)
    fields = {name: data.draw(small) for name in ("y_pad_0", "y_pad_1", "x_pad_0", "x_pad_1", "x_size")}
    fields |= {"y_size": data.draw(st.integers(1, 3)), "x_stride": data.draw(small), "dram_base": data.draw(small)}
    fields["sram_base"] = data.draw(st.integers(0, 3))
    memory = kind.removesuffix("8")
    memories = filled(target, data.draw(st.integers(0, 9)), 1 << 17)
    expected = {name: array.copy() for name, array in memories.items()}
    per_word = {"uop": 1, "inp": shape[0] * shape[1], "wgt": shape[1] * shape[2]}.get(memory, shape[0] * shape[2])
    source = memories["dram"].view(ELEMENT[kind])
    source = source[: source.size // per_word * per_word].reshape(-1, per_word)
    rows = [source[fields["dram_base"] + y * fields["x_stride"] :][: fields["x_size"]] for y in range(fields["y_size"])]
    pads = ((fields["y_pad_0"], fields["y_pad_1"]), (fields["x_pad_0"], fields["x_pad_1"]), (0, 0))
    image = np.pad(np.stack(rows), pads).astype(ELEMENT[memory]).reshape(-1, per_word)
    assume(fields["sram_base"] + len(image) <= (target.memories[memory].count or 0))
    if fields["x_size"]:
        view = expected[memory].view(ELEMENT[memory]).reshape(-1, per_word)
        view[fields["sram_base"] : fields["sram_base"] + len(image)] = image
    interpreter.run(target, MachineInstruction(f"load_{kind}", fields), memories)
    assert_same(memories, expected)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_store(shape: tuple[int, int, int], data: st.DataObject) -> None:
    target = TARGETS[shape]
    small = st.integers(0, 4)
    fields = {name: data.draw(small) for name in ("sram_base", "dram_base", "y_size", "x_size", "x_stride")}
    memories = filled(target, data.draw(st.integers(0, 9)))
    expected = {name: array.copy() for name, array in memories.items()}
    per_word = shape[0] * shape[2]
    acc = memories["acc"].view(np.int32).reshape(-1, per_word)
    out = expected["dram"].reshape(-1, per_word)
    for y in range(fields["y_size"]):
        for x in range(fields["x_size"]):
            value = acc[fields["sram_base"] + y * fields["x_size"] + x]
            out[fields["dram_base"] + y * fields["x_stride"] + x] = value.astype(np.uint8)
    interpreter.run(target, MachineInstruction("store", fields), memories)
    assert_same(memories, expected)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", ["gemm", "gemm_reset"])
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_gemm(name: str, shape: tuple[int, int, int], data: st.DataObject) -> None:
    target, (batch, block_in, block_out) = TARGETS[shape], shape
    fields = loop_fields(data, data.draw(st.integers(0, 3)))
    fields |= {"wgt_factor_out": data.draw(st.integers(0, 4)), "wgt_factor_in": data.draw(st.integers(0, 4))}
    memories = filled(target, data.draw(st.integers(0, 9)))
    write_uops(target, data, fields["uop_bgn"], fields["uop_end"] - fields["uop_bgn"], memories)
    memories["inp"][::2] = 128
    memories["wgt"][::2] = 128
    expected = {key: array.copy() for key, array in memories.items()}
    acc = expected["acc"].view(np.int32).reshape(-1, batch, block_out)
    inp = expected["inp"].view(np.int8).reshape(-1, batch, block_in).astype(np.int64)
    wgt = expected["wgt"].view(np.int8).reshape(-1, block_out, block_in).astype(np.int64)
    for dst, src, weight in trips(target, fields, memories):
        acc[dst] = 0 if name == "gemm_reset" else (acc[dst] + inp[src] @ wgt[weight].T).astype(np.int32)
    interpreter.run(target, MachineInstruction(name, fields), memories)
    assert_same(memories, expected)


@pytest.mark.parametrize("form", ["imm", "reg"])
@pytest.mark.parametrize("operation", sorted(ALU))
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_alu(operation: str, form: str, data: st.DataObject) -> None:
    target = TARGETS[data.draw(st.sampled_from(SHAPES))]
    fields = loop_fields(data, data.draw(st.integers(0, 3)))
    fields["imm"] = data.draw(st.integers(-40, 40) | st.integers(-32768, 32767))
    memories = filled(target, data.draw(st.integers(0, 9)))
    write_uops(target, data, fields["uop_bgn"], fields["uop_end"] - fields["uop_bgn"], memories)
    words = target.memories["acc"].count or 0
    acc = memories["acc"].view(np.int32).reshape(words, -1)
    acc[1::3] = np.random.default_rng(0).integers(-40, 41, acc[1::3].shape)
    expected = {key: array.copy() for key, array in memories.items()}
    view = expected["acc"].view(np.int32).reshape(words, -1)
    for dst, src, _ in trips(target, fields, memories):
        right = np.array(fields["imm"]) if form == "imm" else view[src].astype(np.int64)
        view[dst] = ALU[operation](view[dst].astype(np.int64), right).astype(np.int32)
    interpreter.run(target, MachineInstruction(f"alu_{operation}_{form}", fields), memories)
    assert_same(memories, expected)


def test_finish_changes_nothing() -> None:
    memories = filled(VTA, 1)
    expected = {name: array.copy() for name, array in memories.items()}
    interpreter.run(VTA, MachineInstruction("finish", {"pop_prev": 1}), memories)
    assert_same(memories, expected)


def test_typed_arrays_are_memories() -> None:
    memories: dict[str, npt.NDArray[Any]] = {"acc": np.full((2048, 16), -300, np.int32), "dram": np.zeros(64, np.int8)}
    interpreter.run(VTA, MachineInstruction("store", {"x_size": 1, "y_size": 1, "dram_base": 1}), memories)
    assert memories["dram"].tolist() == [0] * 16 + [-44] * 16 + [0] * 32


@pytest.mark.parametrize(
    ("instruction", "message"),
    [
        (MachineInstruction("load_inp", {"x_size": 1, "y_size": 1, "dram_base": 99}), "dram is word 1584 of 'dram'"),
        (
            MachineInstruction("load_inp", {"x_size": 1, "y_size": 1, "sram_base": 2048}),
            "inp is word 2048 of 'inp', which",
        ),
        (MachineInstruction("load_inp", {"x_sizes": 1}), "load_inp has no field 'x_sizes'"),
        (MachineInstruction("loads", {}), "'vta' has no instruction 'loads'"),
    ],
)
def test_wrong_runs(instruction: MachineInstruction, message: str) -> None:
    with pytest.raises(IsaError, match=message):
        interpreter.run(VTA, instruction, interpreter.allocate(VTA, {"dram": 64}))


def test_wrong_memories() -> None:
    store = MachineInstruction("store", {"x_size": 1, "y_size": 1})
    with pytest.raises(IsaError, match="memory 'acc' is missing; given are: dram"):
        interpreter.run(VTA, store, {"dram": np.zeros(64, np.uint8)})
    with pytest.raises(IsaError, match="'acc' is a C-contiguous array of 131072 bytes, not 64"):
        interpreter.run(VTA, store, {"dram": np.zeros(64, np.uint8), "acc": np.zeros(64, np.uint8)})


def test_a_choice_picks_the_lane() -> None:
    random = np.random.default_rng(0)
    for lane in range(4):
        v = random.standard_normal((32, 4)).astype(np.float32)
        expected = (v[5].astype(np.float64) * v[6, lane] + v[4]).astype(np.float32)
        fields = {"acc": 4, "a": 5, "b": 6, "lane": lane}
        interpreter.run(MIXED, MachineInstruction("fmla_4s_by_element", fields), {"v": v})
        assert np.array_equal(v[4], expected)


def test_entries_without_encoding_run_on_word_numbers() -> None:
    """4-bit elements lie in words lowest first."""
    random = np.random.default_rng(0)
    half = random.integers(0, 256, (4, 8), np.uint8)
    nibbles = np.stack([half & 15, half >> 4], axis=-1).reshape(4, 2, 8).astype(np.int64)
    signed = np.where(nibbles > 7, nibbles - 16, nibbles)
    before = half.view(np.int32)[3].copy()
    interpreter.run(MIXED, MachineInstruction("dot_i4", {"sum": 3, "a": 1, "b": 2}), {"half": half})
    assert np.array_equal(half.view(np.int32)[3], (before + (signed[1] * nibbles[2]).sum(axis=1)).astype(np.int32))


def test_sliding_window_on_bytes() -> None:
    dram = np.random.default_rng(0).integers(-128, 128, 64).astype(np.int8)
    inp, tap = dram[40:50].astype(np.int64), dram[50:53].astype(np.int64)
    expected = dram[:32].view(np.int32) + np.correlate(inp, tap)
    interpreter.run(MIXED, MachineInstruction("conv_3x8", {"out": 0, "inp": 40, "tap": 50}), {"dram": dram})
    assert np.array_equal(dram[:32].view(np.int32), expected.astype(np.int32))


def assert_same(memories: Memories, expected: Memories) -> None:
    for name, array in expected.items():
        assert np.array_equal(memories[name], array), name
