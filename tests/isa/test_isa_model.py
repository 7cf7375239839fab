"""What the shipped files say, against the facts written out here."""

from pathlib import Path

import pytest

import isa
from isa import loads
from isa.schema import TABLES

VTA = isa.load("vta")
TOY = (Path(__file__).parent / "files" / "toy.toml").read_text(encoding="utf-8")
MIXED = loads((Path(__file__).parent / "files" / "mixed.toml").read_text(encoding="utf-8"))

NAMES = [
    "load_inp", "load_wgt", "load_uop", "load_acc", "load_acc8", "store", "gemm", "gemm_reset",
    "alu_min_imm", "alu_max_imm", "alu_add_imm", "alu_shr_imm", "alu_mul_imm",
    "alu_min_reg", "alu_max_reg", "alu_add_reg", "alu_shr_reg", "alu_mul_reg", "finish",
]  # fmt: skip


def test_vta_entries() -> None:
    assert list(VTA.instructions) == NAMES
    gemm = VTA.instructions["gemm"]
    assert str(gemm.pattern) == "acc[b,o] += i32(inp[b,i]) * i32(wgt[o,i])"
    assert gemm.index == {"b": 1, "o": 16, "i": 16}
    assert [loop.name for loop in gemm.repeat] == ["x", "y", "u"]
    assert VTA.instructions["gemm_reset"].index == {"b": 1, "o": 16}
    assert list(VTA.instructions["gemm_reset"].operands) == ["acc"]
    assert all(entry.doc for entry in VTA.instructions.values())


@pytest.mark.parametrize(
    ("shape", "counts"),
    [
        ((1, 16, 16), (8192, 2048, 1024, 2048)),
        ((1, 32, 32), (8192, 1024, 256, 1024)),
        ((1, 64, 64), (8192, 512, 64, 512)),
        ((4, 16, 16), (8192, 512, 1024, 512)),
        ((16, 16, 16), (8192, 128, 1024, 128)),
    ],
)
def test_depths_follow_from_the_shape(shape: tuple[int, int, int], counts: tuple[int, ...]) -> None:
    target = isa.load("vta", dict(zip(("batch", "block_in", "block_out"), shape, strict=True)))
    assert tuple(target.memories[name].count for name in ("uop", "inp", "wgt", "acc")) == counts
    assert target.memories["out"].count == target.memories["acc"].count
    gemm = target.instructions["gemm"]
    assert tuple(gemm.index.values()) == (shape[0], shape[2], shape[1])
    assert gemm.encoding is not None
    widths = {name: gemm.encoding.fields[name].width for name in ("dst_factor_in", "src_factor_in", "wgt_factor_in")}
    assert [1 << width for width in widths.values()] == [counts[3], counts[1], counts[2]]


def test_scratchpad_sizes_can_be_set() -> None:
    target = isa.load("vta", {"uop_bytes": 8192, "acc_bytes": 65536})
    assert target.memories["uop"].count == 2048
    assert target.memories["acc"].bytes == 65536
    assert {p.name: p.default for p in target.parameter_list if p.value != p.default} == {
        "uop_bytes": 32768,
        "acc_bytes": 131072,
    }


@pytest.mark.parametrize(
    ("name", "unit", "start", "per"),
    [
        ("load_inp", "load", 23, {"pad": 1}),
        ("load_wgt", "load", 23, {"pad": 1}),
        ("load_acc", "compute", 23, {"pad": 1}),
        ("load_uop", "compute", 22, {"pad": 1}),
        ("store", "store", 1, {"trip": 3, "burst": 3}),
        ("finish", "compute", 1, {}),
        ("gemm_reset", "compute", 7, {"trip": 1}),
        ("alu_shr_imm", "compute", 7, {"trip": 1}),
        ("alu_add_reg", "compute", 7, {"trip": 2}),
    ],
)
@pytest.mark.parametrize("core", ["de10", "pynq"])
def test_vta_timing(core: str, name: str, unit: str, start: int, per: dict[str, int]) -> None:
    """The Chisel core measured in RTL simulation: 23 + beats, 22 + uops / 2, 1 + 3 n + 3 bursts, 7 + N, 7 + 2 N."""
    cost = VTA.timings[core].costs[name]
    assert (cost.unit, cost.start, cost.per) == (unit, start, per)


def test_vta_cores_differ_in_bursts_and_fetch() -> None:
    de10, pynq = VTA.timings["de10"].constants, VTA.timings["pynq"].constants
    assert {key: (de10[key], pynq[key]) for key in de10 if de10[key] != pynq[key]} == {
        "burst_bytes": (128, 2048),
        "fetch_chunk": (8, 128),
    }
    assert VTA.timing.name == "de10"
    assert set(VTA.timing.costs) == set(NAMES)
    with pytest.raises(isa.IsaError, match="has no 'speed'; it has bus_bytes"):
        VTA.timing["speed"]


def test_other_kinds_of_encoding() -> None:
    broadcast = MIXED.instructions["vfmadd231ps_zmm_zmm_m32bcst"]
    assert broadcast.notation == "EVEX.512.66.0F38.W0 B8 /r"
    assert broadcast.fixed == {"b": 1, "disp8": 4}
    assert broadcast.requires == ("avx512f",)
    assert broadcast.operands["b"].at == "ModRM.rm"
    assert broadcast.operands["b"].tensor.shape == ()
    assert [str(each) for each in MIXED.instructions["fmla_4s_by_element"].variants] == [
        f"acc[l] = fma(a[l], b[{lane}], acc[l])" for lane in range(4)
    ]
    with pytest.raises(isa.IsaError, match="no field encoding"):
        MIXED.encode(isa.MachineInstruction("dot_i4", {}))
    with pytest.raises(isa.IsaError, match=r"'mixed' has no \[timing.NAME\] section"):
        _ = MIXED.timing


def test_a_file_by_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text((Path(isa.__file__).parent / "vta.toml").read_text(encoding="utf-8").replace("\n", "\r\n"))
    assert isa.load(path).memories == isa.load(str(path)).memories == VTA.memories


def test_a_file_is_built_again_when_it_says_something_else(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(TOY, encoding="utf-8")
    first = isa.load(path)
    assert isa.load(path) is first
    path.write_text(TOY.replace("dram", "host"), encoding="utf-8")
    assert isa.load(path).digest != first.digest
    vta = isa.load("vta", {"block_in": 32})
    assert vta is isa.load("vta", {"block_in": 32}) is not isa.load("vta")


def test_every_key_is_documented() -> None:
    assert all(key.doc for table in TABLES.values() for key in table.values())
