"""Layouts: names that are refused, arrays that lie as they say, and blocks filled up with zeros."""

from itertools import product
from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow import Tensor, UserError
from embed.physical import Physical

ACTIVATIONS = Tensor("inp", "f32", (2, 35, 3, 5))
WEIGHTS = Tensor("wgt", "i8", (20, 9, 3, 2))


@pytest.mark.parametrize(
    ("tensor", "name", "shape"),
    [
        (ACTIVATIONS, "NCHW16c", (2, 3, 3, 5, 16)),
        (ACTIVATIONS, "NCHW8c", (2, 5, 3, 5, 8)),
        (ACTIVATIONS, "nhwc16c", (2, 3, 5, 3, 16)),
        (WEIGHTS, "KCRS16c16k", (2, 1, 3, 2, 16, 16)),
        (WEIGHTS, "OIHW16i16o", (2, 1, 3, 2, 16, 16)),
        (WEIGHTS, "KCRS4c16k4c", (2, 1, 3, 2, 4, 16, 4)),
        (Tensor("b", "f32", (7, 37)), "CR16c", (3, 7, 16)),
    ],
)
def test_every_element_is_where_the_name_says(tensor: Tensor, name: str, shape: tuple[int, ...]) -> None:
    physical = Physical.of(tensor, name)
    assert physical.shape == shape
    assert physical.name.lower() == name.lower()
    array = np.arange(1, 1 + tensor.size).reshape(tensor.shape).astype(physical.empty().dtype)
    packed = physical.pack(array)
    assert packed.shape == shape
    assert packed.flags.c_contiguous
    expected = np.zeros(shape, array.dtype)
    for place in product(*map(range, tensor.shape)):
        expected[position(physical, place)] = array[place]
    assert np.array_equal(packed, expected)
    assert np.array_equal(physical.unpack(packed), array)


def position(physical: Physical, place: tuple[int, ...]) -> tuple[int, ...]:
    """One element's place: the quotients by all blocks of a dimension, then the digits of the rest."""
    found = [place[d] // prod(size for other, size in physical.blocks if other == d) for d in physical.order]
    for number, (dimension, size) in enumerate(physical.blocks):
        below = prod(inner for other, inner in physical.blocks[number + 1 :] if other == dimension)
        found.append(place[dimension] // below % size)
    return tuple(found)


@given(st.tuples(*[st.integers(1, 20)] * 4), st.sampled_from(["NCHW16c", "NHWC", "NCHW4c", "CNWH3c2n", "NCHW2c3w2c"]))
def test_unpacking_inverts_packing(shape: tuple[int, ...], name: str) -> None:
    physical = Physical.of(Tensor("t", "i32", shape), name)
    array = np.arange(prod(shape), dtype=np.int32).reshape(shape)
    assert np.array_equal(physical.unpack(physical.pack(array)), array)
    assert physical.check(physical.pack(array)).sum() == array.sum()


@pytest.mark.parametrize("name", ["NCHWC", "NCH16c", "NCHW16", "NCHW16q", "NCHW0c", "NCHW-16c", "16cNCHW", "NCHW16c!"])
def test_names_that_are_no_layout(name: str) -> None:
    with pytest.raises(UserError, match=r"^layout .* of 'inp': write its dimensions NCHW in the order they lie in"):
        Physical.of(ACTIVATIONS, name)


def test_arrays_that_lie_otherwise() -> None:
    physical = Physical.of(ACTIVATIONS, "NCHW16c")
    said = r"'inp' has shape \[2, 35, 3, 5\], not \[2, 3, 3, 5, 16\], which NCHW16c makes of \[2, 35, 3, 5\]"
    with pytest.raises(UserError, match=said):
        physical.check(np.zeros(ACTIVATIONS.shape, np.float32))
    with pytest.raises(UserError, match="'inp' has dtype float64, not float32"):
        physical.check(np.zeros(physical.shape))
    with pytest.raises(UserError, match=r"'inp' does not lie as NCHW16c; give numpy strides \(2880, 960, 320, 64, 4\)"):
        physical.check(np.zeros((2, 3, 3, 5, 32), np.float32)[..., ::2])
