"""Arrays to run an operator on: reproducible random ones, or the user's own files."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from dataflow import Operator, Tensor, UserError
from dataflow.dtypes import bits, convert, is_integer, limits, numpy_dtype
from dataflow.reference import check_array
from embed.cli.files import Array, read_array
from embed.cli.operators import read_pairs

_WIDE_LIMIT = 1 << 20
"""Random values of wide integers (biases) stay below it, so that they do not drown the sums they are added to."""


def random_arrays(operator: Operator, seed: int) -> dict[str, Array]:
    """Every input by name: integers over their whole range, floats in [-1, 1)."""
    generator = np.random.default_rng(seed)
    return {tensor.name: _random(tensor, generator) for tensor in operator.inputs}


def read_inputs(operator: Operator, words: Sequence[str], seed: int) -> dict[str, Array]:
    """Every input by name: from `NAME=FILE.npy` where one is given, random otherwise.

    Raises UserError for an unknown name, an unreadable file, a wrong shape or a wrong dtype.
    """
    given = read_pairs("--input", words)
    declared: Mapping[str, Tensor] = {tensor.name: tensor for tensor in operator.inputs}
    arrays = random_arrays(operator, seed)
    for name, path in given.items():
        if name not in declared:
            raise UserError(f"--input has no '{name}'; the inputs are: {', '.join(map(str, declared.values()))}")
        arrays[name] = check_array(declared[name], {name: read_array(Path(path))})
    return arrays


def _random(tensor: Tensor, generator: np.random.Generator) -> Array:
    if not is_integer(tensor.dtype):
        return generator.uniform(-1, 1, tensor.shape).astype(numpy_dtype(tensor.dtype))
    low, high = limits(tensor.dtype)
    if bits(tensor.dtype) > 16:
        low, high = max(low, -_WIDE_LIMIT), min(high, _WIDE_LIMIT)
    return convert(generator.integers(low, high, tensor.shape, endpoint=True), tensor.dtype)
