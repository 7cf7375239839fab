"""The words of SVE2's and Hexagon's complex arithmetic: llvm-mc makes the same, and qemu does as the interpreter."""

import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest

import isa
from isa import Isa, MachineInstruction, interpreter
from isa.bench import draw
from isa.model import FIELD
from tests.isa.test_emulated_words import executed

VL, PAGE, HALF = 256, 1 << 16, 2048
SVE2, HEXAGON = isa.load("sve2", {"vl": VL}), isa.load("hexagon")
ROUNDS = 3

SVE2_CODE = """
.arch armv9-a+sve2
.global _start
_start: adr x1, state
  ldr z0, [x1, 0, mul vl]
  ldr z1, [x1, 1, mul vl]
  ldr z2, [x1, 2, mul vl]
  .inst {word:#x}
  str z0, [x1, 0, mul vl]
  mov x0, 1
  mov x2, {bytes}
  mov x8, 64
  svc 0
  mov x0, 0
  mov x8, 93
  svc 0
.balign 64
state: .incbin "state"
"""

HEXAGON_CODE = """
  r20 = ##{state}
  r1:0 = memd(r20+#0)
  r3:2 = memd(r20+#8)
  r5:4 = memd(r20+#16)
  .word {word:#x}
  memd(r20+#0) = r1:0
  {{ r0 = #1; r1 = r20; r2 = #8; r6 = #64 }}
  trap0(#1)
  {{ r0 = #0; r6 = #94 }}
  trap0(#1)
"""

WORDS = {
    "vrcmpyr_acc": "r17:16 += vrcmpyr(r21:20,r31:30)",
    "vrcmpyi_acc": "r17:16 += vrcmpyi(r21:20,r31:30)",
    "vrcmpyr_conj_acc": "r17:16 += vrcmpyr(r21:20,r31:30*)",
    "vrcmpyi_conj_acc": "r17:16 += vrcmpyi(r21:20,r31:30*)",
    "vrmpyh_acc": "r17:16 += vrmpyh(r21:20,r31:30)",
    "vaddh": "r17:16 = vaddh(r21:20,r31:30)",
    "vsubh": "r17:16 = vsubh(r21:20,r31:30)",
    "vmaxh": "r17:16 = vmaxh(r21:20,r31:30)",
    "vminh": "r17:16 = vminh(r21:20,r31:30)",
    "vasrh": "r17:16 = vasrh(r21:20,#5)",
    "add64": "r17:16 = add(r21:20,r31:30)",
    "combine_zero": "r17:16 = combine(#0,#0)",
}


def assembled(text: str, folder: Path) -> bytes:
    """The code of Hexagon assembler text; skips without LLVM's tools."""
    tools = shutil.which("llvm-mc"), shutil.which("llvm-objcopy")
    if None in tools:
        pytest.skip("there is no llvm-mc or llvm-objcopy")
    (folder / "code.s").write_text(text)
    subprocess.run(["llvm-mc", "-triple=hexagon", "-filetype=obj", "-o", "code.o", "code.s"], cwd=folder, check=True)
    subprocess.run(["llvm-objcopy", "-O", "binary", "-j", ".text", "code.o", "code"], cwd=folder, check=True)
    return (folder / "code").read_bytes()


def test_llvm_makes_the_same_words(tmp_path: Path) -> None:
    assert set(WORDS) == {entry.name for entry in HEXAGON.instructions.values()}
    fields = {"acc": 8, "dst": 8, "a": 10, "b": 15, "n": 5}
    code = assembled("\n".join([*WORDS.values(), ""]), tmp_path)
    for number, name in enumerate(WORDS):
        own = {key: fields[key] for key in HEXAGON.instructions[name].fields}
        assert HEXAGON.encode(MachineInstruction(name, own)) == code[4 * number : 4 * number + 4]


def elf(code: bytes, data: bytes, address: int) -> bytes:
    """A 32-bit Hexagon executable of one writable segment: the code, padded to HALF bytes, then the data."""
    body = code.ljust(HALF, b"\0") + data
    ident = b"\x7fELF" + bytes([1, 1, 1]) + bytes(9)
    header = ident + struct.pack("<HHIIIIIHHHHHH", 2, 164, 1, address, 52, 0, 0x66, 52, 32, 1, 0, 0, 0)
    size = len(body)
    segment = struct.pack("<IIIIIIII", 1, PAGE, address, address, size, size, 7, PAGE)
    return (header + segment).ljust(PAGE, b"\0") + body


def drawn(
    target: Isa, name: str, memory: str, random: np.random.Generator
) -> tuple[MachineInstruction, dict[str, object]]:
    """The entry on the words 0, 1 and 2 of a memory with random operands, and its memories."""
    entry = target.instructions[name]
    memories = interpreter.allocate(target, {"dram": 0})
    fields = {}
    for operand in entry.operands.values():
        if operand.memory == FIELD:
            fields[operand.name] = int(random.integers(16))
            continue
        fields[operand.name] = {"a": 1, "b": 2}.get(operand.name, 0)
        memories[memory][fields[operand.name]] = draw(operand.tensor, random).reshape(-1).view(np.uint8)
    return MachineInstruction(name, fields), memories


@pytest.mark.parametrize("name", SVE2.instructions)
@pytest.mark.parametrize("seed", range(ROUNDS))
def test_sve2_in_qemu(name: str, seed: int, tmp_path: Path) -> None:
    item, memories = drawn(SVE2, name, "z", np.random.default_rng(seed))
    word = int.from_bytes(SVE2.encode(item), "little")
    files = {"state": memories["z"][:3].copy()}
    code = SVE2_CODE.format(word=word, bytes=VL // 8)
    qemu = ["qemu-aarch64", "-cpu", f"max,sve{VL}=on"]
    out = executed("aarch64-linux-gnu", "armv9-a+sve2", qemu, code, files, tmp_path)
    interpreter.run(SVE2, item, memories)
    assert out == memories["z"][0].tobytes()


@pytest.mark.parametrize("name", HEXAGON.instructions)
@pytest.mark.parametrize("seed", range(ROUNDS))
def test_hexagon_in_qemu(name: str, seed: int, tmp_path: Path) -> None:
    if shutil.which("qemu-hexagon") is None:
        pytest.skip("there is no qemu-hexagon")
    item, memories = drawn(HEXAGON, name, "rr", np.random.default_rng(seed))
    word, address = int.from_bytes(HEXAGON.encode(item), "little"), 0x20000
    code = assembled(HEXAGON_CODE.format(state=address + HALF, word=word), tmp_path)
    program = tmp_path / "program"
    program.write_bytes(elf(code, memories["rr"][:3].tobytes(), address))
    program.chmod(0o755)
    out = subprocess.run(["qemu-hexagon", program], capture_output=True, check=True, timeout=60).stdout
    interpreter.run(HEXAGON, item, memories)
    assert out == memories["rr"][0].tobytes()
