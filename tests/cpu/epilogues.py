"""Operators followed by element-wise statements, and what kernels make of them against the reference."""

from dataclasses import replace
from typing import Any

import numpy as np

import isa
from dataflow import Operator, evaluate
from dataflow.computation import Tensor
from dataflow.expression import Read
from dataflow.notation import parse
from embed.cpu.compile import compile_cpu
from embed.cpu.kernel import CpuKernel


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


def arrays(kernel: CpuKernel, seed: int = 0) -> dict[str, Any]:
    """Small integers lying as the kernel wants them: f32 holds every sum of products exactly."""
    rng = np.random.default_rng(seed)
    found = {}
    for tensor in kernel.embedding.operator.inputs:
        array = kernel.physical[tensor.name].empty()
        array[...] = rng.integers(0 if array.dtype == np.uint8 else -4, 5, tensor.shape).astype(array.dtype)
        found[tensor.name] = array
    return found


def agrees(operator: Operator, name: str, layouts: dict[str, str], **options: Any) -> CpuKernel:
    """Compile and run; the output is the reference's, bit for bit."""
    kernel = compile_cpu(operator, isa.load(name), layouts=layouts, **options)
    given = arrays(kernel)
    fixed = {tensor: given[tensor] for tensor in options.get("constants", ())}
    kernel.fix(**fixed)
    left = {tensor: array for tensor, array in given.items() if tensor not in fixed}
    assert np.array_equal(kernel(**left), evaluate(operator, given)), (operator, layouts)
    return kernel
