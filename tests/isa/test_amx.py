"""AMX: bytes as GNU as and objdump have them, and tiles on the CPU, bit for bit, where there is one."""

import ctypes
import platform
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import iced_x86
import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from iced_x86 import Code, Encoder, Instruction, MemoryOperand, Register

import isa
from embed.cpu.runner.native import NativeFunction, pointers
from isa import IsaError, MachineInstruction, interpreter

Array = npt.NDArray[Any]
AMX = isa.load("amx")
PRODUCTS = ("tdpbssd", "tdpbsud", "tdpbusd", "tdpbuud")
GENERAL = "rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15".split()
ARCH_PRCTL, ARCH_REQ_XCOMP_PERM, TILE_DATA = 158, 0x1023, 18


@pytest.mark.parametrize(("name", "fields", "code"), [
    ("tdpbssd", {"acc": 1, "a": 2, "b": 3}, "c4 e2 63 5e ca"),
    ("tdpbusd", {"acc": 1, "a": 2, "b": 3}, "c4 e2 61 5e ca"),
    ("tdpbf16ps", {"acc": 7, "a": 6, "b": 5}, "c4 e2 52 5c fe"),
    ("tilezero", {"dst": 3}, "c4 e2 7b 49 d8"),
    ("tileloadd", {"dst": 3, "src.base": 3, "src.index": 1, "src.scale": 1, "src.disp": 64}, "c4 e2 7b 4b 5c 0b 40"),
    ("tilestored", {"src": 6, "dst.base": 9, "dst.index": 10, "dst.scale": 1, "dst.disp": -128}, "c4827a4b741180"),
])  # fmt: skip
def test_bytes_that_gnu_as_makes(name: str, fields: dict[str, int], code: str) -> None:
    """From binutils 2.40."""
    assert AMX.encode(MachineInstruction(name, fields)) == bytes.fromhex(code)
    assert AMX.decode(bytes.fromhex(code)).fields == fields


def drawn(name: str, random: np.random.Generator) -> dict[str, int]:
    """Random fields of an entry: tiles that differ, any pointer, any index but rsp."""
    entry = AMX.instructions[name]
    tiles = random.permutation(8).tolist()
    fields = {field: tiles.pop() for field in entry.fields if "." not in field}
    for operand in entry.operands.values():
        if operand.pointers:
            index, scale = int(random.choice(np.delete(np.arange(16), 4))), int(random.choice([1, 2, 4, 8]))
            parts = {"base": int(random.integers(16)), "index": index, "scale": scale}
            fields |= {f"{operand.name}.{part}": value for part, value in parts.items()}
            fields[f"{operand.name}.disp"] = int(random.integers(-300, 300))
    return fields


def written(item: MachineInstruction) -> str:
    """An instruction as objdump writes it."""
    entry = AMX.instructions[item.name]

    def operand(name: str) -> str:
        if not entry.operands[name].pointers:
            return f"tmm{item[name]}"
        base, index = GENERAL[item[f"{name}.base"]], GENERAL[item[f"{name}.index"]]
        disp = item[f"{name}.disp"]
        return f"[{base}+{index}*{item[f'{name}.scale']}{f'{disp:+#x}' if disp else ''}]"

    return f"{item.name} {','.join(map(operand, re.findall(r'{(.*?)}', entry.syntax)))}"


def test_objdump_reads_them(tmp_path: Path) -> None:
    objdump = shutil.which("objdump")
    if objdump is None or platform.machine() != "x86_64":
        pytest.skip("there is no objdump for x86")
    random = np.random.default_rng(0)
    items = [MachineInstruction(name, drawn(name, random)) for name in AMX.instructions for _ in range(25)]
    code = [AMX.encode(item) for item in items]
    for item, data in zip(items, code, strict=True):
        assert AMX.decode(data) == item
    (tmp_path / "code").write_bytes(b"".join(code))
    flags = ["-D", "-b", "binary", "-m", "i386:x86-64", "-M", "intel", "--no-show-raw-insn"]
    done = subprocess.run([objdump, *flags, tmp_path / "code"], capture_output=True, text=True, check=True)
    lines = re.findall(r"^ +[0-9a-f]+:\t(.*?)\s*$", done.stdout, re.MULTILINE)
    assert [re.sub(r"\s+", " ", line) for line in lines] == [written(item) for item in items]


def test_tiles_of_a_product_differ() -> None:
    with pytest.raises(IsaError, match="tdpbssd: acc, a, b are different registers"):
        AMX.encode(MachineInstruction("tdpbssd", {"acc": 1, "a": 2, "b": 1}))


def test_rows_are_a_register_apart() -> None:
    memories = interpreter.allocate(AMX, {"dram": 4096})
    memories["dram"][...] = np.random.default_rng(0).integers(0, 256, 4096)
    memories["r64"].view(np.int64)[:3, 0] = [100, -50, 2000]
    before = memories["dram"].copy()
    place = {"src.base": 2, "src.index": 1, "src.scale": 2, "src.disp": 8}
    interpreter.run(AMX, MachineInstruction("tileloadd", {"dst": 5, **place}), memories)
    rows = [before[2008 - 100 * row :][:64] for row in range(16)]
    np.testing.assert_array_equal(memories["tmm"][5].reshape(16, 64), rows)
    out = {"dst.base": 0, "dst.index": 0, "dst.scale": 2}
    interpreter.run(AMX, MachineInstruction("tilestored", {"src": 5, **out}), memories)
    for row in range(16):
        start = 100 + 200 * row
        np.testing.assert_array_equal(memories["dram"][start : start + 64], rows[row])
        np.testing.assert_array_equal(memories["dram"][start + 64 : start + 200], before[start + 64 : start + 200])


def assembled(name: str) -> bytes:
    """Code that takes pointers to a tile configuration, the sums, and both factors, and runs one product."""

    def pointer(register: int, slot: int) -> Instruction:
        return Instruction.create_reg_mem(Code.MOV_R64_RM64, register, MemoryOperand(Register.RDI, displ=8 * slot))

    def tile(number: int, base: int) -> bytes:
        place = {"src.base": base, "src.index": 8, "src.scale": 1}
        return AMX.encode(MachineInstruction("tileloadd", {"dst": number, **place}))

    steps: list[bytes | Instruction] = [
        *(
            pointer(register, slot)
            for slot, register in enumerate((Register.RAX, Register.RCX, Register.RDX, Register.RSI))
        ),
        Instruction.create_reg_i32(Code.MOV_RM64_IMM32, Register.R8, 64),
        Instruction.create_mem(Code.VEX_LDTILECFG_M512, MemoryOperand(Register.RAX)),
        *(tile(number, base) for number, base in enumerate((1, 2, 6))),
        AMX.encode(MachineInstruction(name, {"acc": 0, "a": 1, "b": 2})),
        AMX.encode(MachineInstruction("tilestored", {"src": 0, "dst.base": 1, "dst.index": 8, "dst.scale": 1})),
        Instruction.create(Code.VEX_TILERELEASE),
        Instruction.create(Code.RETNQ),
    ]
    return b"".join(step if isinstance(step, bytes) else encoded(step) for step in steps)


def encoded(instruction: Instruction) -> bytes:
    encoder = Encoder(64)
    encoder.encode(instruction, 0)
    return bytes(encoder.take_buffer())


def on_the_cpu(name: str, sums: Array, left: Array, right: Array) -> Array:
    """The product of full tiles; skips where there are none."""
    if platform.machine() != "x86_64" or AMX.missing_features():
        pytest.skip("this CPU has no AMX")
    if ctypes.CDLL(None).syscall(ARCH_PRCTL, ARCH_REQ_XCOMP_PERM, TILE_DATA):
        pytest.skip("the system grants no tiles")
    shape = np.zeros(64, np.uint8)
    shape[0] = 1
    shape[16:32].view(np.uint16)[:] = 64
    shape[48:56] = 16
    found = sums.copy()
    NativeFunction(assembled(name))(pointers([each.ctypes.data for each in (shape, found, left, right)]), 0, 0)
    return found


def interpreted(name: str, sums: Array, left: Array, right: Array) -> Array:
    memories = interpreter.allocate(AMX, {"dram": 0})
    for number, values in enumerate((sums, left, right)):
        memories["tmm"][number] = values.view(np.uint8)
    interpreter.run(AMX, MachineInstruction(name, {"acc": 0, "a": 1, "b": 2}), memories)
    return memories["tmm"][0].view(sums.dtype)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", PRODUCTS)
def test_integer_tiles_on_the_cpu(name: str, seed: int) -> None:
    random = np.random.default_rng(seed)
    left, right = (random.integers(0, 256, 1024).astype(np.uint8) for _ in range(2))
    if seed == 0:
        left[:], right[:] = 128, 128
    sums = random.integers(-(1 << 31), 1 << 31, 256).astype(np.int32)
    arguments = (sums, left, right)
    np.testing.assert_array_equal(on_the_cpu(name, *arguments), interpreted(name, *arguments))


@pytest.mark.parametrize("seed", range(9))
def test_bfloat16_tiles_on_the_cpu(seed: int) -> None:
    """Random bits, plain numbers, and numbers around the denormals."""
    random = np.random.default_rng(seed)
    edges = np.array([0, -0.0, 1, -1, 1e-38, -1e-38, 3e38, 1.1754944e-38, 1e-20, -1e-20, 2e-19, 1e-40], np.float32)
    left, right, sums = (
        random.integers(0, 1 << 32, count).astype(np.uint32).view(np.float32)
        if seed % 3 == 0
        else random.normal(size=count).astype(np.float32)
        if seed % 3 == 1
        else random.choice(edges, count)
        for count in (512, 512, 256)
    )
    with np.errstate(over="ignore", invalid="ignore"):
        factors = [each.astype(ml_dtypes.bfloat16) for each in (left, right)]
    expected = interpreted("tdpbf16ps", sums, *factors)
    found = on_the_cpu("tdpbf16ps", sums, *factors)
    same = (found.view(np.uint32) == expected.view(np.uint32)) | (np.isnan(found) & np.isnan(expected))
    assert same.all()


def test_the_manual_has_these_lines() -> None:
    for entry in AMX.instructions.values():
        assert entry.form is not None
        assert iced_x86.OpCodeInfo(entry.form.code).op_code_string == entry.notation
