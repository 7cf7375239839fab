"""Problems in the types of an instruction set: what its fastest instruction multiplies and adds."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property

import dataflow
from dataflow.computation import Computation
from dataflow.dtypes import ACCUMULATOR, is_integer, is_signed
from dataflow.expression import Read, map_reads
from dataflow.operator import Operator
from deepbench.problems import WEIGHTS, Problem
from embed.abstract.report import steady_cycles
from embed.embedding import as_accumulation
from embed.epilogue import plan
from embed.errors import NoEmbedding
from isa.model import FIELD, Instruction, Isa


@dataclass(frozen=True)
class Typed:
    """An instruction set with, of its instructions that accumulate, only those of its fastest one's types."""

    target: Isa

    @classmethod
    def of(cls, target: Isa) -> "Typed":
        """Raises NoEmbedding where no instruction sums products of two operands."""
        found = list(_products(target))
        if not found:
            raise NoEmbedding(f"{target.name} has no instruction that sums products of two operands")
        fastest = max(found, key=lambda entry: (_sum(entry).points, _rate(entry, target)))
        body = _types(fastest)
        kept = {entry.name: entry for entry in _distinct([entry for entry in found if _types(entry) == body])}
        others = {name: entry for name, entry in target.instructions.items() if not _accumulates(entry)}
        return cls(replace(target, instructions={**kept, **others}))

    @cached_property
    def pattern(self) -> Computation:
        """The pattern that gives the types."""
        return _sum(next(_products(self.target)))

    @property
    def macs_per_cycle(self) -> float:
        """The most multiply-accumulates that an instruction makes in a cycle; without timing, in one instruction."""
        return float(max(_rate(entry, self.target) for entry in _products(self.target)))

    @property
    def dtype(self) -> str:
        """The types as the operator library writes them: bf16, u8*i8, f16:f16."""
        left, right = (self.pattern.tensor(read.tensor).dtype for read in self.pattern.reads)
        total = self.pattern.tensors[0].dtype
        factors = left if left == right else f"{left}*{right}"
        return factors if ACCUMULATOR.get(left) == total else f"{factors}:{total}"

    def operator(self, problem: Problem) -> Operator:
        """The problem in these types, with its epilogue where that is one of these types and the file can do it."""
        plain: Operator = (dataflow.conv2d if problem.op == "conv" else dataflow.gemm)(**dict(problem.sizes))  # type: ignore[arg-type]
        main = self._retyped(plain.main, WEIGHTS[problem.op])
        if main == plain.main:
            finished = problem.operator()
            try:
                plan(finished, self.target)
            except NoEmbedding:
                return plain
            return finished
        return Operator(plain.name, (main,), (*plain.parameters, ("dtype", self.dtype)))

    def _retyped(self, main: Computation, weights: str) -> Computation:
        """The statement with the pattern's body; of two types the unsigned one is the activations'."""
        reads = sorted(main.reads, key=lambda read: read.tensor == weights)
        operands = [read.tensor for read in self.pattern.reads]
        types = {name: self.pattern.tensor(name).dtype for name in operands}
        mixed = len({*map(_signed, types.values())}) == 2
        order = sorted(operands, key=lambda name: _signed(types[name])) if mixed else operands
        chosen = dict(zip(order, reads if mixed else main.reads, strict=True))
        body = map_reads(self.pattern.body, lambda read: chosen[read.tensor])
        dtypes = {main.output.tensor: self.pattern.tensors[0].dtype}
        dtypes |= {read.tensor: types[name] for name, read in chosen.items()}
        tensors = {tensor.name: replace(tensor, dtype=dtypes[tensor.name]) for tensor in main.tensors}
        names = dict.fromkeys((main.output.tensor, *(read.tensor for read in _reads(body))))
        return replace(main, tensors=tuple(tensors[name] for name in names), body=body)


def sums_products(target: Isa) -> bool:
    """Whether an instruction sums products of two operands, as the suite's operators do."""
    return any(_products(target))


def _reads(body: dataflow.expression.Expression) -> tuple[Read, ...]:
    return dataflow.expression.reads(body)


def _signed(dtype: str) -> bool:
    return not is_integer(dtype) or is_signed(dtype)


def _sum(entry: Instruction) -> Computation:
    assert entry.pattern is not None
    return as_accumulation(entry.pattern)


def _accumulates(entry: Instruction) -> bool:
    return entry.pattern is not None and _sum(entry).accumulate


def _products(target: Isa) -> Iterator[Instruction]:
    """Unmasked single instructions that add something of two operands in memories, each read once."""
    for entry in target.instructions.values():
        if _accumulates(entry) and not (entry.mask or entry.sequence):
            names = [read.tensor for read in _sum(entry).reads]
            stored = all(entry.operands[name].memory != FIELD for name in names)
            if len(names) == len(set(names)) == 2 and _sum(entry).output.tensor not in names and stored:
                yield entry


def _types(entry: Instruction) -> str:
    """The body with types for operands."""
    pattern = _sum(entry)
    return f"{pattern.tensors[0].dtype} {map_reads(pattern.body, lambda r: Read(pattern.tensor(r.tensor).dtype, ()))}"


def _rate(entry: Instruction, target: Isa) -> Fraction:
    """Multiply-accumulates a cycle; in a file without timing, an instruction."""
    cost = target.timing.costs.get(entry.name) if target.timings else None
    cycles = Fraction(1) if cost is None else steady_cycles(entry, cost)
    return _sum(entry).points / max(cycles, Fraction(1, 64))


def _distinct(entries: list[Instruction]) -> list[Instruction]:
    """Entries that differ in more than what a choice or an offset picks."""
    found: dict[str, Instruction] = {}
    for entry in entries:
        shape = [(operand.memory, operand.tensor.shape) for operand in entry.operands.values()]
        reads = [sorted({dim for index in read.index for dim in index.dims}) for read in _sum(entry).reads]
        found.setdefault(f"{shape} {reads} {_sum(entry).extents}", entry)
    return list(found.values())
