"""Operators from words: the same as those from keyword arguments, and a message that names what is valid."""

import pytest

import dataflow
from embed.cli.operators import read_operator, read_settings


def test_words_are_keyword_arguments() -> None:
    words = "conv2d n=1 c=3 h=224 w=224 k=64 r=7 s=7 stride=2 pad=3".split()
    assert read_operator(words) == dataflow.conv2d(n=1, c=3, h=224, w=224, k=64, r=7, s=7, stride=2, pad=3)


def test_one_quoted_word_is_many() -> None:
    assert read_operator(["gemm m=2 n=3 k=4"]) == dataflow.gemm(m=2, n=3, k=4)


def test_pairs_flags_and_types() -> None:
    wide = read_operator("conv2d c=2 h=9 w=9 k=2 r=3 s=3 stride=2,1 pad=0,1".split())
    assert wide == dataflow.conv2d(c=2, h=9, w=9, k=2, r=3, s=3, stride=(2, 1), pad=(0, 1))
    assert read_operator("gemm m=2 n=3 k=4 transpose_b=1".split()) == dataflow.gemm(m=2, n=3, k=4, transpose_b=True)
    assert read_operator(["gemm", "m=2", "n=3", "k=4"], dtype="f32") == dataflow.gemm(m=2, n=3, k=4, dtype="f32")
    assert read_operator("gemm m=2 n=3 k=4 dtype=bf16".split()) == dataflow.gemm(m=2, n=3, k=4, dtype="bf16")


def test_expression_is_the_library_operator() -> None:
    operator = read_operator(["i=4", "j=5", "k=6"], expr="out[i,j] += a[i,k]*b[k,j]")
    assert operator.main.extents == {"i": 4, "j": 5, "k": 6}
    assert [tensor.dtype for tensor in operator.main.tensors] == ["i32", "i8", "i8"]
    assert [tensor.shape for tensor in operator.main.tensors] == [(4, 5), (4, 6), (6, 5)]


def test_epilogue() -> None:
    plain = dataflow.gemm(m=2, n=3, k=4)
    words = ["gemm", "m=2", "n=3", "k=4"]
    assert read_operator(words, epilogue="none") == plain
    assert read_operator(words, epilogue="shift=8") == dataflow.requantise(plain)
    expected = dataflow.requantise(plain, shift=3, bias=True, relu=True, high=100)
    assert read_operator(words, epilogue="shift=3,bias,relu,high=100") == expected


def test_settings() -> None:
    assert read_settings(["batch=4", "block_in=32"]) == {"batch": 4, "block_in": 32}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Name one of conv2d"),
        (["conv2", "c=3"], "unknown operator 'conv2'; there are: conv2d"),
        (["conv2d", "c=3"], "conv2d needs h, w, k, r, s; it takes n=1 c h w k r s stride=1"),
        (["gemm", "m=1", "n=1", "k=1", "q=3"], "gemm has no 'q'; it takes m n k transpose_a=0"),
        (["gemm", "m=1.5", "n=1", "k=1"], "gemm: m=1.5 is not an integer"),
        (["gemm", "m=0", "n=1", "k=1"], "m=0: a size is a positive integer"),
        (["gemm", "m=1", "m=2"], "gemm: m is given twice"),
        (["gemm", "64"], "gemm: expected NAME=VALUE, not '64'"),
        (["gemm", "m=1", "n=1", "k=1", "transpose_a=yes"], "transpose_a=yes must be 0 or 1"),
        (["gemm", "m=1", "n=1", "k=1", "dtype=i9"], "dtype=i9: the library has"),
        (["conv2d", "c=1", "h=2", "w=2", "k=1", "r=3", "s=3"], "is larger than the padded input"),
    ],
)
def test_wrong_words(words: list[str], said: str) -> None:
    with pytest.raises(dataflow.UserError, match=r"^[^\n]+$") as error:
        read_operator(words)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("text", "sizes", "said"),
    [
        ("out[i,j] += a[i,k]*b[k,j]", ["i=4", "j=4"], "index 'k' has no size"),
        ("out[i] += a[i]*", ["i=4"], "not an assignment"),
        ("out[i] += a[i]*b[i]", ["i=0"], "i=0: a size is a positive integer"),
        ("out[i] += a[i]*b[i]", ["i=4", "i=5"], "i is given twice"),
    ],
)
def test_wrong_expressions(text: str, sizes: list[str], said: str) -> None:
    with pytest.raises(dataflow.UserError) as error:
        read_operator(sizes, expr=text)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"), [("clip", "it takes shift=N"), ("shift=x", "shift=x is not an integer"), ("shift=40", "0 to 31")]
)
def test_wrong_epilogues(text: str, said: str) -> None:
    with pytest.raises(dataflow.UserError) as error:
        read_operator(["gemm", "m=1", "n=1", "k=1"], epilogue=text)
    assert said in str(error.value)
