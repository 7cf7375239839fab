"""Epilogue expressions in the form in which instructions are looked for: no needless casts, numbers computed, clips as
saturation.

Every rewrite keeps the value, but for floats that have no place in an integer type, which become some integer.
"""

from collections.abc import Mapping
from math import inf

import numpy as np

from dataflow.dtypes import bits, is_dtype, is_integer, limits
from dataflow.expression import Apply, Cast, Const, Expression, Read, dtype_of
from dataflow.reference import apply

Types = Mapping[str, str]
Interval = tuple[float, float]

_EVERYTHING = (-inf, inf)
_SATURATE = "sat_"


def saturated_type(operation: str) -> str:
    """The type of `sat_i8` and its kin; empty for another operation."""
    found = operation.removeprefix(_SATURATE)
    return found if found != operation and is_dtype(found) else ""


def simplified(node: Expression, types: Types) -> Expression:
    """The expression with every node rewritten, the leaves first; `types` are of the tensors."""
    match node:
        case Cast(dtype, argument):
            return _cast(dtype, simplified(argument, types), types)
        case Apply(operation, arguments):
            return _apply(operation, tuple(simplified(argument, types) for argument in arguments), types)
    return node


def interval(node: Expression, types: Types) -> Interval:
    """Numbers between which the value lies."""
    match node:
        case Const(value):
            return value, value
        case Read(tensor):
            return _limits(types[tensor])
        case Cast(dtype, argument):
            inner = interval(argument, types)
            return inner if not is_integer(dtype) or within(inner, dtype) else _limits(dtype)
        case Apply(operation, arguments):
            found = _result(operation, [interval(argument, types) for argument in arguments], arguments)
            kind = dtype_of(node, types.get)
            return found if kind is None or not is_integer(kind) or within(found, kind) else _limits(kind)


def within(span: Interval, dtype: str) -> bool:
    """Whether an integer type holds all of an interval."""
    low, high = _limits(dtype)
    return low <= span[0] and span[1] <= high


def _limits(dtype: str) -> Interval:
    return limits(dtype) if is_integer(dtype) else _EVERYTHING


def _result(operation: str, spans: list[Interval], arguments: tuple[Expression, ...]) -> Interval:
    target = saturated_type(operation)
    if target:
        low, high = limits(target)
        return min(max(spans[0][0], low), high), min(max(spans[0][1], low), high)
    match operation, arguments:
        case "min" | "max", _:
            pick = min if operation == "min" else max
            return pick(spans[0][0], spans[1][0]), pick(spans[0][1], spans[1][1])
        case "shr", (_, Const(int() as count)) if count >= 0 and spans[0] != _EVERYTHING:
            return int(spans[0][0]) >> count, int(spans[0][1]) >> count
        case "add", _:
            return spans[0][0] + spans[1][0], spans[0][1] + spans[1][1]
        case "sub", _:
            return spans[0][0] - spans[1][1], spans[0][1] - spans[1][0]
        case "rint", _:
            return spans[0]
    return _EVERYTHING


def _apply(operation: str, arguments: tuple[Expression, ...], types: Types) -> Expression:
    numbers = [np.asarray(each.value) for each in arguments if isinstance(each, Const)]
    if len(numbers) == len(arguments):
        return Const(apply(operation, numbers).item())
    match operation, arguments:
        case "neg", (argument,):
            return Apply("sub", (Const(0), argument))
        case "shr" | "shl", (argument, Const(0)):
            return argument
        case "min" | "max", (Const(), Apply() | Read() | Cast()):
            return _apply(operation, arguments[::-1], types)
        case "min" | "max", (Apply("rint", (argument,)), Const(value)) if float(value).is_integer():
            return Apply("rint", (_apply(operation, (argument, Const(value)), types),))
    node = Apply(operation, arguments)
    target, dtype = saturated_type(operation), dtype_of(node, types.get)
    if target and dtype is not None and not is_integer(dtype):
        low, high = limits(target)
        return _apply("min", (_apply("max", (arguments[0], Const(low)), types), Const(high)), types)
    if target and within(interval(arguments[0], types), target):
        return arguments[0]
    return node


def _cast(dtype: str, argument: Expression, types: Types) -> Expression:
    source = dtype_of(argument, types.get)
    if source == dtype:
        return argument
    if is_integer(dtype) and source is not None and not is_integer(source):
        return _by_way_of_i32(dtype, argument, types)
    if is_integer(dtype) and source is not None and bits(dtype) < bits(source):
        return Cast(dtype, _clip(dtype, argument, types))
    return Cast(dtype, argument)


def _by_way_of_i32(dtype: str, argument: Expression, types: Types) -> Expression:
    """A float by way of i32, which narrower integers are made from."""
    if bits(dtype) >= 32:
        return Cast(dtype, argument)
    return _cast(dtype, Cast("i32", argument), types)


def _clip(dtype: str, argument: Expression, types: Types) -> Expression:
    """A clip to the limits of a type as one saturation."""
    low, high = limits(dtype)
    match argument:
        case Apply("min", (Apply("max", (value, Const(a))), Const(b))) if (a, b) == (low, high):
            return Apply(f"{_SATURATE}{dtype}", (value,))
        case Apply("max", (Apply("min", (value, Const(b))), Const(a))) if (a, b) == (low, high):
            return Apply(f"{_SATURATE}{dtype}", (value,))
        case Apply("min", (value, Const(b))) if b == high and interval(value, types)[0] >= low:
            return Apply(f"{_SATURATE}{dtype}", (value,))
        case Apply("max", (value, Const(a))) if a == low and interval(value, types)[1] <= high:
            return Apply(f"{_SATURATE}{dtype}", (value,))
    return argument
