"""Embeddings are read as they are printed; what is wrong is named."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from regular import SMALL, embeddings

from dataflow import Operator, UserError, conv2d
from embed.checker import CheckError, verify
from embed.parse import read_embedding
from tests.operators import operators

CONV = conv2d(c=3, h=8, w=8, k=6, r=3, s=3)


@settings(max_examples=60, deadline=None)
@given(st.data(), operators())
def test_what_is_printed_reads_back(data: st.DataObject, operator: Operator) -> None:
    embedding = data.draw(embeddings(operator, SMALL))
    try:
        verify(embedding)
    except CheckError:
        with pytest.raises(UserError, match="breaks a rule"):
            read_embedding(str(embedding), operator, SMALL)
    else:
        assert read_embedding(str(embedding), operator, SMALL) == embedding


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gemm o=k:4", "write it as `isa-embed embed --all` prints it"),
        ("gemv(inp->inp, wgt->wgt)", "no instruction 'gemv'|unknown instruction 'gemv'"),
        ("gemm(inp->inp, wgt->acc)", "is no binding of gemm; there are: inp->inp, wgt->wgt; "),
        ("gemm(inp->inp, wgt->wgt) q=k:4", "'q=k:4' fills no lanes; gemm has: b, o, i"),
        ("gemm(inp->inp, wgt->wgt) o=z:4", "conv2d has no dim 'z'; it has: n, k, y, x, c, r, s"),
        ("gemm(inp->inp, wgt->wgt) o=k:0", "'k:0' needs a number of lanes from 1 to 6"),
        ("gemm(inp->inp, wgt->wgt) o=k:6", "breaks a rule: capacity: the digits of o take 6 lanes of 4"),
        ("gemm(inp->inp, wgt->wgt) o=x:4", "breaks a rule: sharing"),
        ("gemm(inp->inp, wgt->wgt) o=k:4 i=k:4", "breaks a rule: once"),
    ],
)
def test_what_is_wrong_is_named(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        read_embedding(text, CONV, SMALL)
