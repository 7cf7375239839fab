"""The kernels given to LLVM compute what ours compute, so that compile times compare the same work."""

import ctypes
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from native_fake import needs

import dataflow
import isa
from dataflow import UserError
from deepbench.cli import app
from deepbench.native.compile_time import CompileRecord, measure
from deepbench.native.llvm import compiler, ir
from deepbench.problems import select
from embed.cli.app import run
from embed.cli.data import random_arrays
from embed.cpu.compile import compile_cpu
from embed.cpu.kernel import CpuKernel
from embed.cpu.runner.native import pointers
from isa.x86 import disassemble

pytest.importorskip("llvmlite", reason="llvmlite is not installed (isa-embed[llvm])")

NHWC = {"inp": "NHWC", "out": "NHWC"}
OPERATORS = {
    "product": (dataflow.gemm(m=33, n=70, k=19, dtype="f32"), {}, ()),
    "packed product": (dataflow.gemm(m=40, n=21, k=12, dtype="f32"), {"a": "CR", "b": "CR", "out": "CR"}, ("a",)),
    "one column": (dataflow.gemm(m=50, n=1, k=30, dtype="f32"), {"a": "CR", "b": "CR", "out": "CR"}, ("a",)),
    "convolution": (dataflow.conv2d(c=5, h=9, w=11, k=37, r=3, s=2, stride=2, pad=1, dtype="f32"), NHWC, ("wgt",)),
}


def by_llvm(kernel: CpuKernel, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """What LLVM's code makes of arrays that lie as the kernel wants them."""
    out = kernel.physical[kernel.embedding.operator.output.name].empty()
    held = [
        out if found.tensor not in arrays else found.feed(arrays[found.tensor]) for found in kernel.streams.values()
    ]
    engine = compiler.code_of(compiler.compile_ir(ir.module(kernel)))
    signature = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
    call = signature(engine.get_function_address(ir.NAME))
    middle = kernel.tiles // 2
    table = pointers([array.ctypes.data for array in held])
    call(table, middle, kernel.tiles)
    call(table, 0, middle)
    return out


@pytest.mark.parametrize("name", ["avx512", "avx2"])
@pytest.mark.parametrize("case", OPERATORS)
def test_llvm_computes_the_same_bits(case: str, name: str) -> None:
    needs(name)
    operator, layouts, fixed = OPERATORS[case]
    kernel = compile_cpu(operator, isa.load(name), layouts=layouts, constants=fixed)
    arrays = {}
    for tensor, array in random_arrays(operator, 7).items():
        arrays[tensor] = kernel.physical[tensor].empty()
        arrays[tensor][...] = array
    kernel.fix(**{tensor: arrays[tensor] for tensor in fixed})
    ours = kernel(*(array for tensor, array in arrays.items() if tensor not in fixed))
    np.testing.assert_array_equal(by_llvm(kernel, arrays), ours)
    exact, bound = dataflow.accuracy.bounded(operator, arrays)
    assert np.all(np.abs(ours - exact) <= bound)


def test_as_many_multiply_accumulates_as_ours() -> None:
    """In the machine code: LLVM unrolls as often as the schedule does, and nothing else."""
    kernel = compile_cpu(dataflow.gemm(m=28, n=64, k=400, dtype="f32"), isa.load("avx512"))
    compiled = compiler.compile_ir(ir.module(kernel))
    sections = import_module("llvmlite.binding").object_file.ObjectFileRef.from_data(compiled.code).sections()
    text = max((section.data() for section in sections if section.is_text()), key=len)
    lines = disassemble(text).splitlines()
    ours = kernel.assembly().splitlines()
    assert sum("vfmadd" in line for line in lines) == sum("vfmadd" in line for line in ours)


def test_loops_stay_loops() -> None:
    """As many multiply-accumulates as the register tile has sums, in one loop over the whole sum."""
    kernel = compile_cpu(dataflow.gemm(m=28, n=64, k=400, dtype="f32"), isa.load("avx512"))
    text = ir.module(kernel)
    tiles = kernel.schedule.tiles
    assert text.count("call <16 x float> @llvm.fma") == tiles["m"] * tiles["n_o"]
    assert text.count(", 400\n") == 1
    assert text.count(f'!"llvm.loop.unroll.count", i32 {tiles["k"]}') == 1
    assert "llvm.loop" not in ir.module(kernel, unrolled=False)


def test_only_float_vectors_have_ir() -> None:
    kernel = compile_cpu(dataflow.gemm(m=16, n=16, k=16, dtype="u8*i8"), isa.load("avx512_vnni"))
    with pytest.raises(UserError, match="no multiply-accumulate of float vectors"):
        ir.module(kernel)


def test_problems_are_measured() -> None:
    (record,) = measure(select(["small_gemm"], only=["gemm/002"]), isa.load("avx512"), lambda _: None)
    assert isinstance(record, CompileRecord)
    assert record.error == ""
    assert record.compile_s is not None
    assert record.assemble_s is not None
    assert record.compile_s > record.assemble_s > 0
    assert record.ratio is not None
    assert record.llvm_plain_s is not None
    assert record.llvm_bytes > 0


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["deepbench", "--isa", "avx512", "--compile-time", "--suite", "small_gemm", "--only", "002"]
    assert run(app, [*command, "--csv", str(tmp_path / "r.csv"), "--out", str(tmp_path / "state")]) == 0
    text = capsys.readouterr().out
    assert "LLVM -O3 ms, median" in text
    assert len((tmp_path / "r.csv").read_text().splitlines()) == 2
