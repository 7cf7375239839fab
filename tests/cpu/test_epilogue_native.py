"""Epilogues in registers on this machine's CPU: what follows the sums is what the reference computes."""

import pytest
from epilogues import agrees, followed, on

from dataflow import conv2d, gemm, requantise

NHWC = {"inp": "NHWC", "out": "NHWC", "res": "NHWC"}
OUT = (1, 17, 7, 6)
FLOATS = {
    "bias": "acc[@] + bias[d1]",
    "bias, ReLU": "max(acc[@] + bias[d1], 0)",
    "bias, ReLU6": "min(max(acc[@] + bias[d1], 0), 6)",
    "add, ReLU": "max(acc[@] + bias[d1] + res[@], 0)",
    "leaky": "max(acc[@], 0.25 * acc[@])",
    "negated": "-acc[@] - bias[d1]",
}


@pytest.mark.parametrize("name", on("avx512", "avx2"))
@pytest.mark.parametrize("text", FLOATS.values(), ids=FLOATS)
@pytest.mark.parametrize("layouts", [{}, NHWC, {**NHWC, "res": "NCHW"}], ids=["NCHW", "NHWC", "mixed"])
def test_floats(name: str, text: str, layouts: dict[str, str]) -> None:
    operator = conv2d(c=5, h=7, w=6, k=17, r=3, s=3, pad=1, dtype="f32")
    extras = {"bias": ("f32", (17,)), "res": ("f32", OUT)}
    agrees(followed(operator, text, "f32", **{n: e for n, e in extras.items() if n in text}), name, layouts)


@pytest.mark.parametrize("name", on("avx512", "avx2"))
@pytest.mark.parametrize("along", ["bias[d0]", "bias[d1]", "bias"])
def test_bias_along_each_dimension(name: str, along: str) -> None:
    operator = gemm(m=9, n=21, k=11, dtype="f32")
    shape = {"bias[d0]": (9,), "bias[d1]": (21,), "bias": ()}[along]
    agrees(followed(operator, f"max(acc[@] + {along}, 0)", "f32", bias=("f32", shape)), name, {})


@pytest.mark.parametrize("name", on("avx512_vnni"))
@pytest.mark.parametrize("options", [{"shift": 3}, {"shift": 2, "bias": True, "relu": True}, {"low": -3, "high": 9}])
def test_requantised(name: str, options: dict[str, int]) -> None:
    operator = conv2d(c=5, h=7, w=6, k=17, r=3, s=3, pad=1, dtype="u8*i8")
    agrees(requantise(operator, **options), name, NHWC)


@pytest.mark.parametrize("name", on("avx512", "avx2"))
@pytest.mark.parametrize(
    "text",
    [
        "max(acc[@], -8 * -9)",
        "acc[@] * bias[d1] + (res[@] - acc[@]) * (bias[d1] - min(res[@], acc[@] + 3))",
        "(acc[@] + 1) * (acc[@] + 2) - (acc[@] + 3) * ((acc[@] + 4) - (acc[@] + 5) * (acc[@] + 6))",
        "bias[d1] - max(res[@] * bias[d1], 2)",
    ],
    ids=["numbers", "tensors", "many values at once", "no sums"],
)
def test_any_expression(name: str, text: str) -> None:
    extras = {"bias": ("f32", (40,)), "res": ("f32", (9, 40))}
    used = {tensor: extra for tensor, extra in extras.items() if tensor in text}
    agrees(followed(gemm(m=9, n=40, k=3, dtype="f32"), text, "f32", **used), name, {})
