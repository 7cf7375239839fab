"""One entry on a bench: memories with drawn values, a place for each operand, and what the pattern says comes out."""

from collections.abc import Callable, Mapping
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from dataflow.computation import Computation, Tensor
from dataflow.dtypes import bits, is_integer, is_signed, limits, numpy_dtype
from dataflow.expression import Apply, Cast, Const, Expression, Read, dtype_of
from isa import interpreter
from isa.machine import MachineInstruction
from isa.model import FIELD, Instruction, Isa, Operand
from isa.words import from_bytes, to_bytes

Array = npt.NDArray[Any]
_EXTERNAL = 1 << 16
_SAMPLES = 8
_PYTHON: dict[str, Callable[..., int]] = {
    "add": lambda left, right: left + right,
    "sub": lambda left, right: left - right,
    "mul": lambda left, right: left * right,
    "neg": lambda value: -value,
    "min": min,
    "max": max,
}
"""Operations on plain integers; the values of others are not checked here."""


class Bench:
    """An entry ready to run: `item` on `memories`. One trip of each of its loops, its operands beside one another.

    Operands whose address is a formula lie where fields of zero put them.
    """

    def __init__(self, target: Isa, entry: Instruction, random: np.random.Generator) -> None:
        self.target, self.entry, self.random = target, entry, random
        room = _EXTERNAL + 4 * sum(operand.tensor.bytes for operand in entry.operands.values())
        external = {name: room for name, memory in target.memories.items() if memory.count is None}
        self.memories = interpreter.allocate(target, external)
        for name, array in self.memories.items():
            if not target.memories[name].format:
                array[...] = random.integers(0, 256, array.shape, np.uint8)
        self.fields: dict[str, int] = {name: int(random.integers(extent)) for name, extent in entry.choice.items()}
        for loop in entry.repeat:
            self.fields |= {name.text: 1 for name in loop.stop.names() if name.text in entry.fields}
        self.at: dict[str, int] = {}
        self.next: dict[str, int] = {}
        for operand in (*entry.operands.values(), *([entry.mask.operand] if entry.mask else ())):
            self.place(operand)
        self.before = {name: self.read(name) for name in self.at}

    @property
    def item(self) -> MachineInstruction:
        return MachineInstruction(self.entry.name, self.fields)

    def place(self, operand: Operand) -> None:
        """Give an operand its place and values."""
        if operand.memory == FIELD:
            low, high = limits(operand.tensor.dtype)
            field = self.entry.encoding.fields[operand.at] if self.entry.encoding else None
            low, high = field.limits if field else (max(low, 0), min(high, 255))
            name = operand.at if field else operand.name
            self.fields[name] = int(self.random.choice([low, high, 0 if low <= 0 <= high else low]))
            return
        memory = self.target.memories[operand.memory]
        step = 1 if operand.pointers else -(-operand.tensor.size * bits(operand.tensor.dtype) // memory.bits)
        size = operand.tensor.bytes if operand.pointers else step
        word = self.next.get(memory.name, 0)
        if not operand.pointers and str(operand.address) not in self.entry.fields:
            return
        self.next[memory.name] = word + size
        if operand.pointers:
            self.point(operand, word)
        else:
            self.fields[str(operand.address)] = word
        self.at[operand.name] = word * memory.word_bytes
        self.write(operand.name, draw(operand.tensor, self.random))

    def point(self, operand: Operand, address: int) -> None:
        """Let a pointer register hold the address, and the index register the bytes of a row."""
        registers = self.memories[operand.pointers]
        number = self.next.get(operand.pointers, 8)
        self.fields[f"{operand.name}.base"] = number
        registers[number] = _integer(address, registers.shape[1])
        if operand.stride:
            self.fields |= {f"{operand.name}.index": number + 1, f"{operand.name}.scale": 1}
            registers[number + 1] = _integer(operand.tensor.bytes // operand.tensor.shape[0], registers.shape[1])
        self.next[operand.pointers] = number + 2

    def read(self, name: str) -> Array:
        """A copy of the elements of a placed operand."""
        operand = self.operand(name)
        data = self.memories[operand.memory].reshape(-1)[self.at[name] :]
        return np.array(from_bytes(data[None, : operand.tensor.bytes], operand.tensor)[0])

    def write(self, name: str, values: Array) -> None:
        data = to_bytes(values[None], self.operand(name).tensor)[0]
        self.memories[self.operand(name).memory].reshape(-1)[self.at[name] : self.at[name] + data.size] = data

    def operand(self, name: str) -> Operand:
        mask = self.entry.mask
        return mask.operand if mask and name == mask.operand.name else self.entry.operands[name]

    def agrees(self) -> bool:
        """Whether some elements are what plain integers say; true where there is nothing plain to compare.

        Floats, masks, loops and addresses by formula are left to other tests.
        """
        statements = interpreter.chosen(self.entry, {**dict.fromkeys(self.entry.fields, 0), **self.fields})
        return all(map(self.holds, statements))

    def holds(self, pattern: Computation) -> bool:
        """The same for one statement of the entry."""
        every = {tensor.name for tensor in pattern.tensors}
        if self.entry.mask or self.entry.repeat or not every <= set(self.at) or not _is_plain(pattern):
            return True
        out, found = pattern.output, self.read(pattern.output.tensor)
        for _ in range(_SAMPLES):
            point = {dim: int(self.random.integers(pattern.extents[dim])) for dim in pattern.output_dims}
            place = tuple(index.evaluate(point) for index in out.index)
            if int(found[place]) != self.expected(pattern, point):
                return False
        return True

    def expected(self, pattern: Computation, point: Mapping[str, int]) -> int:
        """One element of the output, in Python's integers."""
        tensor = pattern.tensor(pattern.output.tensor)
        types = {each.name: each.dtype for each in pattern.tensors}
        total = _value(pattern.output, point, self.before, types) if pattern.accumulate else 0
        places = [range(pattern.extents[dim]) for dim in pattern.reduction_dims]
        for values in np.ndindex(*map(len, places)):
            here = {**point, **dict(zip(pattern.reduction_dims, map(int, values), strict=True))}
            total += _value(pattern.body, here, self.before, types)
        return _wrapped(total, tensor.dtype)


def draw(tensor: Tensor, random: np.random.Generator) -> Array:
    """Extremes and random bits, half and half; floats are numbers of all sizes, zeros, infinities and NaN."""
    if is_integer(tensor.dtype):
        low, high = limits(tensor.dtype)
        edges: Array = np.array([low, high, 0, min(high, 1), max(low, -1)], numpy_dtype(tensor.dtype))
        noise: Array = random.integers(low, high, tensor.shape, dtype=edges.dtype, endpoint=True)
    else:
        info: Any = ml_dtypes.finfo(numpy_dtype(tensor.dtype))  # type: ignore[no-untyped-call]
        numbers = [0.0, -0.0, 1.0, -1.0, float(info.max), float(info.smallest_normal), np.inf, np.nan]
        edges = np.array(numbers, np.float64)
        noise = random.normal(size=tensor.shape)
    with np.errstate(over="ignore"):
        mixed = np.where(random.integers(0, 2, tensor.shape), noise, random.choice(edges, tensor.shape))
        return mixed.astype(numpy_dtype(tensor.dtype))


def _integer(value: int, width: int) -> npt.NDArray[np.uint8]:
    return np.frombuffer(value.to_bytes(width, "little"), np.uint8)


def _is_plain(pattern: Computation) -> bool:
    """Whether plain integers can compute it: integer types and the operations of `_PYTHON`."""
    if not all(is_integer(tensor.dtype) for tensor in pattern.tensors):
        return False

    def plain(node: Expression) -> bool:
        match node:
            case Cast(dtype, argument):
                return is_integer(dtype) and plain(argument)
            case Apply(operation, arguments):
                return operation in _PYTHON and all(map(plain, arguments))
            case _:
                return not isinstance(node, Const) or isinstance(node.value, int)

    return plain(pattern.body)


def _value(node: Expression, point: Mapping[str, int], arrays: Mapping[str, Array], types: Mapping[str, str]) -> int:
    match node:
        case Const(value):
            return int(value)
        case Read(tensor, index):
            place = tuple(each.evaluate(point) for each in index)
            inside = all(0 <= at < size for at, size in zip(place, arrays[tensor].shape, strict=True))
            return int(arrays[tensor][place]) if inside else 0
        case Cast(dtype, argument):
            return _wrapped(_value(argument, point, arrays, types), dtype)
        case Apply(operation, arguments):
            value = _PYTHON[operation](*(_value(argument, point, arrays, types) for argument in arguments))
            known = dtype_of(node, types.get)
            return _wrapped(value, known) if known else value


def _wrapped(value: int, dtype: str) -> int:
    low = value & (1 << bits(dtype)) - 1
    return low - (1 << bits(dtype)) if is_signed(dtype) and low >> bits(dtype) - 1 else low
