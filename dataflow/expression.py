"""The scalar body of a computation: a tree of reads, constants, casts and operations."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from dataflow.affine import Affine

ARITY = {
    "add": 2, "sub": 2, "mul": 2, "min": 2, "max": 2, "shl": 2, "shr": 2, "neg": 1, "fma": 3, "rint": 1,
    "sat_i8": 1, "sat_u8": 1, "sat_i16": 1, "sat_u16": 1, "sat_i32": 1,
}  # fmt: skip
"""Operations by name. `shr` is arithmetic, a negative amount shifts the other way; `fma(a,b,c)` rounds once;
`rint` rounds to an integer, ties to even."""

COMMUTATIVE = frozenset({"add", "mul", "min", "max"})


@dataclass(frozen=True, slots=True)
class Const:
    """A literal; it takes the type of what it meets."""

    value: int | float


@dataclass(frozen=True, slots=True)
class Read:
    """One element of a tensor; a read outside the tensor is zero. A scalar has an empty index."""

    tensor: str
    index: tuple[Affine, ...]

    @property
    def dims(self) -> frozenset[str]:
        """The dims that the index uses."""
        return frozenset([dim for place in self.index for dim, _ in place.terms])

    def __str__(self) -> str:
        return f"{self.tensor}[{','.join(map(str, self.index))}]" if self.index else self.tensor


@dataclass(frozen=True, slots=True)
class Cast:
    """Conversion to a scalar type; integers wrap."""

    dtype: str
    argument: "Expression"


@dataclass(frozen=True, slots=True)
class Apply:
    """An operation of `ARITY` on its arguments, all of one type."""

    operation: str
    arguments: tuple["Expression", ...]


Expression = Const | Read | Cast | Apply


def children(expression: Expression) -> tuple[Expression, ...]:
    match expression:
        case Cast(_, argument):
            return (argument,)
        case Apply(_, arguments):
            return arguments
        case _:
            return ()


def walk(expression: Expression) -> Iterator[Expression]:
    """Every node, a parent before its children, left to right."""
    yield expression
    for child in children(expression):
        yield from walk(child)


def reads(expression: Expression) -> tuple[Read, ...]:
    """Every read, left to right; the same element twice counts twice."""
    if isinstance(expression, Read):
        return (expression,)
    return tuple([read for child in children(expression) for read in reads(child)])


def map_reads(expression: Expression, change: Callable[[Read], Expression]) -> Expression:
    """The same tree with every read replaced."""
    match expression:
        case Read():
            return change(expression)
        case Cast(dtype, argument):
            return Cast(dtype, map_reads(argument, change))
        case Apply(operation, arguments):
            return Apply(operation, tuple(map_reads(argument, change) for argument in arguments))
        case _:
            return expression


def dtype_of(expression: Expression, types: Callable[[str], str | None]) -> str | None:
    """Scalar type of an expression whose tensors have `types`; literals alone have none."""
    match expression:
        case Read(tensor):
            return types(tensor)
        case Cast(dtype, _):
            return dtype
        case Apply(_, arguments):
            return next((known for argument in arguments if (known := dtype_of(argument, types))), None)
        case _:
            return None


_INFIX = {"add": ("+", 2), "sub": ("-", 2), "mul": ("*", 3), "shl": ("<<", 1), "shr": (">>", 1)}


def render(expression: Expression, binding: int = 0) -> str:
    """Text in the index notation, with no more parentheses than Python's precedence needs."""
    match expression:
        case Const(value):
            return str(value) if value >= 0 or binding < 4 else f"({value})"
        case Read():
            return str(expression)
        case Cast(dtype, argument):
            return f"{dtype}({render(argument)})"
        case Apply("neg", (Const(value),)) if value >= 0:
            return f"neg({value})"
        case Apply("neg", (argument,)):
            text = f"-{render(argument, 4)}"
            return f"({text})" if binding > 3 else text
        case Apply(operation, (left, right)) if operation in _INFIX:
            sign, level = _INFIX[operation]
            text = f"{render(left, level)} {sign} {render(right, level + 1)}"
            return f"({text})" if level < binding else text
        case Apply(operation, arguments):
            return f"{operation}({', '.join(map(render, arguments))})"
