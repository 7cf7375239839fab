"""Kernels as C: the files compile without a warning, and their self-tests pass, natively and under qemu."""

import platform
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import isa
from dataflow import Operator, UserError, bias_relu, conv2d, depthwise_conv2d, gemm, requantise
from dataflow.dtypes import numpy_dtype
from dataflow.expression import Apply, Read
from embed.cli.app import app, run
from embed.cpu.compile import compile_cpu
from embed.cpu.export.c_items import Body
from embed.cpu.export.c_source import source, write_source
from isa import interpreter
from isa.bench import Bench
from isa.model import Instruction, Isa
from isa.words import from_bytes

NHWC = {"inp": "NHWC", "out": "NHWC"}
FLAGS = ("-O2", "-Wall", "-Wextra", "-Werror")
COMMON = ("main", "reference", "next_number", "from_bf16", "to_bf16", "from_f16", "to_f16")


def toolchain(name: str) -> tuple[list[str], list[str]]:
    """How to compile and how to run for an ISA; skips the test where that cannot be."""
    target = isa.load(name)
    native = platform.machine() == target.processor
    cross = "aarch64-linux-gnu-gcc" if target.processor == "aarch64" and not native else "gcc"
    runner = [] if native else ["qemu-aarch64"]
    for tool in (cross, *runner):
        if shutil.which(tool) is None:
            pytest.skip(f"there is no {tool} here")
    if native and target.missing_features():
        pytest.skip(f"this CPU lacks {target.missing_features()}")
    assert target.c is not None
    return [cross, *FLAGS, *target.c.flags, *([] if native else ["-static"])], runner


def checked(compiler: list[str], runner: list[str], file: Path) -> str:
    program = file.with_suffix("")
    made = subprocess.run([*compiler, file, "-lm", "-o", program], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return subprocess.run([*runner, program], capture_output=True, text=True, check=False).stdout


def floats(dtype: str) -> list[tuple[Operator, dict[str, str]]]:
    conv = conv2d(c=3, h=9, w=7, k=17, r=3, s=3, pad=1, dtype=dtype)
    strided = conv2d(c=5, h=9, w=13, k=7, r=3, s=2, pad=1, stride=2, dtype=dtype)
    product = gemm(m=35, n=7, k=19, dtype=dtype)
    return [
        (conv, {}),
        (conv, NHWC),
        (conv, {"out": "NCHW16c"}),
        (strided, NHWC),
        (depthwise_conv2d(c=5, h=7, w=7, r=3, s=3, dtype=dtype), {}),
        (product, {}),
        (gemm(m=1, n=65, k=9, dtype=dtype), {}),
        (gemm(m=6, n=1, k=4, dtype=dtype), {"out": "CR"}),
        (bias_relu(strided, add=True), NHWC),
        (bias_relu(product, high=6), {}),
    ]


def integers(dtype: str) -> list[tuple[Operator, dict[str, str]]]:
    conv = conv2d(c=5, h=9, w=7, k=17, r=3, s=3, pad=1, dtype=dtype)
    return [
        (conv, NHWC),
        (requantise(conv, shift=3, bias=True, relu=True), NHWC),
        (gemm(m=35, n=7, k=19, dtype=dtype), {}),
    ]


CASES = {
    "avx512": floats("f32"),
    "avx2": floats("f32"),
    "neon": floats("f32"),
    "avx512_vnni": integers("u8*i8"),
    "avx512_bf16": floats("bf16")[:2],
    "neon_dotprod": integers("i8"),
    "neon_fp16": floats("f16:f16")[:2],
}


@pytest.mark.parametrize("name", CASES)
def test_the_self_tests_pass(name: str, tmp_path: Path) -> None:
    """One program for all files of an ISA: each is included, what does not carry its name renamed."""
    compiler, runner = toolchain(name)
    lines = []
    for number, (operator, layouts) in enumerate(CASES[name]):
        kernel = compile_cpu(operator, isa.load(name), layouts=layouts)
        (file,) = write_source(kernel, tmp_path, f"kernel{number}")
        lines += [f"#undef {word}\n#define {word} {word}_of_{number}" for word in COMMON]
        lines.append(f'#include "{file.name}"')
    lines += [f"#undef {word}" for word in COMMON]
    calls = " || ".join(f"main_of_{number}()" for number in range(len(CASES[name])))
    program = tmp_path / "all.c"
    program.write_text("\n".join([*lines, f"int main(void) {{ return {calls}; }}", ""]))
    assert checked(compiler, runner, program) == "ok\n" * len(CASES[name])


def test_the_self_test_of_one_file_passes(tmp_path: Path) -> None:
    compiler, runner = toolchain("avx2")
    kernel = compile_cpu(gemm(m=35, n=7, k=19, dtype="f32"), isa.load("avx2"))
    (file,) = write_source(kernel, tmp_path, "kernel")
    assert checked(compiler, runner, file) == "ok\n"


def test_a_wrong_kernel_fails_its_self_test(tmp_path: Path) -> None:
    compiler, runner = toolchain("avx2")
    kernel = compile_cpu(gemm(m=8, n=8, k=8, dtype="f32"), isa.load("avx2"))
    file = tmp_path / "kernel.c"
    file.write_text(source(kernel, "kernel").replace("_mm256_fmadd_ps", "_mm256_fmsub_ps"))
    assert checked(compiler, runner, file).startswith("element 0: ")


@pytest.mark.parametrize("name", ["avx512", "avx512_vnni", "avx512_bf16", "avx2", "neon", "neon_dotprod", "neon_fp16"])
def test_every_template_does_what_its_pattern_says(name: str, tmp_path: Path) -> None:
    """One C program for all entries of a file, on drawn values; the interpreter runs the patterns on the same."""
    compiler, runner = toolchain(name)
    target = isa.load(name)
    entries = [entry for entry in target.instructions.values() if entry.c]
    benches = [drawn(target, entry, np.random.default_rng(number)) for number, entry in enumerate(entries)]
    functions = "\n".join(bench_function(bench) for bench in benches)
    calls = "\n".join(f"    {bench.entry.name}();" for bench in benches)
    file = tmp_path / "entries.c"
    file.write_text(f"{includes(target)}\n{functions}\nint main(void) {{\n{calls}\n    return 0;\n}}\n")
    for bench, line in zip(benches, checked(compiler, runner, file).splitlines(), strict=True):
        output = bench.entry.pattern.output.tensor
        tensor = bench.entry.operands[output].tensor
        interpreter.run(target, bench.item, bench.memories)
        found = from_bytes(np.frombuffer(bytes.fromhex(line), np.uint8)[None], tensor)[0]
        assert np.array_equal(found, bench.read(output)), bench.entry.name


def drawn(target: Isa, entry: Instruction, random: np.random.Generator) -> Bench:
    """Integers are extremes and noise; floats are plain numbers and shifts less than the width.

    What an instruction does with others is said, and tested, in the ISA files.
    """
    bench = Bench(target, entry, random)
    for name in bench.at:
        tensor = bench.operand(name).tensor
        if tensor.dtype[0] in "fb":
            bench.write(name, (100 * random.normal(size=tensor.shape)).astype(numpy_dtype(tensor.dtype)))
    match entry.pattern.body:
        case Apply("shr" | "shl", (_, Read(name, _))) if name in bench.at:
            bench.write(name, random.integers(0, 32, bench.operand(name).tensor.shape).astype(np.int32))
    return bench


def includes(target: Isa) -> str:
    assert target.c is not None
    return "\n".join(f"#include <{header}>" for header in ("stdint.h", "stdio.h", "string.h", *target.c.headers))


def bench_function(bench: Bench) -> str:
    """A C function that fills the registers and the memory, does the entry, and prints its output's bytes."""
    body = Body(bench.target, {})
    lines = body.lines([bench.item])
    external = next(name for name, memory in bench.target.memories.items() if memory.kind == "external")
    text = [f"static unsigned char {external}[] = {{{listed(bench.memories[external][:1024])}}};"]
    text += [f"typedef {kind} {alias} __attribute__((may_alias));" for alias, kind in body.elements.items()]
    for variable, kind in body.vectors.items():
        memory, number = re.fullmatch(r"([a-z]+)(\d+)", variable).groups()
        text.append(f"const unsigned char {variable}_bytes[] = {{{listed(bench.memories[memory][int(number)])}}};")
        text.append(f"{kind} {variable}; memcpy(&{variable}, {variable}_bytes, sizeof {variable});")
    pointers = bench.target.memories[external].pointers
    for scalar in body.scalars:
        address = int.from_bytes(bench.memories[pointers][int(scalar[1:])].tobytes()[:8], "little")
        text.append(f"intptr_t {scalar} = (intptr_t)({external} + {address});")
    operand = bench.entry.operands[bench.entry.pattern.output.tensor]
    at = f"{external} + {bench.at[operand.name]}"
    if not operand.pointers:
        first = f"{operand.memory}{bench.item[operand.name]}"
        rest = operand.tensor.bytes // len(bench.memories[operand.memory][0])
        registers = [f"{operand.memory}{bench.item[operand.name] + part}" for part in range(max(1, rest))]
        text.append(f"unsigned char result[{len(registers)} * sizeof {first}];")
        lines += [
            f"memcpy(result + {part} * sizeof {first}, &{register}, sizeof {first});"
            for part, register in enumerate(registers)
        ]
        at = "result"
    text.append(f"(void){external};")
    show = f'for (int i = 0; i < {operand.tensor.bytes}; ++i) printf("%02x", ({at})[i]);'
    return "\n".join([f"static void {bench.entry.name}(void) {{", *text, *lines, show, 'puts("");', "}"])


def listed(data: np.ndarray) -> str:
    return ",".join(map(str, data.reshape(-1)))


def test_an_entry_without_a_template_is_named(tmp_path: Path) -> None:
    text = isa.load("avx2").path.read_text().replace('emit.c   = "_mm256_fmadd_ps({a}, {b}, {acc})"\n', "")
    (tmp_path / "mine.toml").write_text(text)
    kernel = compile_cpu(gemm(m=8, n=8, k=8, dtype="f32"), isa.load(tmp_path / "mine.toml"))
    with pytest.raises(UserError, match=r"'vfmadd231ps_ymm_ymm_ymm' has no emit\.c"):
        source(kernel, "kernel")


def test_the_command_writes_c(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["gemm", "m=5", "n=6", "k=7", "--isa", "avx512", "--dtype", "f32", "--emit", "c"]
    assert run(app, ["compile", *words, "--name", "my_gemm", "--out", str(tmp_path)]) == 0
    assert str(tmp_path / "my_gemm.c") in capsys.readouterr().out
    assert "cc -O2 -mavx512f" in (tmp_path / "my_gemm.c").read_text()
