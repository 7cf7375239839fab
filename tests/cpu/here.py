"""The ISA of this machine's CPU that most tests compile for, and arrays for a kernel."""

import platform
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import isa
from embed import CpuKernel

Array = npt.NDArray[Any]

_NATIVE = {"x86_64": ("avx512", "avx2"), "aarch64": ("neon",)}
_RUNNABLE = [name for name in _NATIVE.get(platform.machine(), ()) if not isa.load(name).missing_features()]
TARGET = isa.load(_RUNNABLE[0] if _RUNNABLE else "avx2")
NATIVE = pytest.mark.skipif(not _RUNNABLE, reason=f"this CPU runs no kernels: it lacks {TARGET.missing_features()}")
NHWC = {"inp": "NHWC", "out": "NHWC"}


def arrays(kernel: CpuKernel, seed: int = 0) -> dict[str, Array]:
    """Small integers, whose sums floats hold exactly, lying as the kernel wants them."""
    rng = np.random.default_rng(seed)
    found = {}
    for tensor in kernel.operator.inputs:
        physical = kernel.physical[tensor.name]
        found[tensor.name] = physical.pack(rng.integers(-4, 5, tensor.shape).astype(physical.empty().dtype))
    return found
