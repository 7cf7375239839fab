"""Float arithmetic that the plain reading of a pattern does not fix: denormals, and the order of a sum."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from dataflow.computation import Computation
from dataflow.dtypes import is_integer, round_to_odd
from dataflow.expression import Apply, Cast, Expression
from dataflow.reference import evaluate
from isa.model import Instruction

Array = npt.NDArray[Any]
_LARGEST = float(np.finfo(np.float32).max)
_SMALLEST, _ROUNDS_TO_SMALLEST = 2.0**-126, 2.0**-126 - 2.0**-151
Step = Callable[[Computation, Mapping[str, Array]], Array]


def compute(entry: Instruction, pattern: Computation, arrays: Mapping[str, Array]) -> Array:
    """The output of one trip of an entry: its pattern, one of its variants, with the entry's own rounding."""
    step = _without_denormals if entry.denormals else evaluate
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        return SUMMATIONS[entry.summation](step, pattern, arrays) if entry.summation else step(pattern, arrays)


def _without_denormals(pattern: Computation, arrays: Mapping[str, Array]) -> Array:
    """A result is denormal if it is one when rounded as if exponents had no end (SDM volume 1, section 11.5.2.4)."""
    inputs = {name: _flushed(array, pattern.tensor(name).dtype) for name, array in arrays.items()}
    dtype = pattern.tensors[0].dtype
    result = _flushed(evaluate(pattern, inputs), dtype)
    edge = np.abs(result) == _SMALLEST
    if dtype != "f32" or not edge.any():
        return result
    exact = evaluate(_widened(pattern), {name: _wide(array) for name, array in inputs.items()})
    return np.where(edge & (np.abs(exact) < _ROUNDS_TO_SMALLEST), np.copysign(0.0, exact), result).astype(np.float32)


def _widened(pattern: Computation) -> Computation:
    """The same in f64 where it is in f32."""
    tensors = tuple(replace(each, dtype="f64") if each.dtype == "f32" else each for each in pattern.tensors)
    return replace(pattern, tensors=tensors, body=_widened_body(pattern.body))


def _widened_body(node: Expression) -> Expression:
    match node:
        case Cast(dtype, argument):
            return Cast("f64" if dtype == "f32" else dtype, _widened_body(argument))
        case Apply(operation, arguments):
            return Apply(operation, tuple(map(_widened_body, arguments)))
        case _:
            return node


def _wide(array: Array) -> Array:
    return array.astype(np.float64) if array.dtype == np.float32 else array


def _flushed(values: Array, dtype: str) -> Array:
    """Denormal floats become zeros of their sign."""
    if is_integer(dtype):
        return values
    tiny = 2.0**-14 if dtype == "f16" else 2.0**-126
    with np.errstate(invalid="ignore"):
        wide = values.astype(np.float64)
        return np.where(np.abs(wide) < tiny, np.copysign(0.0, wide), wide).astype(values.dtype)


def _fused_from_last(step: Step, pattern: Computation, arrays: Mapping[str, Array]) -> Array:
    """Each product is fused into the sum, one rounding each, the last element of the reduction first."""
    (name,) = pattern.reduction_dims
    target = pattern.output.tensor
    total = arrays[target]
    for place in reversed(range(pattern.extents[name])):
        total = _fused(step, pattern, {name: range(place, place + 1)}, arrays, total)
    return total


def _fused(
    step: Step, pattern: Computation, place: Mapping[str, range], arrays: Mapping[str, Array], total: Array
) -> Array:
    """A sum with the product at one place of the reduction added, rounded once."""
    part = pattern.restricted(place)
    assert isinstance(part.body, Apply)
    fused = replace(part, accumulate=False, body=Apply("fma", (*part.body.arguments, part.output)))
    return step(fused, {**arrays, pattern.output.tensor: total})


def _halves_apart(step: Step, pattern: Computation, arrays: Mapping[str, Array]) -> Array:
    """The first and the second elements of the pairs are each fused into a sum of their own; then both are added up."""
    rows, pair = pattern.reduction_dims
    target = pattern.output.tensor
    sums = []
    for half in range(pattern.extents[pair]):
        total = np.zeros_like(arrays[target])
        for place in range(pattern.extents[rows]):
            total = _fused(step, pattern, {rows: range(place, place + 1), pair: range(half, half + 1)}, arrays, total)
        sums.append(total)
    return _plus(_flushed(arrays[target], "f32"), _plus(*sums))


def _plus(left: Array, right: Array) -> Array:
    """An f32 sum rounded to nearest even; what is denormal before or after is zero."""
    return _flushed(_flushed(left, "f32") + _flushed(right, "f32"), "f32")


def _pairs_to_odd(_: Step, pattern: Computation, arrays: Mapping[str, Array]) -> Array:
    """Arm's BFDotAdd: products are summed in pairs, then added; sums are rounded to odd, denormals are zero."""
    (name,) = pattern.reduction_dims
    inputs = {tensor: _flushed(array, pattern.tensor(tensor).dtype) for tensor, array in arrays.items()}
    total = inputs[pattern.output.tensor]
    for first in range(0, pattern.extents[name], 2):
        left, right = (_product(pattern, {name: range(place, place + 1)}, inputs) for place in (first, first + 1))
        total = _sum_to_odd(total, _sum_to_odd(left, right))
    return total


def _product(pattern: Computation, place: Mapping[str, range], arrays: Mapping[str, Array]) -> Array:
    """The products at one place of the reduction."""
    part = replace(pattern.restricted(place), accumulate=False)
    inputs = {name: array for name, array in arrays.items() if name != pattern.output.tensor}
    with np.errstate(invalid="ignore"):
        return _flushed(evaluate(part, inputs), "f32")


def _sum_to_odd(left: Array, right: Array) -> Array:
    """An f32 sum, rounded to odd; infinite from 2**128 on, zero below 2**-126."""
    x, y = left.astype(np.float64), right.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        total = x + y
        back = total - x
        lost = (x - (total - back)) + (y - back)
        near = np.clip(total, -_LARGEST, _LARGEST).astype(np.float32)
        odd = round_to_odd(near, np.where(total == near, lost, total - near))
        rounded = np.where(np.abs(total) < 2.0**128, odd, total.astype(np.float32))
    return _flushed(rounded, "f32")


SUMMATIONS: dict[str, Callable[[Step, Computation, Mapping[str, Array]], Array]] = {
    "fused_from_last": _fused_from_last,
    "halves_apart": _halves_apart,
    "pairs_to_odd": _pairs_to_odd,
}
"""Ways to sum by name, for `summation` of an entry whose pattern is `out += product`.

The reduction has one dim, or two for `halves_apart`: rows and pairs.
"""
