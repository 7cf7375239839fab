"""What a peer is: a name, and a program made from a problem's data."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from embed.cli.files import Array
from isa.features import cpu_features

_ONEDNN = {
    "avx512_bf16": "AVX512_CORE_BF16",
    "avx512_vnni": "AVX512_CORE_VNNI",
    "avx_vnni": "AVX2_VNNI",
    "avx2": "AVX2",
}
"""What oneDNN calls all instructions up to a CPU feature, the latest first (its manual, CPU Dispatcher Control)."""


@dataclass(frozen=True)
class Work:
    """One problem: `op` is conv or gemm, `sizes` its sizes, `arrays` the inputs as they lie in memory.

    `dtype` is f32, bf16 or i8; with i8, activations are u8 and weights i8.
    """

    op: str
    sizes: Mapping[str, Any]
    dtype: str
    threads: int
    arrays: Mapping[str, Array]

    @property
    def weights(self) -> Array:
        """[k,c,r,s] of a convolution, [m,k] of a product."""
        if self.op == "conv":
            return self.arrays["wgt"]
        return self.arrays["a"].T if self.sizes["transpose_a"] else self.arrays["a"]

    @property
    def activations(self) -> Array:
        """[n,c,h,w] of a convolution, [n,k] of a product."""
        if self.op == "conv":
            return self.arrays["inp"]
        return self.arrays["b"] if self.sizes["transpose_b"] else self.arrays["b"].T

    @property
    def stride(self) -> list[int]:
        return list(self.sizes["stride"])

    @property
    def pad(self) -> list[int]:
        return list(self.sizes["pad"])

    def shaped(self, output: Array) -> Array:
        """A peer's [n,...] output in the shape of ours."""
        return output if self.op == "conv" else output.T


@dataclass(frozen=True)
class Contender:
    """`run` computes once; `result` is [n,k,y,x] or [m,n]; `rounding` is what the output type rounds off.

    With `quantised`, a scale and a zero point, the output is bytes: our sums divided by the scale, off by one at most.
    """

    run: Callable[[], object]
    result: Callable[[], Array]
    rounding: float = 0.0
    quantised: tuple[float, int] | None = None


@dataclass(frozen=True)
class Offer:
    """A peer by name, for some operators and dtypes."""

    name: str
    library: str
    ops: tuple[str, ...]
    dtypes: tuple[str, ...]
    make: Callable[[Any, Work], Contender]

    def contender(self, work: Work) -> Contender:
        """Ready to run; raises ImportError where the library is missing, and whatever it raises."""
        if find_spec(self.library) is None:
            raise ImportError(f"{self.library} is not installed; install isa-embed[peers]")
        return self.make(import_module(self.library), work)


def settings(features: Collection[str], threads: int) -> dict[str, str]:
    """Environment of the worker: threads, and no other instructions than an ISA that needs `features` has.

    OpenBLAS picks old kernels on new cores; oneDNN would use AMX where the CPU has it. onnxruntime cannot be told.
    """
    count = str(threads)
    limit = next((name for feature, name in _ONEDNN.items() if feature in features), "")
    core = "Haswell" if "avx2" in features else "SkylakeX" if "avx512dq" in cpu_features() else ""
    threaded = {"OMP_NUM_THREADS": count, "OPENBLAS_NUM_THREADS": count, "MKL_NUM_THREADS": count}
    chosen = {"ONEDNN_MAX_CPU_ISA": limit, "OPENBLAS_CORETYPE": core}
    return threaded | {name: value for name, value in chosen.items() if value}
