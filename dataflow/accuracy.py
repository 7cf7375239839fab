"""How far floating-point results may be from the exact ones: the forward error bound of a sum of products.

|computed - exact| <= gamma_n * sum |a||b| with gamma_n = n u / (1 - n u), for n roundings in any order of summation
(Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition, section 3.1). Where n u is too large for that, the
product (1 + u)**n - 1 from which it follows takes its place.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from dataflow.computation import Computation
from dataflow.expression import Apply, Cast, Const, Expression, walk
from dataflow.operator import Operator
from dataflow.reference import evaluate
from dataflow.sums import Sums

Array = npt.NDArray[Any]

Change = Callable[[Expression], Expression]

_EXACT = "f64"
_UNIT = {"f16": 2.0**-11, "bf16": 2.0**-8, "f32": 2.0**-24, "f64": 2.0**-53}
_SMALLEST = {"f16": 2.0**-14, "bf16": 2.0**-126, "f32": 2.0**-126, "f64": 2.0**-1022}
_LARGE, _LOG_LARGEST = 0.5, 600.0
_LARGER = {"sub": "add", "min": "max"}


def exact(operator: Operator, arrays: Mapping[str, Array]) -> Array:
    """The result in double precision, whatever the types of the operator."""
    return evaluate(_double(operator, _plain), {name: array.astype(np.float64) for name, array in arrays.items()})


def bounded(operator: Operator, arrays: Mapping[str, Array]) -> tuple[Array, Array]:
    """The result in double precision, and for each element how far a computed one may be from it.

    Subnormal numbers may have been taken for zero. An operator whose output is a float has such a bound.
    """
    size = magnitudes(operator, arrays)
    growth, terms = 1.0, 0
    for statement in operator.statements:
        dtype, roundings = statement.tensors[0].dtype, _roundings(statement)
        growth *= 1 + _growth(roundings, _UNIT[dtype])
        terms += roundings
    lost = terms * max(_SMALLEST[statement.tensors[0].dtype] for statement in operator.statements)
    return exact(operator, arrays), (growth - 1) * size + lost


def magnitudes(operator: Operator, arrays: Mapping[str, Array]) -> Array:
    """The result where every product and sum is of absolute values: no partial sum, in any order, is larger."""
    sizes = {name: np.abs(array.astype(np.float64)) for name, array in arrays.items()}
    return evaluate(_double(operator, _magnitude), sizes)


def _growth(roundings: int, unit: float) -> float:
    """The largest relative error of so many roundings."""
    if roundings * unit < _LARGE:
        return roundings * unit / (1 - roundings * unit)
    return float(np.expm1(min(roundings * np.log1p(unit), _LOG_LARGEST)))


def _roundings(statement: Computation) -> int:
    """At most: one for each operation and conversion, and each sum."""
    if statement.accumulate:
        return prod(statement.extents[dim] for dim in statement.reduction_dims) * len(Sums((statement,)).addends) + 1
    return 1 + sum(isinstance(node, Apply | Cast) for node in walk(statement.body))


def _double(operator: Operator, change: Change) -> Operator:
    """The operator in double precision."""
    return replace(operator, statements=tuple(_statement(each, change) for each in operator.statements))


def _statement(statement: Computation, change: Change) -> Computation:
    tensors = tuple(replace(tensor, dtype=_EXACT) for tensor in statement.tensors)
    return replace(statement, tensors=tensors, body=change(statement.body))


def _plain(body: Expression) -> Expression:
    """Without conversions."""
    match body:
        case Cast(_, argument):
            return _plain(argument)
        case Apply(operation, arguments):
            return Apply(operation, tuple(map(_plain, arguments)))
    return body


def _magnitude(body: Expression) -> Expression:
    """A bound of the absolute value, given those of the tensors."""
    match body:
        case Cast(_, argument) | Apply("neg", (argument,)):
            return _magnitude(argument)
        case Apply(operation, arguments):
            return Apply(_LARGER.get(operation, operation), tuple(map(_magnitude, arguments)))
        case Const(value):
            return Const(abs(value))
    return body
