"""Operators followed by element-wise statements, and what kernels make of them against the reference."""

import os
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import isa
from dataflow import Operator, evaluate
from dataflow.computation import Tensor
from dataflow.dtypes import numpy_dtype
from dataflow.expression import Read
from dataflow.notation import parse
from embed.cpu.compile import compile_cpu
from embed.cpu.kernel import CpuKernel

ISAS = ("avx512", "avx2", "avx512_bf16", "avx512_vnni")
MISSING = {name: isa.load(name).missing_features() for name in ISAS} if os.uname().machine == "x86_64" else {}


def on(*names: str) -> list[Any]:
    found: list[Any] = []
    for name in names:
        reason = f"this CPU lacks {MISSING[name]}" if name in MISSING else "this is not x86-64"
        skipped = [pytest.mark.skip(reason=reason)] if MISSING.get(name, True) else []
        found.append(pytest.param(name, marks=skipped, id=name))
    return found


def followed(operator: Operator, text: str, dtype: str, **inputs: tuple[str, tuple[int, ...]]) -> Operator:
    """`out[@] = TEXT` over the sums `acc`; `@` stands for the output's index d0,d1,..., `inputs` are (dtype, shape)."""
    sums = replace(operator.main.tensors[0], name="acc")
    main = replace(
        operator.main, tensors=(sums, *operator.main.tensors[1:]), output=Read("acc", operator.main.output.index)
    )
    dims = {f"d{axis}": size for axis, size in enumerate(sums.shape)}
    tensors = {"out": replace(sums, name="out", dtype=dtype), "acc": sums}
    tensors |= {name: Tensor(name, kind, shape) for name, (kind, shape) in inputs.items()}
    statement = parse(f"out[@] = {text}".replace("@", ",".join(dims)), dims, tensors)
    return Operator(operator.name, (main, statement), operator.parameters)


def arrays(operator: Operator, seed: int = 0) -> dict[str, Any]:
    """Small integers in the tensors' own shapes: f32 holds every sum of products exactly."""
    rng = np.random.default_rng(seed)
    dtypes = {tensor.name: numpy_dtype(tensor.dtype) for tensor in operator.inputs}
    return {
        tensor.name: rng.integers(-4 if tensor.dtype[0] != "u" else 0, 5, tensor.shape).astype(dtypes[tensor.name])
        for tensor in operator.inputs
    }


def agrees(operator: Operator, name: str, layouts: dict[str, str], **options: Any) -> CpuKernel:
    """Compile and run; the output is the reference's, bit for bit."""
    kernel = compile_cpu(operator, isa.load(name), layouts=layouts, **options)
    given = arrays(operator)
    lying = {tensor: kernel.physical[tensor].pack(array) for tensor, array in given.items()}
    kernel.fix(**{tensor: lying.pop(tensor) for tensor in options.get("constants", ())})
    out = kernel.physical[operator.output.name].unpack(kernel(**lying))
    assert np.array_equal(out, evaluate(operator, given)), (operator, layouts)
    return kernel
