"""The words of RISC-V V and SME executed by qemu, on random and extreme values: bit for bit as the interpreter."""

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import isa
from isa import Isa, MachineInstruction, interpreter
from isa.bench import draw
from isa.model import Instruction

Array = npt.NDArray[Any]
SVL, VLEN = 512, 512
SME, RVV = isa.load("sme", {"svl": SVL}), isa.load("rvv", {"vlen": VLEN})
PRODUCTS = ("fmopa_s", "bfmopa_s", "smopa_s", "usmopa_s", "umopa_s")
VECTORS = ("vfmacc_vf", "vfmacc_vv", "vmacc_vx", "vmacc_vv", "vwmacc_vx", "vwmacc_vv", "vfmv_v_f", "vmv_v_i_0")
ROUNDS = 3

SME_CODE = """
.arch armv9-a+sme
.global _start
_start: smstart
  ptrue p0.b
  adr x1, state
  mov w12, 0
1: ldr za[w12, 0], [x1]
  add x1, x1, {bytes}
  add w12, w12, 1
  cmp w12, {bytes}
  b.ne 1b
  adr x1, left
  ldr z1, [x1]
  adr x1, right
  ldr z2, [x1]
  .inst {word:#x}
  adr x1, state
  mov w12, 0
2: str za[w12, 0], [x1]
  add x1, x1, {bytes}
  add w12, w12, 1
  cmp w12, {bytes}
  b.ne 2b
  smstop
  mov x0, 1
  adr x1, state
  mov x2, {bytes} * {bytes}
  mov x8, 64
  svc 0
  mov x0, 0
  mov x8, 93
  svc 0
.balign 64
left: .incbin "left"
right: .incbin "right"
state: .incbin "state"
"""
RVV_CODE = """
.option norelax
.option norvc
.global _start
_start: la t0, vectors
  vl8re8.v v0, (t0)
  la t0, floats
  flw f10, 0(t0)
  la t0, integers
  ld x10, 0(t0)
  vsetvli t0, zero, e{width}, m1, ta, ma
  .word {word:#x}
  la a1, vectors
  vs8r.v v0, (a1)
  li a0, 1
  li a2, {bytes} * 8
  li a7, 64
  ecall
  li a0, 0
  li a7, 93
  ecall
.balign 64
floats: .incbin "floats"
integers: .incbin "integers"
vectors: .incbin "vectors"
"""


def executed(prefix: str, march: str, qemu: list[str], code: str, files: Mapping[str, Array], folder: Path) -> bytes:
    """What the program writes; skips where a tool is missing. Its text and data are one writable segment."""
    tools = [shutil.which(name) for name in (f"{prefix}-as", f"{prefix}-ld", qemu[0])]
    if None in tools:
        pytest.skip(f"there is no {prefix}-as, {prefix}-ld or {qemu[0]}")
    for name, values in files.items():
        (folder / name).write_bytes(values.tobytes())
    (folder / "code.s").write_text(code)
    subprocess.run([f"{prefix}-as", f"-march={march}", "-o", "code.o", "code.s"], cwd=folder, check=True)
    subprocess.run([f"{prefix}-ld", "-N", "-o", "code", "code.o"], cwd=folder, check=True)
    return subprocess.run([*qemu, folder / "code"], capture_output=True, check=True, timeout=60).stdout


def same(found: Array, expected: Array, entry: Instruction) -> bool:
    """Bit for bit; a NaN is a NaN."""
    assert entry.output is not None
    if not entry.output.tensor.dtype.startswith("f"):
        return bool((found == expected).all())
    left, right = found.view(np.float32), expected.view(np.float32)
    return bool(((found.view(np.uint32) == expected.view(np.uint32)) | (np.isnan(left) & np.isnan(right))).all())


def operands(entry: Instruction, random: np.random.Generator) -> dict[str, Array]:
    return {name: draw(operand.tensor, random) for name, operand in entry.operands.items()}


def word_of(target: Isa, item: MachineInstruction) -> int:
    return int.from_bytes(target.encode(item), "little")


def evens(tile: Array) -> Array:
    """Elements of even row and column: qemu 7.2 steps through integer tiles by 64 bits, and only these are right."""
    return np.ascontiguousarray(tile.view(np.int32)[::2, ::2]).view(np.uint8)


@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize("seed", range(ROUNDS))
def test_outer_products(name: str, seed: int, tmp_path: Path) -> None:
    entry, random = SME.instructions[name], np.random.default_rng(seed)
    memories = interpreter.allocate(SME, {"dram": 0})
    values = operands(entry, random)
    for number, operand in enumerate(("acc", "a", "b")):
        memory = memories["za" if operand == "acc" else "z"]
        memory[2 if operand == "acc" else number] = values[operand].reshape(-1).view(np.uint8)
    item = MachineInstruction(name, {"acc": 2, "a": 1, "b": 2})
    rows = memories["za"].reshape(4, SVL // 32, SVL // 8)
    files = {"left": memories["z"][1], "right": memories["z"][2], "state": np.ascontiguousarray(rows.swapaxes(0, 1))}
    code = SME_CODE.format(word=word_of(SME, item), bytes=SVL // 8)
    out = executed(
        "aarch64-linux-gnu", "armv9-a+sme", ["qemu-aarch64", "-cpu", f"max,sme{SVL}=on"], code, files, tmp_path
    )
    found = np.frombuffer(out, np.uint8).reshape(SVL // 32, 4, SVL // 8)[:, 2].copy()
    interpreter.run(SME, item, memories)
    expected = memories["za"][2].reshape(found.shape)
    if name.endswith("mopa_s") and not name.startswith(("f", "b")):
        found, expected = evens(found), evens(expected)
    assert same(found.reshape(-1), expected.reshape(-1), entry)


@pytest.mark.parametrize("name", VECTORS)
@pytest.mark.parametrize("seed", range(ROUNDS))
def test_vectors(name: str, seed: int, tmp_path: Path) -> None:
    entry, random = RVV.instructions[name], np.random.default_rng(seed)
    memories = interpreter.allocate(RVV, {"dram": 0})
    fields = {operand: {"x": 10, "f": 10}.get(found.memory, 0) for operand, found in entry.operands.items()}
    fields |= {
        operand: number for operand, number in {"acc": 2, "dst": 2, "a": 4, "b": 6}.items() if fields.get(operand) == 0
    }
    for operand, values in operands(entry, random).items():
        place = memories[entry.operands[operand].memory].reshape(-1)
        start = fields[operand] * memories[entry.operands[operand].memory].shape[1]
        data = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
        place[start : start + data.size] = data
    files = {"floats": memories["f"][10], "integers": memories["x"][10], "vectors": memories["v"][:8]}
    item = MachineInstruction(name, fields)
    code = RVV_CODE.format(word=word_of(RVV, item), bytes=VLEN // 8, width=16 if name.startswith("vw") else 32)
    qemu = ["qemu-riscv64", "-cpu", f"rv64,v=true,vext_spec=v1.0,vlen={VLEN}"]
    out = executed("riscv64-linux-gnu", "rv64gcv", qemu, code, files, tmp_path)
    interpreter.run(RVV, item, memories)
    assert same(np.frombuffer(out, np.uint8).copy(), memories["v"][:8].reshape(-1), entry)
