"""Small integer formulas over named integers, read with `ast.parse` and evaluated here: nothing is executed.

``block_in * 8``, ``log2(acc.count)``, ``uop[u].dst + i * dst_factor_out``, ``0 <= y < y_size``
"""

import ast
import operator
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

_LONGEST = 2000
_LARGEST = 1 << 128

Words = Callable[[str, int, str], int]
"""(memory, word index, field) -> value of that field of that word."""


class FormulaError(Exception):
    """What is wrong with a formula, and the 0-based offset in its text."""

    def __init__(self, message: str, offset: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset


def _exact_log2(value: int) -> int:
    if value <= 0 or value & (value - 1):
        raise FormulaError(f"log2({value}): {value} is not a power of two")
    return value.bit_length() - 1


def _ceil_log2(value: int) -> int:
    if value <= 0:
        raise FormulaError(f"ceil_log2({value}): {value} is not positive")
    return (value - 1).bit_length()


def _no_zero(name: str, apply: Callable[[int, int], int]) -> Callable[[int, int], int]:
    def divide(left: int, right: int) -> int:
        if right == 0:
            raise FormulaError(f"{left} {name} 0 divides by zero")
        return apply(left, right)

    return divide


_floor_divide = _no_zero("//", operator.floordiv)
_BINARY: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: _floor_divide,
    ast.Mod: _no_zero("%", operator.mod),
}
_COMPARE: dict[type[ast.cmpop], Callable[[int, int], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_UNARY: dict[type[ast.unaryop], Callable[[int], int]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: lambda value: int(not value),
}
_FUNCTIONS: dict[str, tuple[int | None, Callable[..., int]]] = {
    "log2": (1, _exact_log2),
    "ceil_log2": (1, _ceil_log2),
    "ceildiv": (2, lambda left, right: -_floor_divide(-left, right)),
    "min": (None, min),
    "max": (None, max),
}


@dataclass(frozen=True, slots=True)
class Name:
    """A name a formula uses: `block_in`, `acc.count`, or the field `dst` of a word of `uop` (then `word` is True)."""

    text: str
    offset: int
    word: bool = False


@dataclass(frozen=True, slots=True)
class Formula:
    """An integer formula; comparisons and `and`, `or`, `not` give 0 or 1."""

    text: str
    _tree: ast.expr = field(repr=False, compare=False)

    @classmethod
    def parse(cls, text: str) -> "Formula":
        """Read a formula; raises FormulaError with the offset of what is not one."""
        tree = _parse(text)
        try:
            for node, message in _faults(tree):
                raise FormulaError(message, _offset(node, text))
        except RecursionError:
            raise FormulaError("the formula is nested too deeply") from None
        return cls(text, tree)

    def names(self) -> tuple[Name, ...]:
        """Every name used, in the order of the text."""
        return tuple(sorted(_names(self._tree, self.text), key=lambda name: name.offset))

    def value(self, names: Mapping[str, int], words: Words | None = None) -> int:
        """The value for these names; raises FormulaError for an unknown name or a division by zero."""
        try:
            return _evaluate(self._tree, names, words)
        except FormulaError as fault:
            raise FormulaError(f"{fault.message}, in `{self.text}`") from None

    def __str__(self) -> str:
        return self.text


def _parse(text: str) -> ast.expr:
    if len(text) > _LONGEST:
        raise FormulaError(f"a formula has at most {_LONGEST} characters")
    flat = text.replace("\n", " ")
    lead = len(flat) - len(flat.lstrip())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(flat[lead:].rstrip(), mode="eval").body
    except SyntaxError as error:
        at = max((error.offset or 1) - 1, 0) + lead
        raise FormulaError("this is not a formula", min(at, max(len(text) - 1, 0))) from None
    except (ValueError, RecursionError, MemoryError):
        raise FormulaError("this is not a formula") from None


def _offset(node: ast.AST, text: str) -> int:
    lead = len(text) - len(text.lstrip())
    flat = text.replace("\n", " ")[lead:]
    return lead + len(flat.encode()[: getattr(node, "col_offset", 0)].decode(errors="ignore"))


def _faults(node: ast.expr) -> Iterator[tuple[ast.AST, str]]:
    """Each part that no formula may have, with what to say about it."""
    message = _FAULTS.get(type(node), _no_such_part)(node)
    if message:
        yield node, message
        return
    for part in _parts(node):
        yield from _faults(part)


def _parts(node: ast.expr) -> list[ast.expr]:
    """The operands of a node that `_FAULTS` finds nothing wrong with."""
    match node:
        case ast.Attribute(value=ast.Subscript(slice=index)):
            return [index]
        case ast.BinOp(left=left, right=right):
            return [left, right]
        case ast.UnaryOp(operand=operand):
            return [operand]
        case ast.Compare(left=left, comparators=rights):
            return [left, *rights]
        case ast.BoolOp(values=parts) | ast.Call(args=parts):
            return parts
    return []


def _no_such_part(_: ast.expr) -> str:
    return "a formula has integers, names, + - * // %, comparisons, and the functions " + ", ".join(_FUNCTIONS)


def _call_fault(node: ast.expr) -> str:
    match node:
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
            if name not in _FUNCTIONS:
                return f"function '{name}' does not exist; the functions are {', '.join(_FUNCTIONS)}"
            count = _FUNCTIONS[name][0]
            if len(arguments) != count and (count or not arguments):
                return f"{name}() takes {count or 'some'} arguments, not {len(arguments)}"
            return ""
    return _no_such_part(node)


def _attribute_fault(node: ast.expr) -> str:
    match node:
        case ast.Attribute(value=ast.Name() | ast.Subscript(value=ast.Name())):
            return ""
    return _no_such_part(node)


def _constant_fault(node: ast.expr) -> str:
    assert isinstance(node, ast.Constant)
    allowed = type(node.value) is int and node.value <= _LARGEST
    return "" if allowed else "a number in a formula is an integer below 2**128"


def _operator_fault(node: ast.expr) -> str:
    match node:
        case ast.BinOp(op=operator_) if type(operator_) not in _BINARY:
            return "the operators of a formula are + - * // %"
        case ast.UnaryOp(op=sign) if type(sign) not in _UNARY:
            return "the signs of a formula are + - not"
        case ast.Compare(ops=signs) if any(type(sign) not in _COMPARE for sign in signs):
            return "the comparisons of a formula are < <= > >= == !="
    return ""


_FAULTS: dict[type[ast.expr], Callable[[ast.expr], str]] = {
    ast.Constant: _constant_fault,
    ast.Name: lambda _: "",
    ast.Attribute: _attribute_fault,
    ast.BinOp: _operator_fault,
    ast.UnaryOp: _operator_fault,
    ast.Compare: _operator_fault,
    ast.BoolOp: lambda _: "",
    ast.Call: _call_fault,
}


def _names(tree: ast.expr, text: str) -> Iterator[Name]:
    functions = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    inner: set[int] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id=base) as name, attr=attribute):
                inner.add(id(name))
                yield Name(f"{base}.{attribute}", _offset(node, text))
            case ast.Attribute(value=ast.Subscript(value=ast.Name(id=base) as name), attr=attribute):
                inner.add(id(name))
                yield Name(f"{base}.{attribute}", _offset(node, text), word=True)
            case ast.Name(id=identifier) if id(node) not in functions and id(node) not in inner:
                yield Name(identifier, _offset(node, text))


def _evaluate(node: ast.expr, names: Mapping[str, int], words: Words | None) -> int:
    match node:
        case ast.Constant(value=int(value)):
            return value
        case ast.Name(id=name):
            return _lookup(name, names)
        case ast.Attribute(value=ast.Name(id=base), attr=attribute):
            return _lookup(f"{base}.{attribute}", names)
    values = [_evaluate(part, names, words) for part in _parts(node)]
    match node:
        case ast.Attribute(value=ast.Subscript(value=ast.Name(id=base)), attr=attribute):
            return _word(base, values[0], attribute, words)
        case ast.Call(func=ast.Name(id=function)):
            return _FUNCTIONS[function][1](*values)
    return _operate(node, values)


def _operate(node: ast.expr, values: list[int]) -> int:
    match node:
        case ast.BinOp(op=sign):
            return _BINARY[type(sign)](*values)
        case ast.UnaryOp(op=sign):
            return _UNARY[type(sign)](*values)
        case ast.BoolOp(op=sign):
            return int(all(values) if isinstance(sign, ast.And) else any(values))
        case ast.Compare(ops=signs):
            pairs = zip(signs, values, values[1:], strict=False)
            return int(all(_COMPARE[type(sign)](left, right) for sign, left, right in pairs))
    raise AssertionError(f"Formula.parse accepted {ast.dump(node)}")


def _word(memory: str, index: int, name: str, words: Words | None) -> int:
    if words is None:
        raise FormulaError(f"a word of '{memory}' can only be read while an instruction runs")
    return words(memory, index, name)


def _lookup(name: str, names: Mapping[str, int]) -> int:
    if name not in names:
        raise FormulaError(f"'{name}' has no value; known are {', '.join(names) or 'none'}")
    return names[name]
