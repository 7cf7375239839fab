"""Random small operators of every kind in the library, and random inputs for them."""

from typing import Any

import numpy as np
from hypothesis import strategies as st

from dataflow import LIBRARY, Operator, UserError, infer, requantise
from dataflow.dtypes import limits, numpy_dtype
from embed.physical import LETTERS

_SMALL = {
    "conv2d": {"n": 2, "c": 20, "h": 10, "w": 10, "k": 20, "r": 4, "s": 4},
    "depthwise_conv2d": {"n": 2, "c": 20, "h": 8, "w": 8, "r": 3, "s": 3, "multiplier": 2},
    "conv1d": {"n": 2, "c": 20, "w": 24, "k": 20, "s": 5},
    "conv3d": {"n": 1, "c": 5, "d": 5, "h": 5, "w": 5, "k": 18, "t": 3, "r": 3, "s": 3},
    "gemm": {"m": 40, "n": 40, "k": 60},
    "gemv": {"m": 60, "k": 80},
    "batched_gemm": {"batch": 4, "m": 20, "n": 20, "k": 30},
}
_SPATIAL = {"conv1d": 1, "conv2d": 2, "depthwise_conv2d": 2, "conv3d": 3}


@st.composite
def operators(draw: st.DrawFn, kinds: tuple[str, ...] = tuple(LIBRARY)) -> Operator:
    """An operator of one of `kinds` with odd sizes, strides, padding, dilation and groups."""
    kind = draw(st.sampled_from(kinds))
    sizes: dict[str, Any] = {name: draw(st.integers(1, most)) for name, most in _SMALL[kind].items()}
    if kind in _SPATIAL:
        for name, low, high in (("stride", 1, 3), ("pad", 0, 3), ("dilation", 1, 2)):
            sizes[name] = tuple(draw(st.integers(low, high)) for _ in range(_SPATIAL[kind]))
    if kind == "conv2d" and draw(st.booleans()):
        groups = draw(st.integers(2, 3))
        sizes |= {"groups": groups, "c": groups * draw(st.integers(1, 6)), "k": groups * draw(st.integers(1, 9))}
    if kind == "gemm":
        sizes |= {"transpose_a": draw(st.booleans()), "transpose_b": draw(st.booleans())}
    try:
        return LIBRARY[kind](**sizes)
    except UserError:
        return draw(operators(kinds))


@st.composite
def displaced(draw: st.DrawFn, dtype: str) -> Operator:
    """A product of matrices that starts anywhere in its tensors, in steps or backwards; the first may slide."""
    sizes = {name: draw(st.sampled_from([1, 2, 4, 5, 9, 17])) for name in "ik"}
    sizes["j"] = draw(st.sampled_from([2, 4, 5, 9, 17]))

    def index(dim: str) -> str:
        reversed_, step, offset = draw(st.booleans()), draw(st.integers(1, 2)), draw(st.integers(0, 3))
        return f"{sizes[dim] - 1 + offset}-{dim}" if reversed_ else f"{step}*{dim}+{offset}"

    least = -1 if sizes["i"] > 1 or sizes["k"] > 1 else 0  # some element must lie within the tensor
    sliding = f"{draw(st.integers(1, 2))}*i+k+{draw(st.integers(least, 3))}"
    left = draw(st.sampled_from([f"{index('i')},{index('k')}", sliding]))
    text = f"out[{index('i')},{index('j')}] += a[{left}] * b[{index('k')},{index('j')}]"
    return Operator("displaced", (infer(text, sizes, dtype),))


@st.composite
def quantised(draw: st.DrawFn, kinds: tuple[str, ...] = tuple(LIBRARY)) -> Operator:
    """An operator, most often with an int8 epilogue."""
    operator = draw(operators(kinds))
    if draw(st.integers(0, 3)) == 0:
        return operator
    shift, bias, relu = draw(st.integers(0, 20)), draw(st.booleans()), draw(st.booleans())
    return requantise(operator, shift=shift, bias=bias, relu=relu, high=draw(st.integers(1, 127)))


@st.composite
def pinned_operators(
    draw: st.DrawFn, source: st.SearchStrategy[Operator], most: int = 20_000
) -> tuple[Operator, dict[str, str]]:
    """An operator of `source` of few points, and for some of its tensors any order of their dims with any blocks."""
    operator = draw(source.filter(lambda found: found.main.points <= most))
    layouts = {}
    for tensor in (*operator.inputs, operator.output):
        choices = LETTERS.get(len(tensor.shape))
        if choices and draw(st.booleans()):
            order = "".join(draw(st.permutations(draw(st.sampled_from(choices)))))
            blocks = draw(st.lists(st.tuples(st.integers(2, 5), st.sampled_from(order)), max_size=2)) if order else []
            layouts[tensor.name] = order + "".join(f"{size}{letter.lower()}" for size, letter in blocks)
    return operator, layouts


def inputs(operator: Operator, seed: int = 0) -> dict[str, np.ndarray]:
    """Uniform random integers over the whole range of each input's type."""
    rng = np.random.default_rng(seed)
    found = {}
    for tensor in operator.inputs:
        low, high = limits(tensor.dtype)
        found[tensor.name] = rng.integers(low, high, tensor.shape, endpoint=True).astype(numpy_dtype(tensor.dtype))
    return found
