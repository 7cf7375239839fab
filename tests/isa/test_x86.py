"""Every x86 entry: its bytes over random operands, read by capstone and iced's decoder; errors name what is right."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import iced_x86
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import isa
from isa import IsaError, MachineInstruction, loads
from isa.features import cpu_features, parse_cpuinfo
from isa.interpreter import run
from isa.model import Instruction

BASES = {"avx512": "", "avx512_vnni": "avx512", "avx512_bf16": "avx512", "avx2": "", "avx_vnni": "avx2"}
VEX = ("avx2", "avx_vnni")
TARGETS = {name: isa.load(name) for name in BASES}
ENTRIES = [
    (name, entry)
    for name, target in TARGETS.items()
    for entry in target.instructions
    if target.instructions[entry].form and (not BASES[name] or entry not in TARGETS[BASES[name]].instructions)
]
UNKNOWN_TO_CAPSTONE_5 = ("vdpbf16ps", "vcvtneps2bf16", "vpdpbusd_ymm", "vpdpwssd_ymm")
GENERAL = "ax cx dx bx sp bp si di 8 9 10 11 12 13 14 15".split()
WORDS = {8: "byte", 16: "word", 32: "dword", 64: "qword", 128: "xmmword", 256: "ymmword", 512: "zmmword"}
DISPLACEMENTS = st.one_of(
    st.just(0),
    st.integers(-256, 256),
    st.builds(lambda count, size: count * size, st.integers(-140, 140), st.sampled_from([4, 8, 16, 32, 64])),
    st.integers(-(2**31), 2**31 - 1),
)


def fields_of(entry: Instruction, draw: Any) -> dict[str, int]:
    """Random values of all fields; an index register every other time."""
    assert entry.form is not None
    high = 31 if entry.notation.startswith("EVEX") else 15
    fields: dict[str, int] = {}
    for name in entry.fields:
        operand, _, part = name.partition(".")
        if part == "disp":
            fields[name] = draw(DISPLACEMENTS)
        elif part == "base":
            fields[name] = draw(st.integers(0, 15))
        elif part == "index" and draw(st.booleans()):
            fields[name] = draw(st.integers(0, 15).filter(lambda number: number != 4))
            fields[f"{operand}.scale"] = draw(st.sampled_from([1, 2, 4, 8]))
        elif part:
            continue
        elif name == "k" and "{k}" not in entry.syntax:
            fields[name] = draw(st.integers(1, 7))
        elif name in entry.operands and entry.operands[name].memory == "field":
            fields[name] = draw(st.integers(0, 255))
        else:
            kind = entry.operands[name].memory if name in entry.operands else "zmm"
            fields[name] = draw(st.integers(0, {"k": 7, "r64": 15}.get(kind, high)))
    return fields


def kinds_of(entry: Instruction) -> list[str]:
    """What the operands are, as the name of the entry says: vmovups_zmm_kz_m512 has a zmm and an m512."""
    mnemonic, *parts = entry.name.split("_")
    kinds = [
        part for part in parts if re.fullmatch(r"[xyz]mm|m\d+(bcst)?|r32|r64|imm8", part) or mnemonic.startswith("kmov")
    ]
    return {"zero": kinds * 3, "twice": [*kinds, *kinds[-1:]]}.get(parts[-1], kinds)


def text_of(entry: Instruction, fields: dict[str, int]) -> str:
    """What a disassembler says, memory operands without their address."""
    mnemonic, _, rest = entry.syntax.partition(" ")
    kinds, texts = kinds_of(entry), []
    for number, part in enumerate(rest.split(", ")):
        kind = kinds[number] if number < len(kinds) else "literal"
        mask = f" {{k{fields['k']}}}" if entry.form and entry.form.mask and number == 0 else ""
        mask += " {z}" if mask and "_kz_" in entry.name else ""
        texts.append(operand_text(part, kind, fields) + mask)
    return f"{mnemonic} {', '.join(texts)}"


def operand_text(part: str, kind: str, fields: dict[str, int]) -> str:
    memory = re.fullmatch(r"m(\d+)(bcst)?", kind)
    if kind == "literal":
        return str(int(part))
    if memory:
        return f"{WORDS[int(memory[1])]} ptr []{'{1to16}' if memory[2] else ''}"
    number = fields[part.strip("{}")]
    if kind in ("r32", "r64"):
        prefix, name = "er"[kind == "r64"], GENERAL[number]
        return f"r{name}{'' if kind == 'r64' else 'd'}" if name.isdigit() else f"{prefix}{name}"
    return str(number) if kind == "imm8" else f"{kind}{number}"


def normal(text: str) -> str:
    """Numbers in decimal, addresses left out."""
    text = re.sub(r"\[[^\]]*\]", "[]", text)
    return re.sub(r"\b0x[0-9a-f]+\b", lambda match: str(int(match[0], 16)), text)


@cache
def disassembler() -> Any:
    capstone = pytest.importorskip("capstone")
    found = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    found.detail = True
    return found


@pytest.mark.parametrize(("target", "name"), ENTRIES)
@settings(max_examples=15)
@given(data=st.data())
def test_bytes_are_read_back(target: str, name: str, data: st.DataObject) -> None:
    entry = TARGETS[target].instructions[name]
    fields = fields_of(entry, data.draw)
    code = TARGETS[target].encode(MachineInstruction(name, fields))
    decoded = TARGETS[target].decode(code)
    assert decoded.name == name
    assert {**dict.fromkeys(entry.fields, 0), **decoded.fields} == {**dict.fromkeys(entry.fields, 0), **fields}
    if not name.startswith(UNKNOWN_TO_CAPSTONE_5):
        check_with_capstone(entry, fields, code)
    assert iced_bytes(code) == code


def iced_bytes(code: bytes) -> bytes:
    """What iced's encoder, which picks the size of displacements itself, makes of an instruction."""
    decoded = iced_x86.Decoder(64, code).decode()
    decoded.memory_displ_size = min(1, decoded.memory_displ_size)
    encoder = iced_x86.Encoder(64)
    encoder.encode(decoded, 0)
    return bytes(encoder.take_buffer())


def check_with_capstone(entry: Instruction, fields: dict[str, int], code: bytes) -> None:
    (found,) = disassembler().disasm(code, 0)
    assert found.size == len(code)
    assert normal(f"{found.mnemonic} {found.op_str}") == text_of(entry, fields)
    places = [operand.mem for operand in found.operands if operand.type == 3]
    expected = [key.removesuffix(".base") for key in fields if key.endswith(".base")]
    assert len(places) == len(expected)
    for place, operand in zip(places, expected, strict=True):
        assert found.reg_name(place.base) == operand_text(f"{operand}.base", "r64", fields)
        assert place.disp == fields[f"{operand}.disp"]
        if f"{operand}.index" in fields:
            assert found.reg_name(place.index) == operand_text(f"{operand}.index", "r64", fields)
            assert place.scale == fields[f"{operand}.scale"]
        else:
            assert place.index == 0


@pytest.mark.parametrize(("name", "operand", "unit"), [
    ("vfmadd231ps_zmm_zmm_m32bcst", "b", 4),
    ("vfmadd231ps_zmm_zmm_m512", "b", 64),
    ("vpmovsxbd_zmm_m128", "src", 16),
    ("vpmovdw_m256_zmm", "dst", 32),
    ("vbroadcastss_zmm_m32", "src", 4),
])  # fmt: skip
def test_displacements_are_compressed(name: str, operand: str, unit: int) -> None:
    """EVEX counts an 8-bit displacement in units of the memory operand (SDM volume 2, disp8*N)."""

    def size(displacement: int) -> int:
        return len(TARGETS["avx512"].encode(MachineInstruction(name, {f"{operand}.disp": displacement})))

    assert size(0) + 1 == size(unit) == size(-128 * unit) == size(127 * unit)
    assert size(0) + 4 == size(128 * unit) == size(unit + 1) == size(-129 * unit)


@pytest.mark.parametrize(("target", "name", "fields", "code"), [
    ("avx512", "vfmadd231ps_zmm_zmm_zmm", {"acc": 0, "a": 1, "b": 2}, "62 f2 75 48 b8 c2"),
    ("avx512", "vfmadd231ps_zmm_zmm_m32bcst", {"acc": 0, "a": 1, "b.base": 0, "b.disp": 4}, "62 f2 75 58 b8 40 01"),
    ("avx512", "vmovups_zmm_kz_m512", {"dst": 3, "src.base": 7, "k": 1}, "62 f1 7c c9 10 1f"),
    ("avx512", "vpxord_zmm_zero", {"dst": 31}, "62 01 05 40 ef ff"),
    ("avx512", "kmovw_k_r32", {"dst": 1, "src": 0}, "c5 f8 92 c8"),
    ("avx512_bf16", "vdpbf16ps_zmm_zmm_zmm", {"acc": 31, "a": 17, "b": 2}, "62 62 76 40 52 fa"),
    ("avx512_bf16", "vdpbf16ps_zmm_zmm_m512", {"acc": 1, "a": 2, "b.base": 3, "b.disp": 128}, "62 f2 6e 48 52 4b 02"),
    ("avx512_bf16", "vdpbf16ps_zmm_zmm_m32bcst", {"acc": 4, "a": 5, "b.base": 6, "b.disp": -8}, "62 f2 56 58 52 66 fe"),
    ("avx512_bf16", "vcvtneps2bf16_ymm_zmm", {"dst": 1, "src": 2}, "62 f2 7e 48 72 ca"),
    ("avx_vnni", "vpdpbusd_ymm_ymm_ymm", {"acc": 1, "a": 12, "b": 3}, "c4 e2 1d 50 cb"),
    ("avx_vnni", "vpdpbusd_ymm_ymm_m256", {"acc": 1, "a": 12, "b.base": 3, "b.disp": 64}, "c4 e2 1d 50 4b 40"),
    ("avx_vnni", "vpdpwssd_ymm_ymm_ymm", {"acc": 15, "a": 0, "b": 9}, "c4 42 7d 52 f9"),
])  # fmt: skip
def test_bytes_that_gnu_as_makes(target: str, name: str, fields: dict[str, int], code: str) -> None:
    """From binutils 2.40, which knows what capstone 5 does not."""
    assert TARGETS[target].encode(MachineInstruction(name, fields)).hex(" ") == code


@pytest.mark.parametrize(("item", "message"), [
    (("vaddps_zmm_zmm_zmm", {"dst": 32}), "dst = 32 is no register: they are 0..31"),
    (("vaddps_zmm_zmm_zmm", {"c": 1}), "vaddps_zmm_zmm_zmm has no field 'c'; it has a, b, dst"),
    (("vmovups_zmm_kz_m512", {"dst": 1}), "k = 0 is no mask register: they are 1..7"),
    (("vmovups_zmm_m512", {"src.base": 16}), "src.base = 16 is no pointer register"),
    (("vmovups_zmm_m512", {"src.disp": 1 << 31}), "src.disp = 2147483648 does not fit 32 bits; add it to the pointer"),
    (("vmovups_zmm_m512", {"src.index": 1}), "src.scale = 0; with an index it is one of: 1, 2, 4, 8"),
    (("vmovups_zmm_m512", {"src.index": 4, "src.scale": 1}), "rsp cannot be an index"),
    (("vpsrad_zmm_zmm_imm8", {"count": 256}), "count = 256 does not fit 8 unsigned bits (0..255)"),
])  # fmt: skip
def test_wrong_fields(item: tuple[str, dict[str, int]], message: str) -> None:
    with pytest.raises(IsaError, match=re.escape(message)):
        TARGETS["avx512"].encode(MachineInstruction(*item))


def test_bytes_that_are_no_entry() -> None:
    with pytest.raises(IsaError, match=r"byte 0: 90 \(nop\) is no instruction of this ISA"):
        TARGETS["avx512"].decode(b"\x90")
    with pytest.raises(IsaError, match="is not one x86 instruction"):
        TARGETS["avx512"].decode(bytes.fromhex("62f27548b8c290"))


def test_a_stream_is_decoded_in_order() -> None:
    target = TARGETS["avx512"]
    items = [
        MachineInstruction("vpxord_zmm_zero", {"dst": 3}),
        MachineInstruction("vpaddd_zmm_zmm_m32bcst", {"dst": 1, "a": 2, "b.base": 3, "b.disp": -4}),
        MachineInstruction("vpmovsdb_m128_k_zmm", {"dst.base": 1, "dst.disp": 0, "src": 9, "k": 2}),
    ]
    code = b"".join(map(target.encode, items))
    assert list(target.decode_all(code)) == items
    assert target.disassemble(code).splitlines()[1].strip() == "vpaddd zmm1, zmm2, dword ptr [rbx-4]{1to16}"


WRONG = [
    ("66.0F38.W0 B8 /r", "66.0F38.W1 B8 /r", "the manual's line is: EVEX.512.66.0F38.W0 B8 /r"),
    ("vfmadd231ps {", "vfmadd321ps {", "there is no VEX or EVEX instruction 'vfmadd321ps'"),
    ("{acc}, {a}, {b}", "{acc}, {a}", "the syntax lacks operand {b}"),
    ("{acc}, {a}, {b}", "{acc}, {a}, {c}", "'{c}' is not an operand: write one of {acc}, {a}, {b}"),
    ('in = "dram", type = "f32[l]"', 'in = "dram", type = "f64[l]"', "f64"),
    ('requires = ["avx512f"]', 'requires = ["avx2"]', "requires exactly: avx512f"),
    ('"f32[l]" }', '"f32[l]", at = "ModRM.rm" }', "operand 'acc' is at ModRM.reg, not ModRM.rm"),
    ('type = "u1[l]", idle = "zero"', 'type = "u1[l]", idle = "nan"', "'nan' is not one of: zero, keep"),
    ('type = "u1[l]"', 'type = "u1[8]"', "is not one element for each lane of the mask"),
    ('{ in = "k", type', '{ in = "zm", type', "memory 'zm' is not declared"),
    ('pointers = "r64"', 'pointers = "rax"', "there is no register memory 'rax' above; there are: r64"),
    ('denormals = "zero"', 'denormals = "none"', "'none' is not one of: zero"),
]  # fmt: skip

SMALL = """
name = "small"
[memory]
r64  = { kind = "register", bits = 64, count = 16 }
dram = { kind = "external", bits = 8, pointers = "r64" }
zmm  = { kind = "register", bits = 512, count = 32 }
k    = { kind = "register", bits = 64, count = 8 }
[[instruction]]
name     = "fma"
syntax   = "vfmadd231ps {acc}, {a}, {b}"
requires = ["avx512f"]
index    = { l = 16 }
pattern  = "acc[l] = fma(a[l], b[l], acc[l])"
denormals = "zero"
operands.acc = { in = "zmm", type = "f32[l]" }
operands.a   = { in = "zmm", type = "f32[l]" }
operands.b   = { in = "dram", type = "f32[l]" }
mask     = { in = "k", type = "u1[l]", idle = "zero" }
encoding = "EVEX.512.66.0F38.W0 B8 /r"
"""


@pytest.mark.parametrize(("right", "wrong", "message"), WRONG, ids=[message[:40] for *_, message in WRONG])
def test_a_wrong_entry_is_told_the_right_one(right: str, wrong: str, message: str) -> None:
    assert loads(SMALL).instructions["fma"].form
    with pytest.raises(IsaError, match=r"^isa.toml:\d+:\d+: error: ") as caught:
        loads(SMALL.replace(right, wrong, 1))
    assert message in str(caught.value)


def test_wrong_operands_are_told_the_forms() -> None:
    text = SMALL.replace('"dram", type = "f32[l]"', '"dram", type = "f16[l]"')
    with pytest.raises(
        IsaError, match=r"no form of vfmadd231ps has these operands; its forms are: .*zmm3/m512/m32bcst"
    ):
        loads(text.replace("fma(a[l], b[l]", "fma(a[l], f32(b[l])"))


def test_features_of_every_core() -> None:
    text = "processor : 0\nflags\t\t: fpu avx2 fma\n\nprocessor : 1\nflags\t\t: fpu avx2\n"
    assert parse_cpuinfo(text) == {"fpu", "avx2"}
    assert parse_cpuinfo("processor : 0\nFeatures : fp asimd\n") == {"fp", "asimd"}
    assert parse_cpuinfo("") == frozenset()


def test_missing_features() -> None:
    wanted = set("avx avx2 fma avx512f avx512dq avx512bw avx512vl avx512_vnni avx512_bf16 avx_vnni".split())
    for target in TARGETS.values():
        needed = {feature for entry in target.instructions.values() for feature in entry.requires}
        assert needed <= wanted
        assert set(target.missing_features()) == needed - cpu_features()
    assert set(TARGETS["avx512_vnni"].missing_features(["vpdpbusd_zmm_zmm_zmm"])) == {"avx512_vnni"} - cpu_features()


def test_forms_are_of_the_newest_kind() -> None:
    """EVEX for vectors of the AVX-512 files, VEX for AVX2; iced's own opcode table has the line."""
    for name, target in TARGETS.items():
        for entry in target.instructions.values():
            if entry.sequence:
                continue
            assert entry.form is not None
            assert iced_x86.OpCodeInfo(entry.form.code).op_code_string == entry.notation
            assert entry.notation.startswith("VEX" if name in VEX or entry.name.startswith("kmov") else "EVEX")
            assert entry.doc


def test_extension_files_only_add() -> None:
    for name in filter(BASES.get, BASES):
        base = TARGETS[BASES[name]].instructions
        assert list(TARGETS[name].instructions)[: len(base)] == list(base)
        assert "[memory]" not in (Path(isa.__file__).parent / f"{name}.toml").read_text()


TIMED = (
    SMALL
    + """
[timing.core]
source = "made up"
units  = "p0 p5 p2 p3 pA ST"
load   = "1*p23A"
speed  = 7
fma    = { units = "2*p05+1*ST", latency = "speed - 3", cycles = 2, accumulate = 1 }
"""
)


def test_costs_of_a_pipelined_core() -> None:
    """The notation of uops.info; an entry like another one that works on registers takes its cost and the load."""
    register = TIMED.replace('in = "dram", type = "f32[l]"', 'in = "zmm", type = "f32[l]"')
    extra = '[[instruction]]\nname = "fma_m512"\nlike = "fma"\noperands.b = { in = "dram", type = "f32[l]" }\n'
    core = loads(register.replace("[timing.core]", f"{extra}\n[timing.core]")).timing
    assert core.units == ("p0", "p5", "p2", "p3", "pA", "ST")
    cost = core.costs["fma"]
    assert [(each.count, each.units) for each in cost.uops] == [(2, ("p0", "p5")), (1, ("ST",))]
    assert (cost.latency, cost.cycles, cost.accumulate) == (4, 2, 1)
    assert loads(register.replace(", accumulate = 1", "")).timing.costs["fma"].accumulate == 4
    loaded = core.costs["fma_m512"]
    assert [(each.count, each.units) for each in loaded.uops[2:]] == [(1, ("p2", "p3", "pA"))]
    assert core["speed"] == 7


@pytest.mark.parametrize("wrong", ["2*p07", "p05", "*p05", "x*p05", "1*", "1*p05,1*ST"])
def test_wrong_units(wrong: str) -> None:
    with pytest.raises(IsaError, match=r"is not a count of units, such as 1\*p05; the units are: p0, p5, p2"):
        loads(TIMED.replace("2*p05+1*ST", wrong))


@pytest.mark.parametrize("name", BASES)
def test_shipped_cores(name: str) -> None:
    """Peak rates: two fused multiply-adds, or two loads of whole vectors, a cycle; every core says where it is from."""
    for core in TARGETS[name].timings.values():
        width = 32 if name in VEX else 64
        fma = next(cost for entry, cost in core.costs.items() if entry.startswith("vfmadd231ps"))
        assert len(fma.uops[0].units) == 2
        assert fma.latency == 4
        assert core["l1_bytes"] < core["l2_bytes"]
        assert width < core["l1_read"] <= 128
        assert core["l1_read"] > core["l2_read"] > core["l3_read"] > core["memory_read"] > 0
        assert all(core.source)
        assert len(core.costs) >= len(TARGETS[name].instructions) - 4


def memories(target: isa.Isa, external: int) -> dict[str, npt.NDArray[np.uint8]]:
    found = {
        memory.name: np.zeros((memory.count, memory.word_bytes), np.uint8)
        for memory in target.memories.values()
        if memory.count
    }
    return {**found, "dram": np.arange(external, dtype=np.uint8)}


def test_the_interpreter_follows_pointers() -> None:
    target = TARGETS["avx512"]
    state = memories(target, 200)
    state["r64"].view(np.int64)[:, 0] = np.arange(16)
    fields = {"dst": 3, "src.base": 9, "src.index": 5, "src.scale": 4, "src.disp": -6}
    state["zmm"][3] = 255
    run(target, MachineInstruction("vpmovzxbd_zmm_m128", fields), state)
    assert state["zmm"][3].view(np.int32).tolist() == list(range(9 + 5 * 4 - 6, 9 + 5 * 4 - 6 + 16))
    with pytest.raises(IsaError, match="src is word 200 of 'dram', which has 200 words"):
        run(target, MachineInstruction("vpmovzxbd_zmm_m128", {"src.disp": 200}), state)


def test_the_interpreter_touches_only_lanes_of_the_mask() -> None:
    target = TARGETS["avx512"]
    state = memories(target, 20)
    state["k"][2] = [0b10110, 0, 255, 0, 0, 0, 0, 0]
    run(target, MachineInstruction("vmovdqu8_xmm_kz_m128", {"dst": 1, "src.disp": 15, "k": 2}), state)
    assert state["zmm"][1].tolist() == [0, 16, 17, 0, 19] + [0] * 59
    run(target, MachineInstruction("vmovdqu8_m128_k_xmm", {"src": 1, "dst.disp": -1, "k": 2}), state)
    assert state["dram"].tolist() == [16, 17, 2, 19, *range(4, 20)]
    state["k"][2, 0] = 1 << 5
    with pytest.raises(IsaError, match="src is word 20"):
        run(target, MachineInstruction("vmovdqu8_xmm_kz_m128", {"src.disp": 15, "k": 2}), state)


def test_a_narrow_result_clears_the_rest_of_its_register() -> None:
    target = TARGETS["avx512"]
    state = memories(target, 1)
    state["zmm"][:] = 255
    run(target, MachineInstruction("vpmovdb_xmm_zmm", {"dst": 4, "src": 5}), state)
    assert state["zmm"][4].tolist() == [255] * 16 + [0] * 48
