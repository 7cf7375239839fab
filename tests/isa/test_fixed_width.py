"""The words of RISC-V V and SME against those of GNU as."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import isa
from isa import Isa, MachineInstruction
from isa.model import Instruction
from isa.syntax import text_of

TOOLS = {
    "rvv": ("riscv64-linux-gnu", "rv64gcv", ".option norvc"),
    "sme": ("aarch64-linux-gnu", "armv9-a+sme", ""),
    "sve2": ("aarch64-linux-gnu", "armv9-a+sve2", ""),
}
TARGETS = {name: isa.load(name) for name in TOOLS}
EACH = 20


def drawn(target: Isa, entry: Instruction, random: np.random.Generator) -> MachineInstruction:
    """Random fields, zimm one that is a vtype."""
    assert entry.encoding is not None
    fields = {}
    for name in entry.fields:
        low, high = entry.encoding.fields[name].limits
        fields[name] = int(random.integers(low, high, endpoint=True))
    if "zimm" in fields:
        fields["zimm"] = 0xD0
    return MachineInstruction(entry.name, fields)


@pytest.mark.parametrize("name", TOOLS)
def test_gnu_as_makes_the_same_words(name: str, tmp_path: Path) -> None:
    prefix, architecture, before = TOOLS[name]
    assembler, copier = shutil.which(f"{prefix}-as"), shutil.which(f"{prefix}-objcopy")
    if assembler is None or copier is None:
        pytest.skip(f"there is no {prefix}-as")
    target, random = TARGETS[name], np.random.default_rng(0)
    entries = [entry for entry in target.instructions.values() if entry.encoding]
    items = [drawn(target, entry, random) for entry in entries for _ in range(EACH)]
    words = [target.encode(item) for item in items]
    assert [target.decode(word) for word in words] == items
    text = "\n".join([before, *(text_of(target, item) for item in items), ""])
    (tmp_path / "code.s").write_text(text)
    subprocess.run([assembler, f"-march={architecture}", "-o", tmp_path / "code.o", tmp_path / "code.s"], check=True)
    subprocess.run([copier, "-O", "binary", "-j", ".text", tmp_path / "code.o", tmp_path / "code"], check=True)
    assert (tmp_path / "code").read_bytes() == b"".join(words)


@pytest.mark.parametrize(("name", "entry", "fields", "word"), [
    ("rvv", "vfmacc_vf", {"acc": 3, "a": 10, "b": 7}, 0xB27551D7),
    ("rvv", "vmacc_vx", {"acc": 3, "a": 10, "b": 7}, 0xB67561D7),
    ("rvv", "vwmacc_vv", {"acc": 4, "a": 9, "b": 7}, 0xF674A257),
    ("rvv", "vle32", {"dst": 5, "src.base": 11}, 0x0205E287),
    ("rvv", "vse32", {"src": 5, "dst.base": 11}, 0x0205E2A7),
    ("rvv", "flw", {"dst": 10, "src.base": 11, "src.disp": -4}, 0xFFC5A507),
    ("rvv", "vsetvli", {"zimm": 0xD0, "rs1": 10, "rd": 0}, 0x0D057057),
    ("sme", "fmopa_s", {"acc": 3, "a": 7, "b": 19}, 0x809300E3),
    ("sme", "smopa_s", {"acc": 1, "a": 30, "b": 1}, 0xA08103C1),
    ("sme", "bfmopa_s", {"acc": 2, "a": 3, "b": 4}, 0x81840062),
    ("sme", "ldr_z", {"dst": 5, "src.base": 3}, 0x85804065),
    ("sme", "zero_za", {}, 0xC00800FF),
    ("sme", "ptrue_p0", {}, 0x2518E3E0),
])  # fmt: skip
def test_words_that_gnu_as_makes(name: str, entry: str, fields: dict[str, int], word: int) -> None:
    """From binutils 2.40."""
    assert TARGETS[name].encode(MachineInstruction(entry, fields)) == word.to_bytes(4, "little")
    assert TARGETS[name].decode(word.to_bytes(4, "little")) == MachineInstruction(entry, fields)


@pytest.mark.parametrize(("vlen", "lmul"), [(128, 1), (256, 4), (1024, 2)])
def test_groups_of_vectors_follow_the_parameters(vlen: int, lmul: int) -> None:
    target = isa.load("rvv", {"vlen": vlen, "lmul": lmul})
    assert target.instructions["vfmacc_vf"].index == {"l": vlen * lmul // 32}
    assert target.instructions["vwmacc_vx"].index == {"l": vlen * lmul // 16}


@pytest.mark.parametrize("svl", [128, 256, 1024, 2048])
def test_tiles_follow_the_vector_length(svl: int) -> None:
    target = isa.load("sme", {"svl": svl})
    assert target.instructions["fmopa_s"].index == {"i": svl // 32, "j": svl // 32}
    assert 4 * (target.memories["za"].bits) == svl * svl // 8
