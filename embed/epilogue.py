"""The epilogue as instructions: each operation of the element-wise statements becomes one pass over the accumulators.

Instructions are found by their patterns: `dst = op(dst, x)`, where x is an immediate field or another register.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from dataflow.affine import Affine
from dataflow.computation import Computation
from dataflow.dtypes import bits, is_integer
from dataflow.expression import COMMUTATIVE, Apply, Cast, Const, Expression, Read, map_reads, render
from dataflow.operator import Operator
from embed.binding import named_accesses, unused_name
from embed.errors import NoEmbedding
from embed.moves import update, writes_external
from isa.model import FIELD, Isa

_WIDEST_SHIFT = 15
"""VTA's HLS core keeps a signed 5-bit shift amount (tvm-vta, vta.cc): wider shifts take two passes."""

_NOT_IN_HARDWARE = frozenset({("mul", True), ("mul", False), ("shr", False)})
"""(operation, takes an immediate) that micro-operations are not used for: VTA's cores have no MUL, and shift by the low
bits of a register only (tvm-vta, Chisel TensorAlu and vta.cc)."""


@dataclass(frozen=True, slots=True)
class Pass:
    """One instruction over every accumulator: `operation` with `immediate` or the tensor read as `operand`.

    `access` names that read among the accesses of the whole operator; it has a layout of its own.
    """

    instruction: str
    operation: str
    immediate: int = 0
    operand: Read | None = None
    access: str = ""

    @property
    def operands(self) -> dict[str, Read]:
        """The tensor read by access name."""
        return {} if self.operand is None else {self.access: self.operand}

    def body(self, value: Expression) -> Expression:
        """What becomes of an accumulator."""
        other = Const(self.immediate) if self.operand is None else self.operand
        return Apply(self.operation, (value, other))

    def __str__(self) -> str:
        return f"{self.instruction} {self.operand or self.immediate}"


@dataclass(frozen=True, slots=True)
class Fused:
    """The whole epilogue in registers: `result`, an expression of `value` and other reads, by these `instructions`.

    `reads` are the tensor reads by access name, each with a layout of its own.
    """

    instructions: tuple[str, ...]
    value: Read
    result: Expression
    reads: Mapping[str, Read]

    @property
    def operands(self) -> Mapping[str, Read]:
        """The tensor reads by access name."""
        return self.reads

    def body(self, value: Expression) -> Expression:
        """What becomes of an accumulator."""
        return map_reads(self.result, lambda read: value if read == self.value else read)

    def __str__(self) -> str:
        return f"{' '.join(self.instructions)}: {render(self.result)}"


@dataclass(frozen=True, slots=True)
class Epilogue:
    """Passes in order, then one store for each byte plane of the result, lowest first, with `between` after each.

    A register machine has all passes `fused` in one.
    """

    passes: tuple[Pass, ...]
    planes: int
    between: tuple[Pass, ...]
    fused: Fused | None = None

    @property
    def steps(self) -> tuple[Pass | Fused, ...]:
        """What is done before the first store."""
        return self.passes if self.fused is None else (*self.passes, self.fused)

    @property
    def extras(self) -> dict[str, Read]:
        """The tensor reads of the steps by access name, in the main statement's dims."""
        return {access: read for step in self.steps for access, read in step.operands.items()}


def plan(operator: Operator, target: Isa) -> Epilogue:
    """Choose the passes; raises NoEmbedding where the target has no instruction for an operation."""
    chooser = _Chooser(operator, target)
    passes: list[Pass] = []
    value = operator.main.output
    for statement in operator.epilogue:
        check_elementwise(statement, operator)
        _check_width(statement, operator)
        passes += chooser.passes(_stored(inlined(statement, operator), statement.tensors[0].dtype), value)
        value = Read(statement.output.tensor, operator.main.output.index)
    planes = _planes(operator, target)
    between = tuple(chooser.immediate("shr", 8)) if planes > 1 else ()
    return Epilogue(tuple(passes), planes, between)


def _planes(operator: Operator, target: Isa) -> int:
    """Stores that carry a whole result: 1 where the store writes its type, 4 for i32 through an i8 store.

    An ISA file that says nothing of stores leaves them out of the question.
    """
    dtype = operator.output.dtype
    stored = [entry.output for entry in target.instructions.values() if writes_external(entry, target)]
    widths = {bits(operand.tensor.dtype) for operand in stored if operand is not None}
    if not widths or bits(dtype) in widths:
        return 1
    if not is_integer(dtype) or 8 not in widths:
        raise NoEmbedding(f"{target.name} cannot store {dtype} results; it stores {sorted(widths)} bits")
    return bits(dtype) // 8


def check_elementwise(statement: Computation, operator: Operator) -> None:
    """Passes change each accumulator in its place."""
    sums = operator.main.tensors[0]
    dims = tuple(Affine(((dim.name, 1),)) for dim in statement.dims)
    plain = sorted(map(str, statement.output.index)) == sorted(map(str, dims)) and not statement.accumulate
    shape = tuple(statement.extents.get(str(index), 0) for index in statement.output.index)
    if not plain or not shape == statement.tensors[0].shape == sums.shape:
        raise NoEmbedding(f"the epilogue `{statement}` must write each element of {sums} once, in the same place")
    if prod(operator.main.extents[dim] for dim in operator.main.output_dims) < sums.size:
        raise NoEmbedding(f"`{operator.main}` leaves elements of {sums} unwritten, which its epilogue would change")


def _check_width(statement: Computation, operator: Operator) -> None:
    """Passes keep the accumulators' type."""
    sums = operator.main.tensors[0]
    if statement is not operator.epilogue[-1] and statement.tensors[0].dtype != sums.dtype:
        raise NoEmbedding(f"only the last statement of an epilogue may narrow the sums, not `{statement}`")


def whole(operator: Operator) -> Expression:
    """The output's element in the main statement's dims, as one expression of the sums and the other inputs.

    Raises NoEmbedding for statements that are not element by element.
    """
    index = operator.main.output.index
    results: dict[Read, Expression] = {}
    for statement in operator.epilogue:
        check_elementwise(statement, operator)
        dtype = statement.tensors[0].dtype
        body = map_reads(inlined(statement, operator), lambda read: results.get(read, read))
        results[Read(statement.output.tensor, index)] = Cast(dtype, body)
    return results[Read(operator.output.name, index)] if results else operator.main.output


def inlined(statement: Computation, operator: Operator) -> Expression:
    """The statement's body with its dims replaced by the main statement's output index."""
    places = dict(zip(map(str, statement.output.index), operator.main.output.index, strict=True))
    return _substitute(statement.body, places)


def _stored(body: Expression, dtype: str) -> Expression:
    """The body without the casts around it that a store of `dtype`, which keeps the low bits, makes anyway."""
    while isinstance(body, Cast) and is_integer(body.dtype) and bits(body.dtype) >= bits(dtype):
        body = body.argument
    return body


def _substitute(node: Expression, places: dict[str, Affine]) -> Expression:
    match node:
        case Read(tensor, index):
            return Read(tensor, tuple(part.replaced(places) for part in index))
        case Cast(dtype, argument):
            return Cast(dtype, _substitute(argument, places))
        case Apply(operation, arguments):
            return Apply(operation, tuple(_substitute(argument, places) for argument in arguments))
        case _:
            return node


class _Chooser:
    """Finds the instruction of each operation among the target's patterns."""

    def __init__(self, operator: Operator, target: Isa) -> None:
        self.target = target
        self.sums = operator.main.tensors[0].dtype
        self.inputs = {tensor.name for tensor in operator.inputs}
        self.accesses = named_accesses(operator.main)
        self.extras: dict[Read, str] = {}
        self.known: dict[tuple[str, bool], str] = {}
        unused = _NOT_IN_HARDWARE if target.micro_operations else frozenset()
        for entry in target.instructions.values():
            found = update(entry)
            if found is not None and found not in unused:
                self.known.setdefault(found, entry.name)

    def passes(self, body: Expression, value: Expression) -> list[Pass]:
        """Passes that turn the accumulators into `body`, innermost operation first."""
        match body:
            case Cast(dtype, argument) if dtype == self.sums:
                return self.passes(argument, value)
            case Read() if body == value:
                return []
            case Apply(operation, (left, right)):
                inner, other = self._sides(operation, left, right, value)
                return [*self.passes(inner, value), *self._step(operation, other)]
        remedy = (
            "write it as operations on the sums" if self.known else "leave it out; the file has no element-wise entries"
        )
        raise NoEmbedding(f"{self.target.name} cannot compute the epilogue '{render(body)}': {remedy}")

    def immediate(self, operation: str, value: int) -> list[Pass]:
        name = self._named(operation, True)
        if not self._fits(name, value):
            raise NoEmbedding(f"{name} of {self.target.name} takes no immediate {value} in the epilogue")
        if operation == "shr" and abs(value) > _WIDEST_SHIFT:
            half = _WIDEST_SHIFT if value > 0 else -_WIDEST_SHIFT
            return [Pass(name, operation, half), *self.immediate(operation, value - half)]
        return [Pass(name, operation, value)]

    def _fits(self, name: str, value: int) -> bool:
        entry = self.target.instructions[name]
        fields = [operand.at for operand in entry.operands.values() if operand.memory == FIELD]
        limits = [entry.encoding.fields[field].limits for field in fields] if entry.encoding else []
        return all(low <= value <= high for low, high in limits)

    def _sides(
        self, operation: str, left: Expression, right: Expression, value: Expression
    ) -> tuple[Expression, Expression]:
        if _reaches(left, value):
            return left, right
        if operation in COMMUTATIVE and _reaches(right, value):
            return right, left
        raise NoEmbedding(f"{self.target.name} needs the sums on the left of '{operation}' in the epilogue")

    def _step(self, operation: str, other: Expression) -> list[Pass]:
        match other:
            case Const(int() as number):
                return self.immediate(operation, number)
            case (Read() as read) | Cast(self.sums, Read() as read) if read.tensor in self.inputs:
                if read not in self.extras:
                    self.extras[read] = unused_name(read.tensor, {*self.accesses, *self.extras.values()})
                return [Pass(self._named(operation, False), operation, operand=read, access=self.extras[read])]
        raise NoEmbedding(
            f"{self.target.name} takes a number or a tensor element as the second operand of '{operation}'"
        )

    def _named(self, operation: str, immediate: bool) -> str:
        if (operation, immediate) not in self.known:
            there = ", ".join(sorted({name for name, _ in self.known}))
            has = f"it has: {there}" if there else "leave it out, or add entries such as `dst[i] = max(dst[i], imm)`"
            raise NoEmbedding(f"{self.target.name} has no element-wise '{operation}' for the epilogue; {has}")
        return self.known[operation, immediate]


def _reaches(node: Expression, value: Expression) -> bool:
    match node:
        case Cast(_, argument):
            return _reaches(argument, value)
        case Apply(_, arguments):
            return any(_reaches(argument, value) for argument in arguments)
    return node == value
