"""The index notation: `out[n,k,y,x] += i32(inp[n,c,2*y+r-1,2*x+s-1]) * i32(wgt[k,c,r,s])`.

The text is one Python assignment; it is parsed by `ast.parse` and nothing in it is executed.
"""

import ast
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from math import isfinite

from dataflow.affine import Affine
from dataflow.arguments import of_kind
from dataflow.computation import Computation, Dim, Tensor
from dataflow.dtypes import is_dtype, is_integer, limits
from dataflow.errors import UserError
from dataflow.expression import ARITY, Apply, Cast, Const, Expression, Read, reads

_BINARY = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.LShift: "shl", ast.RShift: "shr"}


class NotationError(UserError):
    """A text that is not a computation; `column` counts from 1 within the text."""

    def __init__(self, message: str, column: int, text: str) -> None:
        super().__init__(f"{message}\n  {text}\n  {' ' * (column - 1)}^")
        self.message = message
        self.column = column


_MOST_POINTS = 1 << 44


def parse(text: str, extents: Mapping[str, int], tensors: Mapping[str, Tensor]) -> Computation:
    """Read one statement over the box `extents`, whose tensors are all declared.

    Raises NotationError for a syntax error, an unknown name, a wrong number of indices or types that do not agree, and
    UserError for a box of more than 2**44 points: beyond that, costs leave the 64 bits in which they are worked out.
    """
    found = Reader(text, extents, tensors).statement()
    if found.points > _MOST_POINTS:
        largest = max(found.dims, key=lambda dim: dim.extent)
        said = f"an operator has 2**44 at most; make {largest.name}={largest.extent} smaller"
        raise UserError(f"{found.points:.3g} points: {said}")
    return found


@dataclass(frozen=True, slots=True)
class _Typed:
    """An expression under construction; a literal has no type of its own."""

    expression: Expression
    dtype: str | None
    node: ast.AST


class Undeclared(dict[str, Tensor]):
    """Stands for declarations that are not there: every name is a tensor, of unknown shape and type."""


class Reader:
    """Turns the syntax tree of one assignment into a computation."""

    def __init__(self, text: str, extents: Mapping[str, int], tensors: Mapping[str, Tensor]) -> None:
        given = of_kind("text", text, str, "a statement such as `out[i] += a[i]`")
        self.text = given.rstrip().replace("\n", " ").replace("\r", " ")
        self.start = len(self.text) - len(self.text.lstrip())
        self.extents = extents
        self.tensors = tensors
        self.declared = not isinstance(tensors, Undeclared)
        for name, extent in of_kind("extents", extents, Mapping, "a mapping of sizes such as {'i': 64}").items():
            if isinstance(extent, bool) or not isinstance(extent, int) or extent < 1:
                raise UserError(f"{name}={extent}: a size is a positive integer")

    def error(self, message: str, node: ast.AST) -> NotationError:
        column = getattr(node, "col_offset", 0)
        before = self.text.lstrip().encode()[:column].decode()
        return NotationError(message, self.start + len(before) + 1, self.text)

    def statement(self) -> Computation:
        try:
            return self.assignment()
        except (RecursionError, MemoryError):
            raise NotationError("the expression is nested too deeply", self.start + 1, self.text) from None

    def assignment(self) -> Computation:
        node = self.syntax()
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        output = self.read(target)
        value = self.expression(node.value)
        self.same_type(output, value)
        self.fits(value, output.dtype)
        if self.declared:
            self.written(output)
        names = dict.fromkeys(
            read.tensor for read in (output.expression, *reads(value.expression)) if isinstance(read, Read)
        )
        tensors = tuple(self.tensors[name] for name in names) if self.declared else ()
        dims = tuple(Dim(name, extent) for name, extent in self.extents.items())
        assert isinstance(output.expression, Read)
        return Computation(dims, tensors, output.expression, isinstance(node, ast.AugAssign), value.expression)

    def written(self, output: _Typed) -> None:
        """Only reads may leave their tensor."""
        assert isinstance(output.expression, Read)
        for index, size in zip(output.expression.index, self.tensors[output.expression.tensor].shape, strict=True):
            low, high = index.bounds(self.extents)
            if low < 0 or high >= size:
                raise self.error(f"'{index}' writes {low} to {high}, outside 0 to {size - 1}", output.node)

    def reached(self, found: list[Read]) -> tuple[int, ...]:
        """The smallest shape that holds the elements at and above 0 of all accesses of one tensor."""
        name = found[0].tensor
        if len({len(read.index) for read in found}) > 1:
            raise NotationError(f"'{name}' has a different number of indices in places", self.start + 1, self.text)
        shape = tuple(
            max(index.bounds(self.extents)[1] + 1 for index in axis)
            for axis in zip(*(r.index for r in found), strict=True)
        )
        if any(size < 1 for size in shape):
            raise NotationError(f"every index of '{name}' is below 0", self.start + 1, self.text)
        return shape

    def syntax(self) -> ast.Assign | ast.AugAssign:
        here = self.start + 1
        try:
            with warnings.catch_warnings(action="ignore", category=SyntaxWarning):
                module = ast.parse(self.text.lstrip())
        except SyntaxError as error:
            column = self.start + (error.offset or 1)
            raise NotationError(f"not an assignment in index notation: {error.msg}", column, self.text) from None
        except ValueError as error:
            raise NotationError(f"not an assignment in index notation: {error}", here, self.text) from None
        match module.body:
            case [ast.Assign(targets=[_]) as node]:
                return node
            case [ast.AugAssign(op=ast.Add()) as node]:
                return node
        raise NotationError(
            "write one assignment, `tensor[index,...] = ...` or `tensor[index,...] += ...`", here, self.text
        )

    def read(self, node: ast.AST) -> _Typed:
        match node:
            case ast.Name(id=name):
                index: list[ast.expr] = []
            case ast.Subscript(value=ast.Name(id=name), slice=ast.Tuple(elts=index)):
                pass
            case ast.Subscript(value=ast.Name(id=name), slice=single):
                index = [single]
            case _:
                raise self.error("expected a tensor element, such as `a[i,k]`", node)
        if name in self.extents and name not in self.tensors:
            raise self.error(f"'{name}' is an index, not a tensor", node)
        if self.declared and name not in self.tensors:
            raise self.error(f"unknown tensor '{name}'; declared are: {', '.join(self.tensors) or 'none'}", node)
        if self.declared and len(index) != len(self.tensors[name].shape):
            raise self.error(f"'{name}' has {len(self.tensors[name].shape)} dimensions, not {len(index)}", node)
        dtype = self.tensors[name].dtype if self.declared else None
        return _Typed(Read(name, tuple(map(self.affine, index))), dtype, node)

    def expression(self, node: ast.expr) -> _Typed:
        match node:
            case ast.Name() | ast.Subscript():
                return self.read(node)
            case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
                return self.literal(value, node)
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)) if not isinstance(
                value, bool
            ):
                return self.literal(-value, node)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return self.apply("neg", [operand], node)
            case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _BINARY:
                return self.apply(_BINARY[type(sign)], [left, right], node)
            case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if is_dtype(name):
                return _Typed(Cast(name, self.expression(argument).expression), name, node)
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in ARITY:
                return self.apply(name, arguments, node)
            case ast.Call(func=ast.Name(id=name)) if is_dtype(name) or name in ARITY:
                raise self.error(f"'{name}' takes {ARITY.get(name, 1)} plain arguments", node)
            case ast.Call(func=ast.Name(id=name)):
                raise self.error(
                    f"unknown operation '{name}'; there are types (i8, f32, ...) and {', '.join(ARITY)}", node
                )
        raise self.error("expected a tensor element, a number, +, -, *, <<, >> or an operation", node)

    def apply(self, operation: str, arguments: list[ast.expr], node: ast.AST) -> _Typed:
        if len(arguments) != ARITY[operation]:
            raise self.error(f"'{operation}' takes {ARITY[operation]} arguments, not {len(arguments)}", node)
        values = [self.expression(argument) for argument in arguments]
        for left, right in combinations(values, 2):
            self.same_type(left, right)
        known = next((value.dtype for value in values if value.dtype), None)
        for value in values:
            self.fits(value, known)
        return _Typed(Apply(operation, tuple(value.expression for value in values)), known, node)

    def literal(self, value: int | float, node: ast.expr) -> _Typed:
        if isinstance(value, float) and not isfinite(value):
            raise self.error("a number is finite", node)
        return _Typed(Const(value), None, node)

    def fits(self, value: _Typed, dtype: str | None) -> None:
        """A literal takes the type of what it meets, which must hold it."""
        if not isinstance(value.expression, Const) or dtype is None or not is_integer(dtype):
            return
        low, high = limits(dtype)
        number = value.expression.value
        if isinstance(number, float) or not low <= number <= high:
            raise self.error(f"{number} is not an {dtype}, which is {low} to {high}", value.node)

    def same_type(self, left: _Typed, right: _Typed) -> None:
        if left.dtype and right.dtype and left.dtype != right.dtype:
            raise self.error(f"{left.dtype} meets {right.dtype}; write a cast, such as `{left.dtype}(...)`", right.node)

    def affine(self, node: ast.expr) -> Affine:
        match node:
            case ast.Constant(value=int() as value) if not isinstance(value, bool):
                return Affine((), value)
            case ast.Name(id=name) if name in self.extents:
                return Affine(((name, 1),))
            case ast.Name(id=name):
                raise self.error(
                    f"index '{name}' has no size; sizes are given for: {', '.join(self.extents) or 'none'}", node
                )
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return _scaled(self.affine(operand), -1)
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return _sum(self.affine(left), self.affine(right))
            case ast.BinOp(left=left, op=ast.Sub(), right=right):
                return _sum(self.affine(left), _scaled(self.affine(right), -1))
            case ast.BinOp(left=left, op=ast.Mult(), right=right):
                return self.product(self.affine(left), self.affine(right), node)
        raise self.error("an index is a sum of integer multiples of dims, such as `2*y+r-1`", node)

    def product(self, left: Affine, right: Affine, node: ast.AST) -> Affine:
        if left.terms and right.terms:
            raise self.error("an index is affine: a dim times a dim is not allowed", node)
        return _scaled(right, left.constant) if right.terms else _scaled(left, right.constant)


def _scaled(value: Affine, factor: int) -> Affine:
    return Affine.of(((dim, coefficient * factor) for dim, coefficient in value.terms), value.constant * factor)


def _sum(left: Affine, right: Affine) -> Affine:
    return Affine.of((*left.terms, *right.terms), left.constant + right.constant)
