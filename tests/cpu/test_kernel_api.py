"""One way to compile for every machine: what is chosen, what is refused; kernels under many threads and compiles."""

import copy
import gc
import os
import pickle
import resource
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from here import NATIVE, NHWC, TARGET, arrays

import embed
import isa
from dataflow import Operator, UserError, conv2d, evaluate, gemm
from dataflow.dtypes import numpy_dtype
from embed.cpu.compile import compile_cpu
from embed.cpu.kernel import CpuKernel

GEMM = gemm(m=5, n=6, k=7, dtype="f32")
CONV = conv2d(c=5, h=7, w=7, k=6, r=3, s=3, pad=1, dtype="f32")
COMPILES = 1_000
"""Each takes a few milliseconds; a page that each left behind would show as well as with ten times as many."""

PLAIN_ISA = """
name = "plain"
doc = "Registers without encodings."

[memory]
v = { kind = "register", bits = 128, count = 8 }

[[instruction]]
name = "mac"
doc = "A product for each lane."
index = { l = 4 }
pattern = "acc[l] += a[l] * b[l]"
operands = { acc = { in = "v", type = "f32[l]" }, a = { in = "v", type = "f32[l]" }, b = { in = "v", type = "f32[l]" } }
"""


def runs(kernel: embed.Kernel, **given: np.ndarray) -> np.ndarray:
    """Through the protocol that all kernels share."""
    return kernel(**given)


@NATIVE
def test_a_cpu_kernel() -> None:
    kernel = embed.compile(CONV, TARGET, layouts=NHWC, threads=2)
    assert isinstance(kernel, embed.CpuKernel)
    given = arrays(kernel)
    assert np.array_equal(runs(kernel, **given), evaluate(CONV, given))


@NATIVE
@pytest.mark.parametrize("threads", [1, 2])
def test_part_of_the_tiles(threads: int) -> None:
    """Two parts make the whole, and neither writes what is the other's."""
    kernel = compile_cpu(gemm(m=300, n=300, k=7, dtype="f32"), TARGET, threads=threads)
    given, tiles = arrays(kernel), kernel.tiles
    assert tiles > 2
    first, rest = (kernel.part(span)(**given, out=np.zeros((300, 300), "f4")) for span in (range(2), range(2, tiles)))
    assert np.array_equal(first + rest, kernel(**given))
    assert not np.any(first * rest)
    assert np.any(first)
    assert np.any(rest)


@NATIVE
def test_an_embedding_may_be_given() -> None:
    first = embed.compile(CONV, TARGET)
    again = embed.compile(CONV, TARGET, first.embedding)
    assert again.code == first.code


def test_a_vta_kernel_saved_and_loaded(tmp_path: Path) -> None:
    operator = gemm(m=5, n=6, k=7)
    kernel = embed.compile(operator, isa.load("vta"))
    assert isinstance(kernel, embed.VtaKernel)
    given = {name: np.ones(shape, np.int8) for name, shape in (("a", (5, 7)), ("b", (7, 6)))}
    kernel.save(tmp_path / "bundle")
    loaded = embed.load(tmp_path / "bundle")
    target = kernel.target
    assert [*map(target.encode, loaded.code.instructions)] == [*map(target.encode, kernel.code.instructions)]
    assert np.array_equal(runs(loaded, **given), evaluate(operator, given))


def test_an_isa_without_encodings() -> None:
    kernel = embed.compile(GEMM, isa.loads(PLAIN_ISA))
    assert isinstance(kernel, embed.AbstractKernel)
    given = {tensor.name: np.ones(tensor.shape, numpy_dtype(tensor.dtype)) for tensor in GEMM.inputs}
    assert np.array_equal(runs(kernel, **given), evaluate(GEMM, given))
    with pytest.raises(UserError, match="plain has no encodings, so there is no code to save"):
        kernel.save("nowhere")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"layouts": {"x": "NHWC"}}, "layouts: there is no tensor 'x'; there are: inp, wgt, out"),
        ({"layouts": {"inp": "NHXC"}}, "layout NHXC of 'inp': write its dimensions NCHW in the order they lie in"),
        ({"constants": {"out": np.zeros(1)}}, "constants: there is no input 'out'; there are: inp, wgt"),
        ({"constants": {"wgt": np.zeros(1)}}, r"'wgt' has shape \[1\], not \[6, 5, 3, 3\]"),
        ({"threads": 0}, "threads: 0 is not a positive integer"),
        ({"threads": 1.5}, "threads: 1.5 is not a positive integer"),
    ],
)
def test_wrong_options(options: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        embed.compile(CONV, TARGET, **options)


@pytest.mark.parametrize("options", [{"threads": 2}, {"constants": {"a": np.zeros(1)}}])
def test_options_that_vta_does_not_take(options: dict[str, object]) -> None:
    with pytest.raises(UserError, match="vta is no register machine and takes none"):
        embed.compile(gemm(m=5, n=6, k=7), isa.load("vta"), **options)


@NATIVE
def test_wrong_arrays() -> None:
    kernel = embed.compile(GEMM, TARGET)
    a, b = np.zeros((5, 7), np.float32), np.zeros((7, 6), np.float32)
    wide = np.zeros((5, 14), np.float32)
    for given, said in (
        ((a.T, b), r"'a' has shape \[7, 5\], not \[5, 7\]"),
        ((a.astype(np.float64), b), "'a' has dtype float64, not float32"),
        ((wide[:, ::2], b), r"'a' does not lie as RC; give numpy strides \(28, 4\), not \(56, 8\)"),
        ((wide[:, :7], b), r"not \(56, 4\)"),
        ((np.asfortranarray(a), b), r"'a' does not lie as RC.* as np.ascontiguousarray\(array\) has them"),
        ((a, [[0.0]]), "'b' is a list, not a numpy array"),
        ((a,), "input 'b' is missing; the inputs are a, b"),
        ((a, b, b), "the inputs are a, b, each once"),
    ):
        with pytest.raises(UserError, match=said):
            kernel(*given)
    with pytest.raises(UserError, match="each once"):
        kernel(a, b, a=a)
    fixed = np.zeros((5, 6), np.float32)
    fixed.flags.writeable = False
    for out, said in (
        (np.zeros((6, 5), np.float32), "'out' has shape"),
        (np.zeros((5, 6)), "'out' has dtype"),
        (fixed, "cannot be written"),
        (wide.reshape(-1)[:30].reshape(5, 6), "out shares memory with 'a'"),
    ):
        with pytest.raises(UserError, match=said):
            kernel(wide.reshape(-1)[20:55].reshape(5, 7), b, out=out)


@NATIVE
@pytest.mark.parametrize("passed", [copy.copy, copy.deepcopy, lambda kernel: pickle.loads(pickle.dumps(kernel))])
def test_a_used_kernel_goes_to_other_processes(passed: Callable[[CpuKernel], CpuKernel]) -> None:
    kernel = embed.compile(GEMM, TARGET)
    given = arrays(kernel)
    assert np.array_equal(kernel(**given), passed(kernel)(**given))
    kernel(*given.values())
    assert np.array_equal(kernel(**given), passed(kernel)(**given))


def test_a_kernel_is_printed_in_a_line() -> None:
    for target in (TARGET, "vta", "edge"):
        operator = GEMM if target is TARGET else gemm(m=5, n=6, k=7)
        kernel = embed.compile(operator, target)
        assert str(kernel).startswith(f"{operator.title} on {kernel.target.name}: {kernel.embedding}, ")


@NATIVE
def test_arrays_may_start_anywhere() -> None:
    kernel = embed.compile(GEMM, TARGET)
    given = arrays(kernel)
    moved = {}
    for name, array in given.items():
        raw = np.zeros(array.nbytes + 1, np.uint8)
        moved[name] = raw[1:].view(np.float32).reshape(array.shape)
        moved[name][...] = array
    assert np.array_equal(kernel(**moved), evaluate(GEMM, given))


@NATIVE
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("operator", "layouts"), [(CONV, NHWC), (gemm(m=64, n=96, k=80, dtype="f32"), {})])
def test_many_threads_may_run_one_kernel(operator: Operator, layouts: dict[str, str], threads: int) -> None:
    kernel = embed.compile(operator, TARGET, layouts=layouts, threads=threads)
    given = [arrays(kernel, seed) for seed in range(4)]
    expected = [evaluate(operator, each) for each in given]

    def repeat(number: int) -> bool:
        out = kernel.physical[operator.output.name].empty()
        places = list(given[number].values())
        return all(np.array_equal(kernel(*places, out=out), expected[number]) for _ in range(300))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(repeat, range(4)))


@NATIVE
def test_compiling_leaks_nothing() -> None:
    operator = gemm(m=2, n=3, k=4, dtype="f32")
    embedding = compile_cpu(operator, TARGET).embedding
    given = list(arrays(compile_cpu(operator, TARGET)).values())

    def compile_and_run(times: int) -> int:
        for _ in range(times):
            compile_cpu(operator, TARGET, embedding=embedding)(*given)
        gc.collect()
        return resident_bytes()

    before = compile_and_run(COMPILES // 4)
    assert compile_and_run(COMPILES) - before < COMPILES * 256, "a page for each would be 4096 bytes"


@NATIVE
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_has_threads_of_its_own() -> None:
    operator = gemm(m=64, n=64, k=8, dtype="f32")
    kernel = compile_cpu(operator, TARGET, threads=2)
    given = arrays(kernel)
    expected = kernel(**given)
    child = os.fork()
    if not child:
        signal.alarm(10)
        os._exit(0 if np.array_equal(kernel(**given), expected) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@NATIVE
def test_only_inputs_can_be_fixed() -> None:
    kernel = compile_cpu(gemm(m=2, n=3, k=4, dtype="f32"), TARGET, constants=("b",))
    with pytest.raises(UserError, match="there is no input 'weights' to fix; there are: a, b"):
        kernel.fix(weights=np.zeros((3, 4), np.float32))


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


@NATIVE
@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_a_bound_kernel_checks_arrays_once_and_reads_them_each_time(layout: str) -> None:
    """In place, and where inputs and the output are copied to and from rooms."""
    operator = conv2d(c=5, h=6, w=7, k=20, r=3, s=3, pad=1, dtype="f32")
    kernel = compile_cpu(operator, TARGET, layouts={"inp": layout, "out": layout}, constants=("wgt",))
    given = arrays(kernel)
    kernel.fix(wgt=given["wgt"])
    bound = kernel.bind(given["inp"])
    assert bound() is bound.out
    assert np.array_equal(bound(), evaluate(operator, given))
    given["inp"][...] += 1
    assert bound() is bound.out
    assert np.array_equal(bound.out, evaluate(operator, given))
    named = kernel.bind(inp=given["inp"], out=bound.out)
    bound.out[...] = 0
    assert np.array_equal(named(), kernel(given["inp"]))
    with pytest.raises(UserError, match="'inp' has shape"):
        kernel.bind(given["inp"][:, 1:])


@NATIVE
def test_a_constant_that_all_lanes_share_is_kept_as_it_lies() -> None:
    operator = conv2d(c=5, h=6, w=16, k=3, r=2, s=1, dtype="f32")
    kernel = compile_cpu(operator, TARGET, constants=("wgt",))
    rng = np.random.default_rng(0)
    given = {tensor.name: rng.integers(-4, 5, tensor.shape).astype(np.float32) for tensor in operator.inputs}
    expected = evaluate(operator, given)
    weights = given["wgt"].copy()
    kernel.fix(wgt=weights)
    weights[...] = 0
    assert "l=x:" in str(kernel.embedding)
    assert kernel.constants["wgt"].size == weights.size
    assert np.array_equal(kernel(given["inp"]), expected)
