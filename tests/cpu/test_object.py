"""Emitted objects and assembler text: C programs that link them compute the same bits as the Python kernel."""

import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from here import NHWC

import embed
import isa
from dataflow import Operator, UserError, bias_relu, conv2d, depthwise_conv2d, gemm, requantise
from embed import CpuKernel
from embed.cpu.export import emit
from embed.cpu.export.c_packing import c_type
from embed.cpu.export.object import relocatable
from embed.cpu.runner.machine import machine_of

PREFIX = {"x86_64": "", "aarch64": "aarch64-linux-gnu-"}
TYPES = {
    "avx512": "f32", "avx2": "f32", "avx512_bf16": "bf16", "avx512_vnni": "u8*i8",
    "neon": "f32", "neon_dotprod": "i8", "neon_bf16": "bf16", "neon_i8mm": "i8",
}  # fmt: skip
STRICT = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-Wno-unused-function", "-O1"]


def tool(target: isa.Isa, name: str) -> str:
    """The program for that machine's code; skips the test without it."""
    architecture = machine_of(target).architecture
    prefix = "" if architecture == platform.machine() else PREFIX[architecture] or f"{architecture}-linux-gnu-"
    if shutil.which(prefix + name) is None:
        pytest.skip(f"{prefix}{name} is not installed")
    return prefix + name


def runner(target: isa.Isa) -> list[str]:
    """What executes a program of that machine here; skips the test where nothing does."""
    architecture = machine_of(target).architecture
    if architecture == platform.machine():
        if missing := target.missing_features():
            pytest.skip(f"this CPU lacks {', '.join(missing)}")
        return []
    if shutil.which(f"qemu-{architecture}") is None:
        pytest.skip(f"qemu-{architecture} is not installed")
    return [f"qemu-{architecture}", "-cpu", "max"]


def cases() -> list[Any]:
    found = []
    for name, dtype in TYPES.items():
        small = conv2d(c=5, h=7, w=9, k=19, r=3, s=3, pad=1, stride=(2, 1), dtype=dtype)
        found += [
            pytest.param(name, gemm(m=9, n=37, k=11, dtype=dtype), {}, (), id=f"{name}-gemm"),
            pytest.param(name, small, NHWC, ("wgt",), id=f"{name}-constant weights"),
            pytest.param(name, small, {}, (), id=f"{name}-conv2d"),
        ]
    depthwise = depthwise_conv2d(c=19, h=6, w=5, r=3, s=3, pad=1, dtype="f32")
    grouped = conv2d(c=6, h=6, w=5, k=8, r=3, s=3, groups=2, dtype="f32")
    turned = gemm(m=21, n=6, k=40, transpose_a=True, transpose_b=True, dtype="f32")
    blocked = {"inp": "NCHW8c", "wgt": "KCRS4c16k4c", "out": "NCHW16c"}
    for operator, layouts in ((depthwise, NHWC), (grouped, {}), (turned, {}), (depthwise, blocked), (grouped, blocked)):
        found.append(pytest.param("avx2", operator, layouts, (), id=f"avx2-{operator.title} {layouts.get('out')}"))
    after = conv2d(c=5, h=7, w=9, k=19, r=3, s=3, pad=1, dtype="f32")
    for name in ("avx512", "avx2", "neon"):
        added = bias_relu(after, add=True, high=6)
        found.append(pytest.param(name, added, NHWC | {"res": "NHWC"}, ("wgt", "bias"), id=f"{name}-epilogue"))
    for name in ("avx512_vnni", "neon_dotprod"):
        narrow = requantise(gemm(m=9, n=37, k=11, dtype=TYPES[name]), bias=True)
        found.append(pytest.param(name, narrow, {}, (), id=f"{name}-epilogue"))
    return found


def random_inputs(kernel: CpuKernel) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    found = {}
    for tensor in kernel.operator.inputs:
        physical = kernel.physical[tensor.name]
        dtype = physical.empty().dtype
        array = rng.integers(-99, 100, tensor.shape) if dtype.kind in "iu" else rng.normal(size=tensor.shape)
        found[tensor.name] = physical.pack(array.astype(dtype))
    return found


def memory(array: np.ndarray) -> bytes:
    order = sorted(range(array.ndim), key=lambda axis: -array.strides[axis])
    return np.ascontiguousarray(array.transpose(order)).tobytes()


def program(kernel: CpuKernel, name: str) -> str:
    """A C program that reads every input from a file, packs it, runs all tiles and writes the output."""
    lines = [f'#include "{name}.h"', "#include <stdio.h>", "#include <stdlib.h>"]
    lines += ["static void transfer(void *data, size_t size, size_t count, FILE *file, int out) {"]
    lines += ["    if (!file) exit(1);"]
    lines += ["    if ((out ? fwrite(data, size, count, file) : fread(data, size, count, file)) != count) exit(2);"]
    lines += ["    fclose(file);", "}", "int main(void) {"]
    given = []
    upper = name.upper()
    output = kernel.operator.output.name
    last = []
    for found in kernel.streams.values():
        tensor = found.tensor
        if tensor in kernel.constants:
            continue
        kind = c_type(kernel.physical[tensor].tensor.dtype)
        size = f"{upper}_{tensor.upper()}_SIZE"
        lines.append(f"    {kind} *{tensor} = malloc({size} * sizeof *{tensor});")
        if tensor != output:
            lines.append(f'    transfer({tensor}, sizeof *{tensor}, {size}, fopen("{tensor}", "rb"), 0);')
        given.append(tensor)
        if not found.feed.in_place:
            given[-1] = f"{tensor}_packed"
            lines.append(f"    {kind} *{given[-1]} = malloc({upper}_{tensor.upper()}_PACKED_SIZE * sizeof *{tensor});")
            if tensor == output:
                last.append(f"    {name}_unpack_{tensor}({given[-1]}, {tensor});")
            else:
                lines.append(f"    {name}_pack_{tensor}({tensor}, {given[-1]});")
        if tensor == output:
            last.append(f'    transfer({tensor}, sizeof *{tensor}, {size}, fopen("{tensor}", "wb"), 1);')
    lines += [f"    {name}_run({', '.join(given)});", *last, "    return 0;", "}", ""]
    return "\n".join(lines)


@pytest.mark.parametrize(("name", "operator", "layouts", "constants"), cases())
def test_a_c_program_computes_the_same_bits(
    name: str, operator: Operator, layouts: dict[str, str], constants: tuple[str, ...], tmp_path: Path
) -> None:
    target = isa.load(name)
    gcc, run = tool(target, "gcc"), runner(target)
    inputs = random_inputs(embed.compile(operator, target, layouts=layouts))
    fixed = {tensor: inputs.pop(tensor) for tensor in constants}
    kernel = embed.compile(operator, target, layouts=layouts, constants=fixed)
    emit.write_object(kernel, tmp_path, "kernel")
    for tensor, array in inputs.items():
        (tmp_path / tensor).write_bytes(memory(array))
    (tmp_path / "main.c").write_text(program(kernel, "kernel"))
    command = [gcc, *STRICT, "-static", "main.c", "kernel.o", "-o", "main"]
    built = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    assert built.stderr == ""
    subprocess.run([*run, "./main"], cwd=tmp_path, check=True, timeout=60)
    assert (tmp_path / operator.output.name).read_bytes() == memory(kernel(**inputs))


@pytest.mark.parametrize("name", TYPES)
def test_the_assembler_makes_the_same_bytes(name: str, tmp_path: Path) -> None:
    target = isa.load(name)
    operator = conv2d(c=5, h=7, w=9, k=35, r=3, s=3, pad=1, dtype=TYPES[name])
    inputs = random_inputs(embed.compile(operator, target, layouts=NHWC))
    kernel = embed.compile(operator, target, layouts=NHWC, constants={"wgt": inputs["wgt"]})
    emit.write_object(kernel, tmp_path, "kernel")
    emit.write_assembly(kernel, tmp_path, "kernel")
    subprocess.run([tool(target, "as"), "kernel.s", "-o", "text.o"], cwd=tmp_path, check=True)
    for section in (".text", ".rodata"):
        found = []
        for file in ("kernel", "text"):
            copy = [tool(target, "objcopy"), "-O", "binary", "-j", section, f"{file}.o", f"{file}.bin"]
            subprocess.run(copy, cwd=tmp_path, check=True)
            found.append((tmp_path / f"{file}.bin").read_bytes())
        assert found[0] == found[1]
        assert found[0]
    symbols = [
        subprocess.run([tool(target, "nm"), "--defined-only", "-P", file], cwd=tmp_path, capture_output=True, text=True)
        for file in ("kernel.o", "text.o")
    ]
    assert symbols[0].stdout == symbols[1].stdout
    assert "kernel T 0" in symbols[0].stdout


@pytest.mark.parametrize("architecture", ["x86_64", "aarch64"])
def test_objects_are_well_formed(architecture: str, tmp_path: Path) -> None:
    if shutil.which("readelf") is None:
        pytest.skip("readelf is not installed")
    (tmp_path / "x.o").write_bytes(relocatable(architecture, "f", b"\xc3\0\0\0", {"a": b"12345", "b": b"6"}))
    shown = subprocess.run(["readelf", "-aW", "x.o"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "Warning" not in shown.stderr + shown.stdout
    assert {"x86_64": "X86-64", "aarch64": "AArch64"}[architecture] in shown.stdout
    assert "GNU-stack" in shown.stdout
    symbols = [line.split() for line in shown.stdout.splitlines() if "GLOBAL" in line]
    assert [(s[1], s[2], s[3], s[7]) for s in symbols] == [
        ("0000000000000000", "4", "FUNC", "f"),
        ("0000000000000000", "5", "OBJECT", "a"),
        ("0000000000000040", "1", "OBJECT", "b"),
    ]


def test_names_that_c_does_not_take(tmp_path: Path) -> None:
    kernel = embed.compile(gemm(m=2, n=3, k=4, dtype="f32"), isa.load("avx2"))
    for name in ("", "a-b", "1a", "int", "é"):
        with pytest.raises(UserError, match="is no name for a C function"):
            emit.write_object(kernel, tmp_path, name)
    assert list(tmp_path.iterdir()) == []


def test_the_header_also_serves_cpp(tmp_path: Path) -> None:
    target = isa.load("avx2")
    kernel = embed.compile(conv2d(c=3, h=5, w=5, k=4, r=3, s=3, pad=1, dtype="f32"), target)
    emit.write_object(kernel, tmp_path, "conv")
    (tmp_path / "use.cc").write_text('#include "conv.h"\n#include "conv.h"\n')
    command = [tool(target, "g++"), "-Wall", "-Wextra", "-Wno-unused-function", "-Werror"]
    subprocess.run([*command, "-c", "use.cc", "-o", "use.o"], cwd=tmp_path, check=True)
