"""Contractions, `out += a * b`, as matrix products: exact for integers, fast enough for whole networks.

Products of i8 are summed in f32 for as long as the sum stays below 2**24, where f32 still holds every integer.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from dataflow.computation import Computation
from dataflow.dtypes import bits, is_integer, limits
from dataflow.expression import Apply, Cast, Expression, Read
from dataflow.views import read_view, write_view

Array = npt.NDArray[Any]

_COPY_ELEMENTS = 1 << 24


def is_contraction(statement: Computation) -> bool:
    """Whether it sums products of two reads whose dims are all in the output or in both reads."""
    if not statement.accumulate or statement.tensors[0].dtype in ("f16", "bf16"):
        return False
    return _factors(statement) is not None and _classify(statement) is not None


def contract(statement: Computation, inputs: Mapping[str, Array], out: Array) -> None:
    """Add the contraction to `out` (i64 or f64)."""
    kinds = _classify(statement)
    assert kinds is not None
    carrier, terms = _carrier(statement)
    for ranges in _blocks(statement, kinds, terms):
        part = statement.restricted(ranges)
        factors = _factors(part)
        assert factors is not None
        left, right = (read_view(read, inputs[read.tensor], part.extents, _names(part)) for read in factors)
        target = write_view(statement, out, _names(statement, drop=kinds.sums))
        assert target is not None
        place = tuple(_slice(ranges, name) for name in _names(statement, drop=kinds.sums))
        block = _product(part, kinds, left, right, carrier)
        target[place] += block.astype(out.dtype)


@dataclass(frozen=True, slots=True)
class _Kinds:
    """Dims by who uses them: all three, output and left, output and right, both factors only."""

    shared: tuple[str, ...]
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    sums: tuple[str, ...]


def _factors(statement: Computation) -> tuple[Read, Read] | None:
    match statement.body:
        case Apply("mul", (left, right)):
            pair = (_read(statement, left), _read(statement, right))
            return (pair[0], pair[1]) if pair[0] and pair[1] else None
    return None


def _read(statement: Computation, node: Expression) -> Read | None:
    match node:
        case Read():
            return node
        case Cast(dtype, Read(tensor) as read) if _keeps(statement.tensor(tensor).dtype, dtype):
            return read
    return None


def _keeps(narrow: str, wide: str) -> bool:
    """Whether a cast can be left out: integers agree modulo the output's width, wider floats hold the same number."""
    if is_integer(wide):
        return is_integer(narrow)
    return narrow == wide or (wide in ("f32", "f64") and bits(narrow) < bits(wide))


def _dims_of(read: Read) -> set[str]:
    return {dim for index in read.index for dim in index.dims}


def _classify(statement: Computation) -> _Kinds | None:
    factors = _factors(statement)
    assert factors is not None
    out, left, right = map(_dims_of, (statement.output, *factors))
    found: dict[tuple[bool, bool, bool], list[str]] = {}
    for dim in statement.dims:
        found.setdefault((dim.name in out, dim.name in left, dim.name in right), []).append(dim.name)
    known = [(True, True, True), (True, True, False), (True, False, True), (False, True, True)]
    if any(kind not in known for kind in found):
        return None
    return _Kinds(*(tuple(found.get(kind, ())) for kind in known))


def _carrier(statement: Computation) -> tuple[npt.DTypeLike, int]:
    """The type to multiply in, and how many products it sums exactly: a float where it can, for BLAS is fast."""
    factors = _factors(statement)
    assert factors is not None
    dtypes = [statement.tensor(read.tensor).dtype for read in factors]
    if not is_integer(statement.tensors[0].dtype):
        return np.float64, statement.points
    largest = prod(max(map(abs, limits(dtype))) for dtype in dtypes)
    for carrier, digits in ((np.float32, 24), (np.float64, 53)):
        if (1 << digits) // largest > 1:
            return carrier, (1 << digits) // largest
    return np.int64, statement.points


def _blocks(statement: Computation, kinds: _Kinds, terms: int) -> Iterator[dict[str, range]]:
    """Boxes that keep sums exact and copies bounded."""
    extents = statement.extents
    steps = dict(extents)
    _shrink(steps, kinds.sums, terms)
    for side in (kinds.rows, kinds.columns):
        _shrink(steps, side, max(1, _COPY_ELEMENTS // prod(steps[dim] for dim in kinds.sums)))
    sums = prod(steps[dim] for dim in kinds.sums)
    largest = max(prod(steps[dim] for dim in side) for side in (kinds.rows, kinds.columns))
    _shrink(steps, kinds.shared, max(1, _COPY_ELEMENTS // (sums * largest)))
    counts = [-(-extents[name] // steps[name]) for name in extents]
    for place in np.ndindex(*counts):
        yield {
            name: range(i * steps[name], min((i + 1) * steps[name], extents[name]))
            for i, name in zip(place, extents, strict=True)
        }


def _shrink(steps: dict[str, int], dims: Sequence[str], limit: int) -> None:
    """Cut `dims`, outermost first, until the product of their steps is at most `limit`."""
    for dim in dims:
        others = prod(steps[other] for other in dims) // steps[dim]
        steps[dim] = max(1, min(steps[dim], limit // others))


def _product(part: Computation, kinds: _Kinds, left: Array, right: Array, dtype: npt.DTypeLike) -> Array:
    """The block's matrix product, shaped over its output dims in the order of the box."""
    names = _names(part)
    extents = part.extents
    a = _matrices(left, names, kinds.shared, kinds.rows, kinds.sums, dtype)
    b = _matrices(right, names, kinds.shared, kinds.sums, kinds.columns, dtype)
    order = [*kinds.shared, *kinds.rows, *kinds.columns]
    block = (a @ b).reshape([extents[name] for name in order])
    return block.transpose([order.index(name) for name in names if name in order])


def _matrices(
    view: Array,
    names: Sequence[str],
    stack: Sequence[str],
    rows: Sequence[str],
    columns: Sequence[str],
    dtype: npt.DTypeLike,
) -> Array:
    """A stack of matrices, one for each point of the dims `stack`."""
    used = [names.index(name) for name in (*stack, *rows, *columns)]
    moved = view.transpose([*used, *(axis for axis in range(view.ndim) if axis not in used)])
    depth, height = (prod(view.shape[names.index(name)] for name in side) for side in (stack, rows))
    return moved.astype(dtype).reshape(depth, height, -1)


def _names(statement: Computation, drop: Sequence[str] = ()) -> tuple[str, ...]:
    return tuple(dim.name for dim in statement.dims if dim.name not in drop)


def _slice(ranges: Mapping[str, range], name: str) -> slice:
    return slice(ranges[name].start, ranges[name].stop)
