"""Instructions for an epilogue: its expression, covered from the root by the patterns of a register machine's entries.

No name is known here. A value is one vector register that holds an element for every lane of an accumulator; value 0 is
the accumulator itself.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from dataflow.dtypes import bits, convert, is_integer, limits
from dataflow.expression import COMMUTATIVE, Apply, Cast, Const, Expression, Read, dtype_of, render
from embed.cpu.epilogue.conversions import Change, Goal, chain, changes
from embed.cpu.epilogue.simplify import interval, saturated_type, simplified, within
from embed.cpu.epilogue.word_moves import Word, WordMoves, stores
from embed.errors import NoEmbedding
from embed.physical import Array
from isa.errors import IsaError
from isa.machine import MachineInstruction
from isa.model import FIELD, Instruction, Isa

SUMS = 0
"""The number of the value that the main statement leaves."""

Bound = dict[str, Expression]


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction: the register operand it writes, its register operands with the values in them, its numbers.

    One that loads has a `memory` operand: the element of `access` at hand, with the twin `masked` for a part of a word,
    or else the literal `literal`.
    """

    instruction: str
    output: str
    sources: tuple[tuple[str, int], ...] = ()
    numbers: tuple[tuple[str, int], ...] = ()
    memory: str = ""
    access: str = ""
    masked: str = ""
    literal: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps that make values 1, 2, ...; `result` is the value that `store` writes, or its masked twin.

    `literals` are the numbers that steps load, one after another.
    """

    steps: tuple[Step, ...]
    result: int
    store: str
    store_masked: str
    literals: tuple[Array, ...]

    @property
    def moves(self) -> tuple[str, ...]:
        """The entries that access memory, masked twins included."""
        names = [name for step in self.steps if step.memory for name in (step.instruction, step.masked)]
        return tuple(dict.fromkeys(name for name in (*names, self.store, self.store_masked) if name))

    @property
    def table(self) -> tuple[Array, ...]:
        """The literals as one array, if there are any."""
        parts = [literal.view(np.uint8) for literal in self.literals]
        return (np.concatenate(parts),) if parts else ()

    def storing(self, part: str) -> "Plan":
        """The plan with a store of fewer lanes, if there is one."""
        return replace(self, store=part) if part else self

    def is_masked(self, access: str) -> bool:
        """Whether all loads of an access can leave lanes out."""
        return all(step.masked for step in self.steps if step.access == access)


@dataclass(frozen=True, slots=True)
class Extra:
    """Another tensor of the epilogue: the name of its access, its type, and whether one element serves all lanes."""

    access: str
    dtype: str
    spread: bool


def select(target: Isa, word: Word, sums: Read, body: Expression, extras: Mapping[Read, Extra], output: str) -> Plan:
    """Cover `body` over the accumulator `sums`; raises NoEmbedding naming the part that the target has nothing for.

    `extras` are the other reads in it, `output` is the type of what is stored.
    """
    types = {sums.tensor: word.dtype, **{read.tensor: extra.dtype for read, extra in extras.items()}}
    wanted = simplified(Cast(output, body), types)
    store, masked = stores(target, word, output)
    if wanted == sums:
        return Plan((), SUMS, store, masked, ())
    selector = _Selector(target, WordMoves(target, word), types, extras, {sums: SUMS})
    result = selector.value(wanted, output)
    return Plan(tuple(selector.steps), result, store, masked, tuple(selector.literals))


@dataclass
class _Selector:
    """Steps chosen so far; `known` are the values of expressions."""

    target: Isa
    moves: WordMoves
    types: dict[str, str]
    extras: Mapping[Read, Extra]
    known: dict[Expression, int]
    steps: list[Step] = field(default_factory=list)
    literals: list[Array] = field(default_factory=list)

    @cached_property
    def elementwise(self) -> list[tuple[Instruction, Expression]]:
        """Those that compute something, the same for each lane; with what they compute."""
        usual = [entry for entry in self.moves.registers if self.moves.is_lanes(entry)]
        bodies = [(entry, entry.pattern.body) for entry in usual if entry.pattern]
        return [(entry, _plain(body)) for entry, body in bodies if not isinstance(body, Read)]

    @cached_property
    def changes(self) -> list[Change]:
        """The conversions and moves among the entries."""
        return changes(self.moves.registers)

    def value(self, node: Expression, dtype: str) -> int:
        """The value of an expression, which is of type `dtype` where it is a number."""
        key = Cast(dtype, node) if isinstance(node, Const) else node
        if key not in self.known:
            self.known[key] = self.made(node, dtype)
        return self.known[key]

    def made(self, node: Expression, dtype: str) -> int:
        match node:
            case Const(number):
                return self.constant(number, dtype)
            case Read() if node in self.extras:
                return self.loaded(node)
        covered = self.converted_load(node)
        if covered is None:
            covered = self.covered(node)
        if covered is None:
            covered = self.converted(node)
        if covered is None:
            raise NoEmbedding(f"{self.target.name} has no instructions for '{render(node)}' in the epilogue")
        return covered

    def add(self, step: Step) -> int:
        self.steps.append(step)
        return len(self.steps)

    def constant(self, number: int | float, dtype: str) -> int:
        """A number in all lanes."""
        entry = self.moves.spreading(bits(dtype))
        array = convert(np.asarray([number]), dtype)
        self.literals.append(array)
        memory = entry.inputs[0].name
        return self.add(Step(entry.name, _output(entry), memory=memory, literal=len(self.literals) - 1))

    def loaded(self, read: Read) -> int:
        """An element for each lane, or one for all, from memory: as it is."""
        access, dtype = self.extras[read].access, self.extras[read].dtype
        if self.extras[read].spread:
            entry = self.moves.spreading(bits(dtype))
            return self.add(Step(entry.name, _output(entry), memory=entry.inputs[0].name, access=access))
        return self.load(self.moves.load(dtype), access)

    def load(self, entry: Instruction, access: str) -> int:
        """A word of an access."""
        memory, masked = entry.inputs[0].name, self.moves.twin(entry)
        return self.add(Step(entry.name, _output(entry), memory=memory, access=access, masked=masked))

    def converted_load(self, node: Expression) -> int | None:
        """An element for each lane, converted as it is loaded."""
        match node:
            case Cast(dtype, Read() as read) if read in self.extras and not self.extras[read].spread:
                entry = self.moves.converting_load(dtype, self.extras[read].dtype)
                return self.load(entry, self.extras[read].access) if entry is not None else None
        return None

    def covered(self, node: Expression) -> int | None:
        """The value by one instruction on simpler ones; those that cover most are tried first."""
        found = []
        for entry, body in self.elementwise:
            found += [(entry, bound) for bound in self.match(entry, body, node, {})]
        found.sort(key=lambda pair: sum(map(_size, pair[1].values())))
        for entry, bound in found:
            made = self.attempt(entry, bound)
            if made is not None:
                return made
        return None

    def attempt(self, entry: Instruction, bound: Bound) -> int | None:
        assert entry.pattern is not None
        sources, numbers = [], []
        before = len(self.steps), dict(self.known), len(self.literals)
        try:
            for name, part in bound.items():
                if entry.operands[name].memory == FIELD:
                    assert isinstance(part, Const)
                    numbers.append((name, int(part.value)))
                else:
                    sources.append((name, self.value(part, entry.pattern.tensor(name).dtype)))
        except NoEmbedding:
            del self.steps[before[0] :], self.literals[before[2] :]
            self.known = before[1]
            return None
        return self.add(Step(entry.name, _output(entry), tuple(sources), tuple(numbers)))

    def match(self, entry: Instruction, pattern: Expression, node: Expression, bound: Bound) -> Iterator[Bound]:
        """All ways to bind the entry's operands so that its body is the expression."""
        assert entry.pattern is not None
        match pattern, node:
            case Read(name, index), _:
                if self.binds(entry, name, index, node) and bound.get(name, node) == node:
                    yield {**bound, name: node}
            case Const(a), Const(b) if a == b:
                yield bound
            case Cast(a, inner), Cast(b, other) if a == b:
                yield from self.match(entry, inner, other, bound)
            case Apply(a, inner), Apply(b, other) if a == b:
                for order in [other, other[::-1]] if a in COMMUTATIVE else [other]:
                    yield from self.match_all(entry, inner, order, bound)

    def match_all(
        self, entry: Instruction, patterns: Sequence[Expression], nodes: Sequence[Expression], bound: Bound
    ) -> Iterator[Bound]:
        if not patterns:
            yield bound
            return
        for found in self.match(entry, patterns[0], nodes[0], bound):
            yield from self.match_all(entry, patterns[1:], nodes[1:], found)

    def binds(self, entry: Instruction, name: str, index: tuple[object, ...], node: Expression) -> bool:
        """Whether an operand may be the expression: a number of a field, or a register lane by lane."""
        assert entry.pattern is not None
        dtype = dtype_of(node, self.types.get)
        if entry.operands[name].memory == FIELD:
            return isinstance(node, Const) and isinstance(node.value, int) and self.encodes(entry, name, node.value)
        if index != entry.pattern.output.index:
            return False
        return dtype is None or dtype == entry.pattern.tensor(name).dtype

    def encodes(self, entry: Instruction, name: str, value: int) -> bool:
        """Whether the instruction has room for the number."""
        if value < 0:
            return False
        try:
            self.target.encode(MachineInstruction(entry.name, {name: value}))
        except (IsaError, ValueError, OverflowError):
            return False
        return True

    def converted(self, node: Expression) -> int | None:
        """A conversion by several instructions."""
        match node:
            case Cast(dtype, Apply(operation, (argument,))) if saturated_type(operation) == dtype:
                found = self.chained(dtype, argument, saturate=True)
                low, high = limits(dtype)
                clipped = Apply("min", (Apply("max", (argument, Const(low))), Const(high)))
                return found if found is not None else self.chained(dtype, clipped, saturate=True)
            case Cast("f32", argument) if dtype_of(argument, self.types.get) == "bf16":
                return self.widened(argument)
            case Cast(dtype, argument):
                return self.chained(dtype, argument, saturate=False)
        return None

    def widened(self, argument: Expression) -> int:
        """A bf16 is the upper half of the f32 of the same value."""
        half, word = (Read(f"{kind} {len(self.steps)}", ()) for kind in ("u16", "i32"))
        self.types |= {half.tensor: "u16", word.tensor: "i32"}
        self.known[half] = self.value(argument, "bf16")
        self.known[word] = self.value(Cast("i32", half), "i32")
        return self.value(Apply("shl", (word, Const(16))), "i32")

    def chained(self, dtype: str, argument: Expression, saturate: bool) -> int | None:
        source = dtype_of(argument, self.types.get)
        if source is None:
            return None
        span = interval(argument, self.types)
        fits = is_integer(dtype) and within(span, dtype)
        goal = Goal(source, dtype, span, fits or not saturate, fits or saturate)
        path = chain(goal, self.changes, self.moves.word.lanes)
        if path is None:
            return None
        value = self.value(argument, source)
        for change in path:
            value = self.add(Step(change.entry.name, _output(change.entry), ((change.operand, value),)))
        return value


def _output(entry: Instruction) -> str:
    assert entry.pattern is not None
    return entry.pattern.output.tensor


def _size(node: Expression) -> int:
    match node:
        case Cast(_, argument):
            return 1 + _size(argument)
        case Apply(_, arguments):
            return 1 + sum(map(_size, arguments))
    return 1


def _plain(body: Expression) -> Expression:
    """A conversion to an integer that saturates, as one: what becomes of other floats is left open."""
    match body:
        case Cast(dtype, Apply("min", (Apply("max", (Cast("f64", argument), Const(low))), Const(high)))):
            return Cast(dtype, argument) if (low, high) == limits(dtype) else body
    return body
