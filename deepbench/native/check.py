"""The reference of a problem, and whether a result is right: integers exactly, floats within their error bound."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

import dataflow
from dataflow.accuracy import bounded, exact, magnitudes
from dataflow.dtypes import is_integer
from embed.cli.data import random_arrays
from embed.cli.files import Array

FULL_MACS = 1_500_000_000
"""Larger problems are checked on a sample: of a convolution's images, or of a matrix product's columns."""

_SAMPLE_MACS = 300_000_000

_EXACT_UP_TO = {"f16": 2048}
"""Types whose sums of some thousand terms have no error bound, and n such that all integers up to n are exact."""

Builder = Callable[..., dataflow.Operator]


@dataclass(frozen=True)
class Reference:
    """What the output is at `places` along its dimension `axis`, and how far off each element may be."""

    expected: Array
    allowed: Array | None
    axis: int
    places: Array
    whole: bool

    @property
    def executed(self) -> str:
        return "full" if self.whole else "slice"

    def holds(self, output: Array, rounding: float = 0.0, computed: Array | None = None) -> bool:
        """Whether an output is right; it may have been rounded by `rounding` times its value at the end.

        Elements that `computed` (of the output's shape) says were not are not looked at.
        """
        found = np.take(output, self.places, axis=self.axis)
        if found.shape != self.expected.shape:
            return False
        ignored = False if computed is None else ~np.take(computed, self.places, axis=self.axis)
        if self.allowed is None:
            return bool(np.all((found == self.expected) | ignored))
        error = np.abs(found.astype(np.float64) - self.expected)
        right = error <= self.allowed + rounding * np.abs(self.expected)  # a NaN is never right
        return bool(np.all(right | ignored))

    def holds_quantised(self, output: Array, scale: float, zero: int) -> bool:
        """Whether bytes are the sums divided by `scale` plus `zero`, clipped, each off by one at most."""
        found = np.take(output, self.places, axis=self.axis).astype(np.int64)
        wanted = np.clip(np.rint(self.expected.astype(np.float64) / scale) + zero, 0, 255)
        return found.shape == wanted.shape and bool(np.all(np.abs(found - wanted) <= 1))


def reference(
    operator: dataflow.Operator, build: Builder, sizes: Mapping[str, object], arrays: Mapping[str, Array], seed: int
) -> Reference:
    """The reference of `build(**sizes)`; the batch `n` is the dimension that a sample is taken of."""
    batch = operator.main.extents["n"]
    kept = _sample(operator.main.points, batch, seed)
    smaller = operator if len(kept) == batch else build(**{**sizes, "n": len(kept)})
    cut = {name: _cut(smaller, operator, name, array, kept) for name, array in arrays.items()}
    axis = next(i for i, index in enumerate(operator.main.output.index) if "n" in index.dims)
    whole = len(kept) == batch
    if is_integer(operator.output.dtype):
        return Reference(dataflow.evaluate(smaller, cut), None, axis, kept, whole)
    if operator.output.dtype in _EXACT_UP_TO:
        assert np.max(magnitudes(smaller, cut)) <= _EXACT_UP_TO[operator.output.dtype]
        return Reference(exact(smaller, cut), None, axis, kept, whole)
    return Reference(*bounded(smaller, cut), axis, kept, whole)


def problem_arrays(operator: dataflow.Operator, seed: int) -> dict[str, Array]:
    """Every input by name; where sums have no error bound, zeros and ones of either sign, few enough to sum exactly."""
    random = random_arrays(operator, seed)
    limit = _EXACT_UP_TO.get(operator.output.dtype)
    if limit is None:
        return random
    main, generator = operator.main, np.random.default_rng(seed)
    terms = prod(main.extents[dim] for dim in main.reduction_dims)
    part = min(1.0, (limit / 2 / terms) ** 0.5)
    return {
        name: (generator.choice([-1, 1], array.shape) * (generator.random(array.shape) < part)).astype(array.dtype)
        for name, array in random.items()
    }


def _sample(macs: int, batch: int, seed: int) -> Array:
    """All of the batch, or its first, its last and some in between."""
    if macs <= FULL_MACS or batch == 1:
        return np.arange(batch)
    count = max(2, min(batch, _SAMPLE_MACS * batch // macs))
    middle = np.random.default_rng(seed).choice(np.arange(1, batch - 1), max(0, min(count, batch) - 2), replace=False)
    return np.unique(np.concatenate([[0], middle, [batch - 1]]))


def _cut(smaller: dataflow.Operator, operator: dataflow.Operator, name: str, array: Array, kept: Array) -> Array:
    """The part of an input that the sample needs."""
    shape = next(tensor.shape for tensor in smaller.inputs if tensor.name == name)
    for axis, index in enumerate(operator.main.accesses[name].index):
        if "n" in index.dims and len(kept) < array.shape[axis]:
            array = np.take(array, kept, axis=axis)
    assert array.shape == shape
    return np.ascontiguousarray(array)
