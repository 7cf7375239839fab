"""Frozen dataclasses as JSON values and back, driven by their type hints: no name in the data picks what is made.

A dataclass is an object of the fields that its comparison counts, a union of dataclasses has the class's name in front.
Arrays go into a list of byte strings beside the JSON.
"""

import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from dataflow.errors import UserError

Array = npt.NDArray[Any]

_LINE = 64
_BFLOAT = np.dtype(ml_dtypes.bfloat16)
_SCALARS = (str, int, float, bool)


class Writer:
    """Makes JSON values; `hooks` replaces the objects of some classes by a JSON value of one's own."""

    def __init__(self, hooks: Mapping[type, Callable[[Any], Any]] | None = None) -> None:
        self.hooks = hooks or {}
        self.blobs: list[bytes] = []

    def write(self, value: Any, kind: Any) -> Any:
        """The JSON value of an object of the type `kind`."""
        if kind in self.hooks:
            return self.hooks[kind](value)
        if kind == Array:
            return self.array(value)
        origin, arguments = typing.get_origin(kind), typing.get_args(kind)
        if origin in (typing.Union, types.UnionType):
            return self.union(value, arguments)
        if origin is tuple:
            return [self.write(item, each) for item, each in zip(value, _members(arguments, len(value)), strict=True)]
        if _is_mapping(origin):
            return [[name, self.write(item, arguments[1])] for name, item in value.items()]
        if _is_object(kind):
            return {name: self.write(getattr(value, name), each) for name, each in _hints(kind).items()}
        if kind in _SCALARS:
            return value
        raise TypeError(f"{kind} has no plain form")

    def union(self, value: Any, choices: tuple[Any, ...]) -> Any:
        if value is None or type(value) in _SCALARS:
            return value
        kind = next(choice for choice in choices if choice is type(value))
        return [kind.__name__, self.write(value, kind)]

    def array(self, array: Array) -> Any:
        """The dimensions in the order in which they lie, so that a dense array stays dense."""
        order = sorted(range(array.ndim), key=lambda place: -array.strides[place])
        self.blobs.append(np.ascontiguousarray(array.transpose(order)).tobytes())
        return {"blob": len(self.blobs) - 1, "dtype": array.dtype.name, "shape": list(array.shape), "order": order}


class Reader:
    """Makes objects; what is no such object raises UserError."""

    def __init__(self, blobs: list[bytes], hooks: Mapping[type, Callable[[Any], Any]] | None = None) -> None:
        self.blobs, self.hooks = blobs, hooks or {}

    def read(self, value: Any, kind: Any) -> Any:
        """The object of the type `kind` that a JSON value stands for; raises UserError if it is none."""
        try:
            return self._read(value, kind)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError, StopIteration) as error:
            raise UserError(f"not a saved {getattr(kind, '__name__', kind)}: {type(error).__name__} {error}") from None

    def _read(self, value: Any, kind: Any) -> Any:
        if kind in self.hooks:
            return self.hooks[kind](value)
        if kind == Array:
            return self._array(value)
        origin, arguments = typing.get_origin(kind), typing.get_args(kind)
        if origin in (typing.Union, types.UnionType):
            return self._union(value, arguments)
        if origin is tuple:
            members = _members(arguments, len(value))
            return tuple(self._read(item, each) for item, each in zip(value, members, strict=True))
        if _is_mapping(origin):
            return {str(name): self._read(item, arguments[1]) for name, item in value}
        if _is_object(kind):
            return self._object(value, kind)
        if kind in _SCALARS and type(value) is kind:
            return value
        raise ValueError(f"{value!r} is no {kind}")

    def _object(self, value: Any, kind: Any) -> Any:
        hints = _hints(kind)
        if value.keys() != hints.keys():
            raise ValueError(f"it has {', '.join(value)}")
        return kind(**{name: self._read(value[name], each) for name, each in hints.items()})

    def _union(self, value: Any, choices: tuple[Any, ...]) -> Any:
        if type(value) in choices:
            return value
        name, content = value
        return self._read(content, next(choice for choice in choices if choice.__name__ == name))

    def _array(self, value: Any) -> Array:
        """On a cache line of its own."""
        dtype = _BFLOAT if value["dtype"] == _BFLOAT.name else np.dtype(str(value["dtype"]))
        data, order = self.blobs[value["blob"]], tuple(value["order"])
        raw = np.zeros(len(data) + _LINE, np.uint8)
        start = -raw.ctypes.data % _LINE
        raw[start : start + len(data)] = np.frombuffer(data, np.uint8)
        flat = raw[start : start + len(data)].view(dtype)
        return flat.reshape([value["shape"][place] for place in order]).transpose(np.argsort(order).astype(int))


@cache
def _hints(kind: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind) if field.compare}


def _members(arguments: tuple[Any, ...], count: int) -> tuple[Any, ...]:
    return (arguments[0],) * count if len(arguments) == 2 and arguments[1] is Ellipsis else arguments


def _is_object(kind: Any) -> bool:
    return is_dataclass(kind)


def _is_mapping(origin: Any) -> bool:
    return isinstance(origin, type) and issubclass(origin, Mapping)
