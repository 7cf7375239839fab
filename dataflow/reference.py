"""The reference interpreter: numpy arrays in, the numbers that the index expression defines out.

Integers are exact (wrapping where the types do). It is the oracle every execution is compared with.
"""

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from math import inf, isfinite
from typing import Any

import numpy as np
import numpy.typing as npt

from dataflow.arguments import of_kind
from dataflow.computation import Computation, Tensor
from dataflow.contraction import contract, is_contraction
from dataflow.dtypes import convert, is_integer, limits, numpy_dtype, round_to_odd
from dataflow.errors import UserError
from dataflow.expression import Apply, Cast, Const, Expression, Read, dtype_of
from dataflow.operator import Operator
from dataflow.views import read_view, write_view

Array = npt.NDArray[Any]

_CHUNK_POINTS = 1 << 22


def evaluate(what: Operator | Computation, arrays: Mapping[str, Array]) -> Array:
    """Compute the output of an operator or of one statement.

    `arrays` holds each input by name, in the declared shape and dtype; an accumulating statement starts from zero
    unless its output is given too. Raises UserError for a missing array, a wrong shape or a wrong dtype.
    """
    given = of_kind("arrays", arrays, Mapping, "a mapping of arrays by name")
    if isinstance(what, Computation):
        return _statement(what, given)
    operator = of_kind("what", what, Operator, "an operator or a statement")
    return evaluate_all(operator, given)[operator.output.name]


def evaluate_all(operator: Operator, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Every tensor that the operator writes, by name; errors as for `evaluate`."""
    known = dict(arrays)
    for statement in operator.statements:
        known[statement.output.tensor] = _statement(statement, known)
    return {statement.output.tensor: known[statement.output.tensor] for statement in operator.statements}


def by_name(names: Sequence[str], arrays: Sequence[Array], named: Mapping[str, Array]) -> dict[str, Array]:
    """Arrays given in the order of `names` or by name; raises UserError for one too many, unknown, or given twice."""
    if len(arrays) > len(names) or not named.keys() <= set(names[len(arrays) :]):
        raise UserError(f"the inputs are {', '.join(names) or 'none'}, each once: in this order or by name")
    return {**dict(zip(names, arrays, strict=False)), **named}


def check_array(tensor: Tensor, arrays: Mapping[str, Array]) -> Array:
    """The array for `tensor`, after checking that it is there with the declared shape and dtype."""
    if tensor.name not in arrays:
        raise UserError(f"input '{tensor.name}' is missing; it is {tensor.dtype}{list(tensor.shape)}")
    array = np.asarray(arrays[tensor.name])
    if array.shape != tensor.shape:
        raise UserError(f"input '{tensor.name}' has shape {list(array.shape)}, not {list(tensor.shape)}")
    if array.dtype != numpy_dtype(tensor.dtype):
        raise UserError(f"input '{tensor.name}' has dtype {array.dtype}, not {numpy_dtype(tensor.dtype)}")
    return array


def _statement(statement: Computation, arrays: Mapping[str, Array]) -> Array:
    inputs = {tensor.name: check_array(tensor, arrays) for tensor in statement.inputs}
    target = statement.tensors[0]
    out = np.zeros(target.shape, _sum_type(target.dtype))
    if target.name in arrays:
        out[...] = check_array(target, arrays)
    if is_contraction(statement) and write_view(statement, out, statement.output_dims) is not None:
        contract(statement, inputs, out)
    else:
        _by_points(statement, inputs, out)
    return convert(out, target.dtype)


def _spans(statement: Computation, ranges: Mapping[str, range]) -> list[range]:
    """The range of every dim of the box in a slab."""
    return [ranges.get(dim.name, range(dim.extent)) for dim in statement.dims]


def _sum_type(dtype: str) -> npt.DTypeLike:
    return np.int64 if is_integer(dtype) else np.float64


def _by_points(statement: Computation, inputs: Mapping[str, Array], out: Array) -> None:
    """Any body: evaluate it on slabs of the box and add up the dims that the output lacks."""
    for part, ranges in _slabs(statement):
        dims = tuple(dim.name for dim in part.dims)
        values = np.broadcast_to(_value(part.body, part, inputs, dims), tuple(dim.extent for dim in part.dims))
        view = None if statement.accumulate else write_view(statement, out, dims)
        if view is not None:
            view[tuple(slice(span.start, span.stop) for span in _spans(statement, ranges))] = values
            continue
        places = _output_places(statement, out.shape, ranges, dims)
        if statement.accumulate:
            np.add.at(out.reshape(-1), places, values.astype(out.dtype))
        else:
            out.reshape(-1)[places] = values


def _slabs(statement: Computation) -> Iterator[tuple[Computation, dict[str, range]]]:
    """Cut the box along its first dims into parts of bounded size."""
    ranges: dict[str, range] = {}
    limit = _CHUNK_POINTS
    inner = statement.points
    for dim in statement.dims:
        inner //= dim.extent
        step = max(1, min(dim.extent, limit // max(1, inner)))
        ranges[dim.name] = range(0, dim.extent, step)
        if step > 1:
            break
    for starts in np.ndindex(*(len(span) for span in ranges.values())):
        box = {
            name: range(span[i], min(span[i] + span.step, span.stop))
            for i, (name, span) in zip(starts, ranges.items(), strict=True)
        }
        yield statement.restricted(box), box


def _output_places(
    statement: Computation, shape: tuple[int, ...], ranges: Mapping[str, range], dims: tuple[str, ...]
) -> Array:
    """Where each point of a slab writes, as positions in the flattened output."""
    extents = statement.extents
    total: Array = np.array(0)
    for index, size in zip(statement.output.index, shape, strict=True):
        total = total * size + index.constant
        for dim, coefficient in index.terms:
            span = ranges.get(dim, range(extents[dim]))
            along = [len(span) if name == dim else 1 for name in dims]
            total = total + coefficient * np.arange(span.start, span.start + len(span)).reshape(along)
    return np.broadcast_to(total, [len(ranges.get(dim, range(extents[dim]))) for dim in dims])


def _value(node: Expression, part: Computation, inputs: Mapping[str, Array], dims: tuple[str, ...]) -> Array:
    match node:
        case Const(value):
            return np.asarray(value)
        case Read(tensor):
            return read_view(node, inputs[tensor], part.extents, dims)
        case Cast(target, argument):
            return convert(_value(argument, part, inputs, dims), target)
        case Apply(operation, arguments):
            values = [_value(argument, part, inputs, dims) for argument in arguments]
            dtype = dtype_of(node, lambda name: part.tensor(name).dtype)
            return convert(apply(operation, values), dtype) if dtype else apply(operation, values)


def apply(operation: str, values: list[Array]) -> Array:
    """One operation of `dataflow.expression.ARITY` on arrays of one type; integers wrap."""
    values = _same_type(values)
    with np.errstate(over="ignore", invalid="ignore"):
        result: Array = np.asarray(_OPERATIONS[operation](*values))
    return result


def _same_type(values: list[Array]) -> list[Array]:
    typed = [value.dtype for value in values if value.dtype not in (np.dtype(int), np.dtype(float)) or value.ndim]
    if not typed:
        return values
    return [value if value.dtype == typed[0] else value.astype(typed[0]) for value in values]


def _shift(value: Array, right: Array) -> Array:
    """Shift right by i64 amounts, arithmetically for signed types; a negative amount shifts left."""
    width = value.dtype.itemsize * 8
    down = np.right_shift(value, np.clip(right, 0, width - 1).astype(value.dtype))
    up = np.left_shift(value, np.clip(-right, 0, width - 1).astype(value.dtype))
    emptied = (right <= -width) | ((right >= width) & (value.dtype.kind == "u"))
    return np.where(emptied, 0, np.where(right >= 0, down, up)).astype(value.dtype)


def _fused(left: Array, right: Array, addend: Array) -> Array:
    """One rounding: f32 and narrower products are exact in f64, whose sum is rounded to odd before it is narrowed."""
    if left.dtype.kind in "iu":
        return left * right + addend
    if left.dtype == np.float64:
        return np.asarray(np.frompyfunc(_fused_f64, 3, 1)(left, right, addend), np.float64)
    product, term = left.astype(np.float64) * right.astype(np.float64), addend.astype(np.float64)
    total = np.asarray(product + term)
    back = total - product
    error = np.asarray((product - (total - back)) + (term - back))
    odd = round_to_odd(total, error)
    return odd.astype(left.dtype) if left.dtype.kind == "f" else convert(odd, "bf16")


def _fused_f64(left: float, right: float, addend: float) -> float:
    rounded = left * right + addend
    if not all(map(isfinite, (left, right, addend))):
        return rounded
    exact = Fraction(left) * Fraction(right) + Fraction(addend)
    try:
        return float(exact) if exact else rounded
    except OverflowError:
        return inf if exact > 0 else -inf


def _saturate(dtype: str) -> Any:
    low, high = limits(dtype)
    return lambda value: convert(np.clip(value, low, high), dtype).astype(value.dtype)


_OPERATIONS: dict[str, Any] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "min": np.minimum,
    "max": np.maximum,
    "neg": np.negative,
    "rint": np.rint,
    "shr": lambda value, amount: _shift(value, amount.astype(np.int64)),
    "shl": lambda value, amount: _shift(value, -amount.astype(np.int64)),
    "fma": _fused,
    **{f"sat_{dtype}": _saturate(dtype) for dtype in ("i8", "u8", "i16", "u16", "i32")},
}
