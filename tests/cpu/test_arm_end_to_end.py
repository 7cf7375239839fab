"""The same kernels for AArch64, run in an emulator: one lowering serves both kinds of machine."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import isa
from dataflow import Operator, batched_gemm, conv2d, depthwise_conv2d, evaluate, gemm, gemv
from dataflow.dtypes import numpy_dtype
from embed.cpu.compile import candidates, compile_cpu, kernel_of
from embed.cpu.kernel import CpuKernel
from embed.cpu.runner import emulator, qemu
from tests.operators import displaced

NHWC = {"inp": "NHWC", "out": "NHWC"}
BLOCKED = {"inp": "NCHW4c", "out": "NCHW8c"}
ACTIVATIONS = st.sampled_from(["NCHW", "NHWC", "NCHW4c", "NCHW8c", "NCHW16c"])
MATRICES = st.sampled_from(["RC", "CR", "CR4c", "RC8c"])
TYPES = {"neon": "f32", "neon_fp16": "f16:f16", "neon_dotprod": "i8", "neon_i8mm": "i8", "neon_bf16": "bf16"}
SMALL = st.sampled_from([1, 2, 3, 5, 7])
GUARD = 64

pytestmark = pytest.mark.skipif(emulator.missing(), reason="unicorn is not installed")


def operators(dtype: str) -> list[tuple[Operator, dict[str, str]]]:
    return [
        (gemm(m=9, n=20, k=16, dtype=dtype), {}),
        (gemm(m=5, n=13, k=7, dtype=dtype), {}),
        (gemm(m=1, n=1, k=1, dtype=dtype), {}),
        (gemv(m=18, k=9, dtype=dtype), {}),
        (batched_gemm(batch=2, m=3, n=6, k=5, dtype=dtype), {}),
        (conv2d(c=8, h=6, w=5, k=12, r=3, s=3, pad=1, dtype=dtype), NHWC),
        (conv2d(c=3, h=7, w=6, k=5, r=3, s=2, pad=1, stride=2, dtype=dtype), NHWC),
        (conv2d(c=64, h=7, w=14, k=8, r=3, s=3, pad=1, dtype=dtype), NHWC),
        (depthwise_conv2d(c=9, h=5, w=6, r=3, s=3, pad=1, dtype=dtype), NHWC),
        (gemm(m=21, n=11, k=37, dtype=dtype), {"a": "CR", "b": "CR", "out": "CR"}),
        (gemm(m=6, n=9, k=6, dtype=dtype, transpose_a=True, transpose_b=True), {}),
        (conv2d(c=5, h=7, w=9, k=7, r=3, s=3, pad=1, dilation=2, dtype=dtype), {}),
        (conv2d(c=6, h=5, w=5, k=10, r=1, s=1, groups=2, dtype=dtype), NHWC),
        (conv2d(c=9, h=5, w=6, k=13, r=3, s=3, pad=1, dtype=dtype), BLOCKED),
        (depthwise_conv2d(c=9, h=5, w=6, r=3, s=3, pad=1, dtype=dtype), BLOCKED),
    ]


def arrays(kernel: CpuKernel) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    found = {}
    for tensor in kernel.operator.inputs:
        found[tensor.name] = rng.integers(-4, 5, tensor.shape).astype(numpy_dtype(tensor.dtype))
    return found


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("case", range(len(operators("i8"))))
def test_kernels(name: str, case: int) -> None:
    operator, layouts = operators(TYPES[name])[case]
    agrees(operator, name, layouts)


@settings(max_examples=25)
@given(
    name=st.sampled_from(list(TYPES)),
    c=st.sampled_from([1, 3, 5, 8, 17, 36]),
    k=st.sampled_from([1, 7, 8, 17]),
    groups=st.sampled_from([1, 1, 2]),
    space=st.tuples(st.sampled_from([5, 7]), st.sampled_from([6, 13])),
    window=st.tuples(st.sampled_from([1, 3]), st.sampled_from([1, 2, 3])),
    steps=st.tuples(st.integers(1, 3), st.integers(1, 2), st.integers(0, 1)),
    layouts=st.fixed_dictionaries({"inp": ACTIVATIONS, "out": ACTIVATIONS}),
    fixed=st.booleans(),
    threads=st.integers(1, 2),
)
def test_odd_convolutions(
    name: str,
    c: int,
    k: int,
    groups: int,
    space: tuple[int, int],
    window: tuple[int, int],
    steps: tuple[int, int, int],
    layouts: dict[str, str],
    fixed: bool,
    threads: int,
) -> None:
    (h, w), (r, s), (stride, dilation, pad) = space, window, steps
    sizes = {"c": c * groups, "h": h, "w": w, "k": k * groups, "r": r, "s": s, "groups": groups}
    operator = conv2d(**sizes, stride=stride, dilation=dilation, pad=pad, dtype=TYPES[name])
    agrees(operator, name, layouts, "wgt" if fixed else "", threads)


@settings(max_examples=25)
@given(
    name=st.sampled_from(list(TYPES)),
    m=SMALL | st.integers(8, 40),
    n=SMALL | st.integers(8, 40),
    k=SMALL | st.integers(8, 200),
    transposed=st.tuples(st.booleans(), st.booleans()),
    layouts=st.fixed_dictionaries({"a": MATRICES, "b": MATRICES, "out": MATRICES}),
    fixed=st.sampled_from(["", "a", "b"]),
)
def test_odd_products(
    name: str, m: int, n: int, k: int, transposed: tuple[bool, bool], layouts: dict[str, str], fixed: str
) -> None:
    operator = gemm(m=m, n=n, k=k, transpose_a=transposed[0], transpose_b=transposed[1], dtype=TYPES[name])
    agrees(operator, name, layouts, fixed)


@settings(max_examples=20)
@given(name=st.sampled_from(list(TYPES)), data=st.data())
def test_displaced_products(name: str, data: st.DataObject) -> None:
    agrees(data.draw(displaced(TYPES[name])), name, {})


@pytest.mark.parametrize("case", range(len(operators("i8"))))
@pytest.mark.parametrize(("name", "entry"), [("neon_i8mm", "smmla"), ("neon_bf16", "bfmmla")])
def test_matrix_results(name: str, entry: str, case: int) -> None:
    """Words of 2 x 2 results are packed, and unpacked behind the kernel."""
    if not qemu.available():
        pytest.skip("qemu-aarch64 is not installed, and unicorn lacks matrix products")
    operator, layouts = operators(TYPES[name])[case]
    target = isa.load(name)
    found = candidates(operator, target, layouts=layouts, thorough=True).candidates
    chosen = next((candidate for candidate in found if candidate.embedding.name == entry), None)
    if chosen is None:
        pytest.skip(f"{entry} does not fit {operator.title}")
    runs_right(kernel_of(operator, chosen, layouts=layouts))


def agrees(operator: Operator, name: str, layouts: dict[str, str], fixed: str = "", threads: int = 1) -> None:
    """The emulator computes what the reference does, the input `fixed` packed before."""
    target = isa.load(name)
    kernel = compile_cpu(operator, target, layouts=layouts, threads=threads, constants=(fixed,) if fixed else ())
    features = set(target.instructions[kernel.embedding.name].requires)
    if features & emulator.MISSING and not qemu.available():
        pytest.skip("qemu-aarch64 is not installed, and unicorn lacks " + ", ".join(features & emulator.MISSING))
    runs_right(kernel, fixed)


def runs_right(kernel: CpuKernel, fixed: str = "") -> None:
    inputs = arrays(kernel)
    lying = {tensor: kernel.physical[tensor].pack(array) for tensor, array in inputs.items()}
    if fixed:
        kernel.fix(**{fixed: lying.pop(fixed)})
    assert np.array_equal(kernel(**lying), kernel.physical["out"].pack(evaluate(kernel.operator, inputs)))


@pytest.mark.parametrize("name", TYPES)
def test_small_results_leave_what_is_behind_them_alone(name: str) -> None:
    """Outputs of few elements, in place, in an array that goes on behind them."""
    shapes = [(m, n, k) for m, n in ((1, 1), (1, 2), (2, 1), (1, 3), (3, 1)) for k in (1, 16)]
    kernels = [compile_cpu(gemm(m=m, n=n, k=k, dtype=TYPES[name]), isa.load(name)) for m, n, k in shapes]
    for kernel in kernels:
        output, *others = kernel.streams.values()
        features = set(kernel.target.instructions[kernel.embedding.name].requires)
        if not output.feed.in_place or (features & emulator.MISSING and not qemu.available()):
            continue
        inputs = arrays(kernel)
        want = evaluate(kernel.operator, inputs).tobytes()
        memory = np.full(len(want) + GUARD, 0xA5, np.uint8)
        given = (memory, *(found.feed(inputs[found.tensor]) for found in others), *kernel.tables)
        kernel.function(given)([0, kernel.tiles])
        assert memory.tobytes() == want + b"\xa5" * GUARD, kernel.operator.title
