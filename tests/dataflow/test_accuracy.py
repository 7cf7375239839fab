"""The error bound: what is computed in lower precision stays within it, and what is wrong does not."""

import numpy as np
import pytest

from dataflow import LIBRARY, Operator, conv2d, evaluate, gemm, parse
from dataflow.accuracy import bounded
from dataflow.computation import Tensor
from dataflow.dtypes import numpy_dtype


def random(operator: Operator, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {t.name: rng.normal(size=t.shape).astype(numpy_dtype(t.dtype)) for t in operator.inputs}


@pytest.mark.parametrize("dtype", ["f32", "bf16", "f16"])
def test_the_bound_of_a_product_is_the_textbooks(dtype: str) -> None:
    operator = gemm(m=4, n=5, k=300, dtype=dtype)
    arrays = random(operator)
    a, b = (array.astype(np.float64) for array in arrays.values())
    exact, bound = bounded(operator, arrays)
    np.testing.assert_allclose(exact, a @ b, rtol=1e-12, atol=1e-12)
    unit = 2.0**-24
    assert operator.output.dtype == "f32"
    np.testing.assert_allclose(bound, 301 * unit / (1 - 301 * unit) * (abs(a) @ abs(b)), rtol=1e-6)


def test_one_rounding_at_a_time_stays_inside() -> None:
    operator = gemm(m=3, n=4, k=1000, dtype="f32")
    arrays = random(operator)
    total = np.zeros((3, 4), np.float32)
    for k in range(1000):
        total += arrays["a"][:, k, None] * arrays["b"][k]
    exact, bound = bounded(operator, arrays)
    assert (abs(total - exact) <= bound).all()
    assert (abs(total - exact) > 0).any()


def test_a_lost_term_is_outside() -> None:
    operator = conv2d(c=8, h=6, w=6, k=3, r=3, s=3, pad=1, dtype="f32")
    arrays = random(operator)
    exact, bound = bounded(operator, arrays)
    assert (abs(evaluate(operator, arrays) - exact) <= bound).all()
    arrays["inp"][0, 0, 2, 2] = 0
    assert (abs(evaluate(operator, arrays) - exact) > bound).any()


@pytest.mark.parametrize("kind", LIBRARY)
def test_every_operator(kind: str) -> None:
    sizes = {
        "conv2d": {"c": 3, "h": 5, "w": 6, "k": 4, "r": 2, "s": 3},
        "depthwise_conv2d": {"c": 3, "h": 5, "w": 6, "r": 2, "s": 2},
        "conv1d": {"c": 3, "w": 9, "k": 4, "s": 3},
        "conv3d": {"c": 2, "d": 3, "h": 4, "w": 5, "k": 3, "t": 2, "r": 2, "s": 2},
        "gemm": {"m": 3, "n": 4, "k": 5},
        "gemv": {"m": 3, "k": 4},
        "batched_gemm": {"batch": 2, "m": 3, "n": 4, "k": 5},
    }
    operator = LIBRARY[kind](**sizes[kind], dtype="f32")
    arrays = random(operator)
    exact, bound = bounded(operator, arrays)
    assert (abs(evaluate(operator, arrays) - exact) <= bound).all()


def test_an_epilogue_widens_it() -> None:
    main = gemm(m=3, n=4, k=50, dtype="f32")
    sums, out, bias = Tensor("out", "f32", (3, 4)), Tensor("y", "f32", (3, 4)), Tensor("bias", "f32", (4,))
    text = "y[m,n] = min(max(out[m,n] - bias[n], 0), 6)"
    after = parse(text, {"m": 3, "n": 4}, {"out": sums, "y": out, "bias": bias})
    operator = Operator("both", (*main.statements, after))
    arrays = random(operator)
    exact, bound = bounded(operator, arrays)
    wide = {name: array.astype(np.float64) for name, array in arrays.items()}
    np.testing.assert_allclose(exact, np.clip(wide["a"] @ wide["b"] - wide["bias"], 0, 6), rtol=1e-12)
    assert (abs(evaluate(operator, arrays) - exact) <= bound).all()
    assert (bound > bounded(main, arrays)[1]).all()
