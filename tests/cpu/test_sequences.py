"""Entries that are several instructions: native sums of i16 and i32, what a core takes for them, and wrong ones."""

import os
import shutil
import subprocess
from pathlib import Path

import iced_x86
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import embed
import isa
from dataflow import Operator, conv2d, evaluate, gemm, infer_all, requantise
from embed.cli.app import app, run
from embed.cli.data import random_arrays
from embed.cpu.export.c_source import write_source
from embed.cpu.kernel import CpuKernel
from embed.cpu.measuring.count import count
from embed.gates import run_gates
from isa.source import Source

ISAS = [name for name in ("avx2", "avx512") if os.uname().machine == "x86_64" and not isa.load(name).missing_features()]
pytestmark = pytest.mark.skipif(not ISAS, reason="this CPU has no AVX2")


def native(operator: Operator, name: str, **options: object) -> CpuKernel:
    kernel = embed.compile(operator, isa.load(name), **options)  # type: ignore[arg-type]
    assert isinstance(kernel, CpuKernel)
    assert isa.load(name).instructions[kernel.embedding.name].sequence
    return kernel


@given(data=st.data())
@settings(max_examples=12, deadline=None)
def test_products_of_halfwords(data: st.DataObject) -> None:
    """Against numpy in i64, wrapped; sums of products of -32768 wrap."""
    m, n, k = (data.draw(st.integers(1, 40)) for _ in range(3))
    edge = data.draw(st.booleans())
    kernel = native(gemm(m=m, n=n, k=k, dtype="i16"), data.draw(st.sampled_from(ISAS)))
    random = np.random.default_rng(m * n * k)
    a, b = (random.integers(-(2**15), 2**15, shape).astype(np.int16) for shape in ((m, k), (k, n)))
    if edge:
        a[...], b[...] = -(2**15), -(2**15)
    expected = (a.astype(np.int64) @ b.astype(np.int64)).astype(np.int32)
    assert np.array_equal(kernel(a, b), expected)


@given(data=st.data())
@settings(max_examples=12, deadline=None)
def test_convolutions_of_halfwords(data: st.DataObject) -> None:
    def draw(low: int, high: int) -> int:
        return data.draw(st.integers(low, high))

    groups = draw(1, 2)
    sizes = {"c": groups * draw(1, 4), "h": draw(5, 9), "w": draw(5, 19), "k": groups * draw(1, 20)}
    window = {"r": draw(1, 3), "s": draw(1, 3), "stride": draw(1, 2), "pad": draw(0, 2), "groups": groups}
    conv = conv2d(n=draw(1, 2), **sizes, **window, dtype="i16")
    if data.draw(st.booleans()):
        conv = requantise(conv, shift=draw(0, 9))
    arrays = random_arrays(conv, 7)
    assert np.array_equal(native(conv, data.draw(st.sampled_from(ISAS)))(**arrays), evaluate(conv, arrays))


@pytest.mark.parametrize("name", ["avx_vnni", "avx512_vnni"])
def test_one_instruction_is_better_than_two(name: str) -> None:
    for operator in (gemm(m=33, n=64, k=64, dtype="i16"), conv2d(c=8, h=9, w=16, k=16, r=3, s=3, dtype="i16")):
        kernel = embed.compile(operator, isa.load(name))
        assert isinstance(kernel, CpuKernel)
        assert kernel.embedding.name.startswith("vpdpwssd")


@pytest.mark.parametrize("name", ISAS)
@pytest.mark.parametrize(("i", "j", "k"), [(1, 1, 1), (7, 33, 12), (18, 5, 40)])
def test_products_of_words(name: str, i: int, j: int, k: int) -> None:
    statements = infer_all(["c[i,j] += a[i,k]*b[k,j]"], {"i": i, "j": j, "k": k}, "i32:i32")
    operator = Operator("expr", statements)
    arrays = random_arrays(operator, i)
    exact = arrays["a"].astype(object) @ arrays["b"].astype(object)
    wrapped = np.array((exact + 2**31) % 2**32 - 2**31, np.int32)
    assert np.array_equal(native(operator, name)(**arrays), wrapped)


@pytest.mark.parametrize("name", ISAS)
def test_layouts_threads_and_constants(name: str) -> None:
    conv = conv2d(c=10, h=9, w=9, k=36, r=3, s=3, pad=1, dtype="i16")
    arrays = random_arrays(conv, 0)
    nhwc = {"inp": "NHWC", "out": "NHWC"}
    kernel = native(conv, name, layouts=nhwc, threads=2, constants={"wgt": arrays["wgt"]})
    assert np.array_equal(kernel(kernel.physical["inp"].pack(arrays["inp"])), evaluate(conv, arrays))


@pytest.mark.parametrize("name", ISAS)
def test_the_code_has_the_instructions_and_no_register_twice(name: str) -> None:
    """Each vpmaddwd leaves its pairs in a register that no other instruction but the vpaddd after it reads."""
    code = native(gemm(m=12, n=48, k=16, dtype="i16"), name).code
    decoded = list(iced_x86.Decoder(64, code))
    names = [iced_x86.Formatter(iced_x86.FormatterSyntax.INTEL).format_mnemonic(each) for each in decoded]
    places = [place for place, mnemonic in enumerate(names) if mnemonic == "vpmaddwd"]
    assert places
    assert all(names[place + 1] == "vpaddd" for place in places)
    left = {decoded[place].op0_register for place in places}
    assert len(left) == 1
    users = [place for place, each in enumerate(decoded) if {each.op1_register, each.op2_register} & left]
    assert users == [place + 1 for place in places]
    written = [place for place, each in enumerate(decoded) if each.op0_register in left]
    assert written == places


@pytest.mark.parametrize(("name", "invocations"), [("avx2", 12 * 6 * 8), ("avx512", 12 * 3 * 8)])
def test_what_runs_is_counted(name: str, invocations: int) -> None:
    if name not in ISAS:
        pytest.skip(f"this CPU has no {name}")
    counts = count(native(gemm(m=12, n=48, k=16, dtype="i16"), name))
    adds = sum(times for entry, times in counts.executed.items() if entry.startswith("vpaddd"))
    assert counts.multiply_accumulates == adds == invocations


@pytest.mark.parametrize("name", ISAS)
def test_it_can_be_written_in_c(name: str, tmp_path: Path) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("there is no gcc here")
    target = isa.load(name)
    assert target.c is not None
    for file in write_source(native(gemm(m=5, n=19, k=9, dtype="i16"), name), tmp_path, "product"):
        program = tmp_path / "test"
        subprocess.run(["gcc", "-O1", *target.c.flags, file, "-lm", "-o", program], check=True)
        assert subprocess.run([program], capture_output=True, text=True, check=True).stdout == "ok\n"


def test_a_core_takes_all_micro_operations_and_the_longest_chain() -> None:
    for core in isa.load("avx2").timings.values():
        multiply, add = core.costs["vpmaddwd_ymm_ymm_ymm"], core.costs["vpaddd_ymm_ymm_ymm"]
        whole = core.costs["vpmaddwd_vpaddd_ymm"]
        assert whole.uops == (*multiply.uops, *add.uops)
        assert whole.latency == multiply.latency + add.latency
        assert whole.accumulate == add.latency


def test_a_sequence_has_the_features_of_its_instructions() -> None:
    entry = isa.load("avx512").instructions["vpmaddwd_vpaddd_zmm"]
    assert entry.requires == ("avx512bw", "avx512f")
    assert entry.scratch == ("pairs",)


def test_its_instructions_are_shown_and_have_the_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    parts = "vpmaddwd_ymm_ymm_ymm(dst=pairs, a=a, b=b); vpaddd_ymm_ymm_ymm(dst=acc, a=acc, b=pairs)"
    assert run(app, ["isa", "show", "avx2", "vpmaddwd_vpaddd_ymm"]) == 0
    assert parts in capsys.readouterr().out
    with pytest.raises(isa.IsaError, match="is several instructions, which have the bytes: vpmaddwd"):
        isa.load("avx2").encode(isa.MachineInstruction("vpmaddwd_vpaddd_ymm", {}))


WRONG = """
name = "toy"
[memory]
v = { kind = "register", bits = 128, count = 8 }
[[instruction]]
name = "mul"
index = { l = 4 }
pattern = "dst[l] = a[l] * b[l]"
operands = { dst = { in = "v", type = "i32[l]" }, a = { in = "v", type = "i32[l]" }, b = { in = "v", type = "i32[l]" } }
[[instruction]]
name = "sub"
like = "mul"
pattern = "dst[l] = a[l] - b[l]"
[[instruction]]
name = "mac"
index = { l = 4 }
pattern = "acc[l] += a[l] * b[l]"
sequence = [{ entry = "mul", dst = "product" }, { entry = "sub", dst = "acc", a = "acc", b = "product" }]
operands.acc = { in = "v", type = "i32[l]" }
operands.a = { in = "v", type = "i32[l]" }
operands.b = { in = "v", type = "i32[l]" }
"""


def test_a_sequence_that_does_something_else_fails_its_gate() -> None:
    failed = [result for result in run_gates(Source.of(WRONG, "toy.toml"), isa.loads(WRONG)) if result.failures]
    assert [result.gate for result in failed] == ["sequences: their instructions do it"]
    assert "does not compute `acc[l] += a[l] * b[l]`" in failed[0].failures[0]
