"""The epilogue as instructions: each operation of the element-wise statements becomes one pass over the accumulators.

Instructions are found by their patterns: `dst = op(dst, x)`, where x is an immediate field or another register.
"""

from dataclasses import dataclass

from dataflow.affine import Affine
from dataflow.computation import Computation
from dataflow.dtypes import bits, is_integer
from dataflow.expression import COMMUTATIVE, Apply, Cast, Const, Expression, Read
from dataflow.operator import Operator
from embed.errors import NoEmbedding
from isa.model import FIELD, Instruction, Isa

_WIDEST_SHIFT = 15
"""VTA's HLS core keeps a signed 5-bit shift amount (tvm-vta, vta.cc): wider shifts take two passes."""


@dataclass(frozen=True, slots=True)
class Pass:
    """One instruction over every accumulator: `operation` with `immediate` or the tensor read as `operand`."""

    instruction: str
    operation: str
    immediate: int = 0
    operand: Read | None = None


@dataclass(frozen=True, slots=True)
class Epilogue:
    """Passes in order, then one store for each byte plane of the result, lowest first, with `between` after each."""

    passes: tuple[Pass, ...]
    planes: int
    between: tuple[Pass, ...]


def plan(operator: Operator, target: Isa) -> Epilogue:
    """Choose the passes; raises NoEmbedding where the target has no instruction for an operation."""
    chooser = _Chooser(target)
    passes: list[Pass] = []
    value: Expression = operator.main.output
    for statement in operator.epilogue:
        passes += chooser.passes(_inlined(statement, operator), value)
        value = operator.main.output if statement is operator.epilogue[-1] else value
    planes = _planes(operator, target)
    between = tuple(chooser.immediate("shr", 8)) if planes > 1 else ()
    return Epilogue(tuple(passes), planes, between)


def _planes(operator: Operator, target: Isa) -> int:
    """Stores that carry a whole result: 1 where the store writes its type, 4 for i32 through an i8 store.

    An ISA file that says nothing of stores leaves them out of the question.
    """
    dtype = operator.output.dtype
    stores = [entry.pattern for entry in target.instructions.values() if _is_store(entry, target)]
    widths = {bits(pattern.tensors[0].dtype) for pattern in stores if pattern is not None}
    if not widths or bits(dtype) in widths:
        return 1
    if not is_integer(dtype) or 8 not in widths:
        raise NoEmbedding(f"{target.name} cannot store {dtype} results; it stores {sorted(widths)} bits")
    return bits(dtype) // 8


def _is_store(entry: Instruction, target: Isa) -> bool:
    if entry.pattern is None or entry.output is None or entry.output.memory == FIELD:
        return False
    return target.memories[entry.output.memory].kind == "external"


def _inlined(statement: Computation, operator: Operator) -> Expression:
    """The statement's body with its dims replaced by the main statement's output index."""
    places = dict(zip((dim.name for dim in statement.dims), operator.main.output.index, strict=True))
    return _substitute(statement.body, places)


def _substitute(node: Expression, places: dict[str, Affine]) -> Expression:
    match node:
        case Read(tensor, index):
            return Read(tensor, tuple(compose(part, places) for part in index))
        case Cast(dtype, argument):
            return Cast(dtype, _substitute(argument, places))
        case Apply(operation, arguments):
            return Apply(operation, tuple(_substitute(argument, places) for argument in arguments))
        case _:
            return node


def compose(index: Affine, places: dict[str, Affine]) -> Affine:
    """`index` with each dim replaced by an affine expression."""
    terms = [(dim, c * inner) for name, c in index.terms for dim, inner in places[name].terms]
    return Affine.of(terms, index.constant + sum(c * places[name].constant for name, c in index.terms))


class _Chooser:
    """Finds the instruction of each operation among the target's patterns."""

    def __init__(self, target: Isa) -> None:
        self.target = target
        self.known: dict[tuple[str, bool], str] = {}
        for entry in target.instructions.values():
            found = _elementwise(entry)
            if found is not None:
                self.known.setdefault(found, entry.name)

    def passes(self, body: Expression, value: Expression) -> list[Pass]:
        """Passes that turn the accumulators into `body`, innermost operation first."""
        match body:
            case Cast(dtype, argument) if is_integer(dtype):
                return self.passes(argument, value)
            case Read() if body == value:
                return []
            case Apply(operation, (left, right)):
                inner, other = self._sides(operation, left, right, value)
                return [*self.passes(inner, value), *self._step(operation, other)]
        raise NoEmbedding(f"{self.target.name} cannot compute the epilogue '{body}': write it as operations on the sums")

    def immediate(self, operation: str, value: int) -> list[Pass]:
        name = self._named(operation, True)
        if operation == "shr" and abs(value) > _WIDEST_SHIFT:
            half = _WIDEST_SHIFT if value > 0 else -_WIDEST_SHIFT
            return [Pass(name, operation, half), *self.immediate(operation, value - half)]
        return [Pass(name, operation, value)]

    def _sides(self, operation: str, left: Expression, right: Expression, value: Expression) -> tuple[Expression, Expression]:
        if _reaches(left, value):
            return left, right
        if operation in COMMUTATIVE and _reaches(right, value):
            return right, left
        raise NoEmbedding(f"{self.target.name} needs the sums on the left of '{operation}' in the epilogue")

    def _step(self, operation: str, other: Expression) -> list[Pass]:
        match other:
            case Const(int() as number):
                return self.immediate(operation, number)
            case Read() | Cast("i32", Read()):
                read = other.argument if isinstance(other, Cast) else other
                assert isinstance(read, Read)
                return [Pass(self._named(operation, False), operation, operand=read)]
        raise NoEmbedding(f"{self.target.name} takes a number or a tensor element as the second operand of '{operation}'")

    def _named(self, operation: str, immediate: bool) -> str:
        if (operation, immediate) not in self.known:
            there = ", ".join(sorted({name for name, _ in self.known})) or "none"
            raise NoEmbedding(f"{self.target.name} has no element-wise '{operation}' for the epilogue; it has: {there}")
        return self.known[operation, immediate]


def _reaches(node: Expression, value: Expression) -> bool:
    match node:
        case Cast(_, argument):
            return _reaches(argument, value)
        case Apply(_, arguments):
            return any(_reaches(argument, value) for argument in arguments)
    return node == value


def _elementwise(entry: Instruction) -> tuple[str, bool] | None:
    """(operation, takes an immediate) of an instruction that updates an operand in place."""
    if entry.pattern is None or entry.pattern.accumulate:
        return None
    match entry.pattern.body:
        case Apply(operation, (Read() as left, Read() as right)) if left == entry.pattern.output:
            return operation, entry.operands[right.tensor].memory == FIELD
    return None
