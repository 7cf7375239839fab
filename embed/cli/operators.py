"""Operators as words on the command line: `conv2d c=3 h=224 stride=2,1 ...`, or `--expr TEXT` and its sizes."""

import inspect
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

import dataflow
from dataflow.library import Sizes

Builder = Callable[..., dataflow.Operator]

_EPILOGUE = {
    "shift": int, "scale": bool, "zero": int, "bias": bool, "add": bool, "relu": bool, "low": int, "high": int,
    "dtype": str, "channel": int,
}  # fmt: skip
_OF_SUMS = ("bias", "add", "relu", "high", "dtype", "channel")
"""Those of an epilogue that keeps the type of the sums, or stores fewer bits of floats."""


def read_operator(
    words: Sequence[str], *, expr: str | None = None, dtype: str | None = None, epilogue: str = "none"
) -> dataflow.Operator:
    """The operator that the words name, or that `expr` defines over the sizes in `words`; then its epilogue.

    A quoted operator in one word counts as its words. Raises UserError naming what would be valid.
    """
    parts = [part for word in words for part in word.split()]
    operator = read_library(parts, dtype) if expr is None else read_expression(expr, parts, dtype or "i8")
    return add_epilogue(operator, epilogue)


def read_library(parts: Sequence[str], dtype: str | None = None) -> dataflow.Operator:
    """An operator of the library from its name and its `NAME=VALUE` words."""
    if not parts:
        raise dataflow.UserError(f"which operator? Name one of {_names()} with its sizes, or give --expr")
    name, *words = parts
    if name not in dataflow.LIBRARY:
        raise dataflow.UserError(f"unknown operator '{name}'; there are: {_names()}")
    build = dataflow.LIBRARY[name]
    takes = inspect.signature(build).parameters
    given = read_pairs(name, words)
    if dtype is not None:
        given.setdefault("dtype", dtype)
    for key in given:
        if key not in takes:
            raise dataflow.UserError(f"{name} has no '{key}'; it takes {describe(build)}")
    missing = [key for key, parameter in takes.items() if parameter.default is parameter.empty and key not in given]
    if missing:
        raise dataflow.UserError(f"{name} needs {', '.join(missing)}; it takes {describe(build)}")
    return build(**{key: _value(name, key, text, takes[key].annotation) for key, text in given.items()})


def read_expression(text: str, parts: Sequence[str], dtype: str) -> dataflow.Operator:
    """An operator from its index expression, such as `out[i,j] += a[i,k]*b[k,j]`, and `i=64 j=64 k=64`.

    After a `;` come further statements, such as `out[i,j] = max(acc[i,j] + bias[j], 0)`. A `dtype` of `i16:i16` has
    sums of the inputs' type.
    """
    sizes = {key: _integer("--expr", key, value) for key, value in read_pairs("--expr", parts).items()}
    first, *rest = text.split(";")
    statements = dataflow.infer_all([first, *filter(str.strip, rest)], sizes, dtype)
    return dataflow.Operator("expr", statements, tuple(sizes.items()))


def add_epilogue(operator: dataflow.Operator, text: str) -> dataflow.Operator:
    """Follow the operator with `bias,relu,add,high=6` on sums of floats, or with `shift=8,bias,relu,dtype=u8` on i32.

    `none` leaves its sums. Integer sums keep their type where `add` or no more than `bias` and `relu` with `dtype=i32`
    are asked for. Raises UserError naming what would be valid.
    """
    if text == "none":
        return operator
    options: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        key, _, value = part.partition("=")
        if key not in _EPILOGUE:
            raise dataflow.UserError(f"--epilogue has no '{key}'; it takes {_described(_EPILOGUE)}, or none")
        options[key] = _option(key, value)
    narrowing = "add" not in options or not options.keys() <= set(_OF_SUMS) or "dtype" in options
    if operator.output.dtype == "i32" and options.get("dtype") != "i32" and narrowing:
        return dataflow.requantise(operator, **options)
    for key in options:
        if key not in _OF_SUMS:
            raise dataflow.UserError(f"--epilogue: {key} narrows sums in i32; others take {_described(_OF_SUMS)}")
    return dataflow.bias_relu(operator, **{"bias": False, "relu": False, **options})


def _option(key: str, value: str) -> object:
    kind = _EPILOGUE[key]
    if kind is str:
        return value
    return _integer("--epilogue", key, value) if kind is int else _flag("--epilogue", key, value or "1")


def _described(keys: Iterable[str]) -> str:
    return ", ".join(key if _EPILOGUE[key] is bool else f"{key}={'TYPE' if key == 'dtype' else 'N'}" for key in keys)


def read_pairs(subject: str, words: Sequence[str]) -> dict[str, str]:
    """`NAME=VALUE` words by name; raises UserError for a word of another form or a name given twice."""
    found: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not (key and equals and value):
            raise dataflow.UserError(f"{subject}: expected NAME=VALUE, not '{word}'")
        if key in found:
            raise dataflow.UserError(f"{subject}: {key} is given twice")
        found[key] = value
    return found


def read_settings(words: Sequence[str]) -> dict[str, int]:
    """Parameters of the ISA from `--set NAME=VALUE`."""
    return {key: _integer("--set", key, value) for key, value in read_pairs("--set", words).items()}


def read_solver_parameters(words: Sequence[str]) -> dict[str, bool | int | float]:
    """Parameters of CP-SAT from `--solver-params NAME=VALUE`: true, false or a number."""
    return {key: _solver_value(key, value) for key, value in read_pairs("--solver-params", words).items()}


def _solver_value(key: str, text: str) -> bool | int | float:
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    raise dataflow.UserError(f"--solver-params: {key}={text} is neither a number nor true or false")


def describe(build: Builder) -> str:
    """The keys of an operator, with the defaults of those that have one."""
    takes = inspect.signature(build).parameters.items()
    return " ".join(key if p.default is p.empty else f"{key}={_shown(p.default)}" for key, p in takes)


def _shown(value: object) -> object:
    return int(value) if isinstance(value, bool) else value


def _names() -> str:
    return ", ".join(dataflow.LIBRARY)


def _value(subject: str, key: str, text: str, kind: object) -> object:
    if kind is str:
        return text
    if kind is bool:
        return _flag(subject, key, text)
    if kind == Sizes and "," in text:
        return tuple(_integer(subject, key, part) for part in text.split(","))
    return _integer(subject, key, text)


def _flag(subject: str, key: str, text: str) -> bool:
    if text not in ("0", "1"):
        raise dataflow.UserError(f"{subject}: {key}={text} must be 0 or 1")
    return text == "1"


def _integer(subject: str, key: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise dataflow.UserError(f"{subject}: {key}={text} is not an integer") from None
