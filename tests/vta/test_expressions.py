"""Random index expressions on VTA: whatever the accesses, the result is exact, the program legal, or it is refused."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import dataflow
import embed
import isa
from dataflow import Operator, UserError, evaluate, requantise
from embed.errors import NoEmbedding
from embed.vta.checker import check
from tests.operators import inputs

VTA = isa.load("vta")
FACTORS = st.sampled_from([1, 1, 1, 2, 3, -1])
EXTENTS = st.sampled_from([1, 2, 3, 5, 7, 16, 17, 20, 33])
MOST_POINTS = 60_000


@st.composite
def indices(draw: st.DrawFn, dims: list[str]) -> str:
    """An affine index such as `2*i-k+1`."""
    chosen = draw(st.lists(st.sampled_from(dims), min_size=1, max_size=3, unique=True))
    terms = "+".join(f"{draw(FACTORS)}*{dim}" for dim in chosen)
    return f"{terms}{draw(st.sampled_from(['', '', '', '+1', '-1', '+2']))}".replace("+-", "-")


@st.composite
def expressions(draw: st.DrawFn) -> Operator:
    """A product of two reads, of two tensors or of one, with any affine accesses."""
    dims = draw(st.lists(st.sampled_from("ijklm"), min_size=1, max_size=5, unique=True))
    sizes = {dim: draw(EXTENTS) for dim in dims}
    while np.prod(list(sizes.values())) > MOST_POINTS:
        longest = max(sizes, key=lambda dim: sizes[dim])
        sizes[longest] //= 2

    def access(tensor: str, index: list[str]) -> str:
        return f"{tensor}[{','.join(index)}]" if index else tensor

    any_index = st.lists(indices(dims), max_size=3)
    plain = st.lists(st.sampled_from(dims), max_size=4, unique=True)
    output = access("out", draw(st.one_of(plain, plain, plain, any_index)))
    factors = [access(tensor, draw(any_index)) for tensor in ("x", draw(st.sampled_from(["w", "w", "x"])))]
    text = f"{output} += {' * '.join(factors)}"
    try:
        operator = Operator("expr", (dataflow.infer(text, sizes, "i8"),))
    except UserError:
        return draw(expressions())
    if not operator.main.tensors[0].shape or draw(st.booleans()):
        return operator
    return requantise(operator, shift=draw(st.integers(0, 9)), bias=draw(st.booleans()))


@settings(max_examples=80, deadline=None)
@given(expressions(), st.sampled_from(tuple(embed.OBJECTIVES)))
def test_any_expression_is_exact_or_refused(operator: Operator, objective: str) -> None:
    try:
        kernel = embed.compile(operator, VTA, embed.best(operator, VTA, objective=objective))
    except NoEmbedding as error:
        refusal = str(error)
        assert "of its output dims" in refusal or "unwritten" in refusal
        return
    arrays = inputs(operator)
    reference = evaluate(operator, arrays)
    assert check(kernel.bind(arrays), kernel.machine) == []
    assert np.array_equal(kernel(**arrays), reference)
    assert np.array_equal(kernel.unpack(kernel.expected(arrays)), reference)
