"""Entries that clear, load, store and update words, found by their patterns: no name of an entry is known here."""

from collections.abc import Iterable, Iterator

from dataflow.computation import Computation, Tensor
from dataflow.dtypes import bits
from dataflow.expression import Apply, Cast, Const, Read
from isa.model import FIELD, Instruction, Isa, Operand


def is_copy(entry: Instruction) -> bool:
    """Whether the entry copies elements, none of them converted."""
    return entry.pattern is not None and not entry.pattern.accumulate and isinstance(entry.pattern.body, Read)


def is_zero(entry: Instruction) -> bool:
    """Whether the entry writes zeros: it says so, or subtracts an operand from itself."""
    if entry.pattern is None or entry.pattern.accumulate:
        return False
    match entry.pattern.body:
        case Const(0):
            return True
        case Apply("sub", (Read() as left, Read() as right)):
            return left == right
    return False


def is_load(entry: Instruction, target: Isa) -> bool:
    """Whether the entry copies elements from external memory, converted or not."""
    return _moves(entry) and _is_external(source(entry), target)


def is_store(entry: Instruction, target: Isa) -> bool:
    """Whether the entry copies elements to external memory, converted or not."""
    return _moves(entry) and writes_external(entry, target)


def writes_external(entry: Instruction, target: Isa) -> bool:
    """Whether what the entry writes lies in external memory."""
    return entry.output is not None and _is_external(entry.output, target)


def update(entry: Instruction) -> tuple[str, bool] | None:
    """(operation, takes an immediate) of an entry that updates each element of an operand in place."""
    if entry.pattern is None or entry.pattern.accumulate:
        return None
    match entry.pattern.body:
        case Apply(operation, (Read() as left, Read() as right)) if left == entry.pattern.output:
            return operation, entry.operands[right.tensor].memory == FIELD
    return None


def source(entry: Instruction) -> Operand:
    """The operand that an entry reads first."""
    assert entry.pattern is not None
    return entry.operands[entry.pattern.reads[0].tensor]


def resets(target: Isa, operand: Operand) -> Iterator[Instruction]:
    """Unmasked entries that clear an operand, whole or in equal parts, the widest first."""
    yield from _widest((entry for entry in target.instructions.values() if is_zero(entry)), operand)


def loads(target: Isa, operand: Operand) -> Iterator[Instruction]:
    """Unmasked entries that copy an operand from external memory bit for bit, the widest first."""
    entries = (entry for entry in target.instructions.values() if is_load(entry, target) and _copies(entry))
    yield from _widest(entries, operand)


def stores(target: Isa, operand: Operand) -> Iterator[Instruction]:
    """Unmasked entries that write an operand to external memory, narrowed or not, the widest first."""
    entries = (entry for entry in target.instructions.values() if is_store(entry, target) and not entry.mask)
    found = [entry for entry in entries if _fits(source(entry), operand)]
    yield from sorted(found, key=lambda entry: -tensor_bits(source(entry).tensor))


def pieces(entry: Instruction, operand: Operand) -> int:
    """Trips of an entry of `resets`, `loads` or `stores` that cover the operand."""
    sizes = [tensor_bits(each.tensor) for each in entry.operands.values() if each.memory == operand.memory]
    return -(-tensor_bits(operand.tensor) // max(sizes))


def tensor_bits(tensor: Tensor) -> int:
    """Bits of an operand."""
    return tensor.size * bits(tensor.dtype)


def _moves(entry: Instruction) -> bool:
    """Whether the entry copies elements, converted or not."""
    match entry.pattern:
        case Computation(accumulate=False, body=Read() | Cast(argument=Read())):
            return True
    return False


def _is_external(operand: Operand, target: Isa) -> bool:
    return operand.memory != FIELD and target.memories[operand.memory].kind == "external"


def _copies(entry: Instruction) -> bool:
    """Every element once, in its order: no conversion, no broadcast, no part of a word kept."""
    assert entry.pattern is not None
    pattern = entry.pattern
    whole = all(tensor.size == pattern.points for tensor in pattern.tensors)
    return isinstance(pattern.body, Read) and whole and pattern.body.index == pattern.output.index


def _fits(own: Operand, operand: Operand) -> bool:
    """Whether parts of the size of `own` make up the operand, in the same memory."""
    return own.memory == operand.memory and tensor_bits(operand.tensor) % tensor_bits(own.tensor) == 0


def _widest(entries: Iterable[Instruction], operand: Operand) -> list[Instruction]:
    found = [(entry, entry.output) for entry in entries if entry.output is not None and not entry.mask]
    fitting = [(entry, output) for entry, output in found if _fits(output, operand)]
    return [entry for entry, output in sorted(fitting, key=lambda pair: -tensor_bits(pair[1].tensor))]
