"""Runs one instruction on numpy memories from its entry alone: pattern, addresses, loops and guards.

Slow and exact: it is the reference that encodings, simulators and lowerings are compared with.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from dataflow.computation import Computation
from dataflow.dtypes import bits, numpy_dtype
from isa.arithmetic import Formula, FormulaError
from isa.errors import IsaError, listing
from isa.machine import MachineInstruction
from isa.model import FIELD, Instruction, Isa, Memory, Operand
from isa.rounding import compute
from isa.words import from_bytes, to_bytes

Array = npt.NDArray[Any]
Lanes = npt.NDArray[np.bool_]


def allocate(target: Isa, external_bytes: Mapping[str, int]) -> dict[str, npt.NDArray[np.uint8]]:
    """Zeroed memories: each a uint8 array, words by bytes; external ones flat, with the sizes given."""
    return {
        name: np.zeros(external_bytes.get(name, 0), np.uint8)
        if memory.count is None
        else np.zeros((memory.count, memory.word_bytes), np.uint8)
        for name, memory in target.memories.items()
    }


def run(target: Isa, instruction: MachineInstruction, memories: Mapping[str, Array]) -> None:
    """Execute an instruction on memories, in place.

    A memory is any C-contiguous array with the bytes of all its words, little-endian. Raises IsaError for an unknown
    name or field, a memory that is missing or has another size, or an address outside its memory.
    """
    entry = target.instruction(instruction.name)
    values = target.values(instruction)
    if not entry.statements:
        return
    machine = _Machine(target, entry, memories)
    statements = chosen(entry, values)
    for names in machine.trips({**target.names, **values}):
        machine.trip(statements, names)


def chosen(entry: Instruction, values: Mapping[str, int]) -> tuple[Computation, ...]:
    """The statements for these values of the choices; raises IsaError for one that is out of range."""
    if entry.pattern is None:
        return entry.statements
    number = 0
    for name, extent in entry.choice.items():
        if not 0 <= values[name] < extent:
            raise IsaError(f"{entry.name}: {name} = {values[name]} is not in 0..{extent - 1}")
        number = number * extent + values[name]
    return (entry.variants[number],)


class _Machine:
    """One entry and the memories it works on, as bytes."""

    def __init__(self, target: Isa, entry: Instruction, memories: Mapping[str, Array]) -> None:
        self.target = target
        self.entry = entry
        self.memories = memories
        self.bytes: dict[str, npt.NDArray[np.uint8]] = {}
        self.active: Lanes | None = None

    def trips(self, names: dict[str, int], depth: int = 0) -> Iterator[dict[str, int]]:
        """The names of each trip of the loops that the entry's guard lets through."""
        if depth == len(self.entry.repeat):
            if self.entry.when is None or self.formula(self.entry.when, names):
                yield names
            return
        loop = self.entry.repeat[depth]
        for value in range(self.formula(loop.start, names), self.formula(loop.stop, names)):
            yield from self.trips({**names, loop.name: value}, depth + 1)

    def trip(self, statements: Sequence[Computation], names: Mapping[str, int]) -> None:
        """Read the inputs, evaluate the statements, write the outputs."""
        self.active = self.lanes(names)
        arrays = {operand.name: self.read(operand, names) for operand in self.entry.inputs}
        for statement in statements:
            arrays[statement.output.tensor] = compute(self.entry, statement, arrays)
        for operand in self.entry.outputs:
            self.write(operand, arrays[operand.name], names)

    def lanes(self, names: Mapping[str, int]) -> Lanes | None:
        """Which lanes the mask lets act; None without a mask."""
        if self.entry.mask is None:
            return None
        elements = self.read(self.entry.mask.operand, names).astype(np.int64)
        return (elements >> (bits(self.entry.mask.operand.tensor.dtype) - 1) & 1).astype(bool)

    def write(self, operand: Operand, values: Array, names: Mapping[str, int]) -> None:
        """Store a result; a register's bits beyond it become zero."""
        if operand.pointers and self.active is not None:
            for place, value in zip(self.elements(operand, names), values[self.active], strict=True):
                place[...] = np.frombuffer(value.tobytes(), np.uint8)
            return
        if operand.stride:
            rows = self.rows(operand, names)
            for row, data in zip(rows, np.split(to_bytes(values[None], operand.tensor)[0], len(rows)), strict=True):
                row[...] = data
            return
        place = self.place(operand, names)
        if self.active is not None and self.entry.mask is not None:
            kept = self.entry.mask.idle == "keep"
            idle = from_bytes(place[None], operand.tensor)[0] if kept else np.zeros_like(values)
            values = np.where(self.active, values, idle)
        data = to_bytes(values[None], operand.tensor)[0]
        place[: data.size] = data
        place[data.size :] = 0

    def read(self, operand: Operand, names: Mapping[str, int]) -> Array:
        tensor = operand.tensor
        if operand.memory == FIELD:
            return np.array(names[operand.at if self.entry.encoding else operand.name], numpy_dtype(tensor.dtype))
        if operand.when is not None and not self.formula(operand.when, names):
            return np.zeros(tensor.shape, numpy_dtype(tensor.dtype))
        if operand.pointers and self.active is not None:
            values = np.zeros(tensor.shape, numpy_dtype(tensor.dtype))
            for number, place in zip(np.flatnonzero(self.active), self.elements(operand, names), strict=True):
                values.reshape(-1)[number] = np.frombuffer(place.tobytes(), values.dtype)[0]
            return values
        place = np.concatenate(self.rows(operand, names)) if operand.stride else self.place(operand, names)
        return np.asarray(from_bytes(place[None], tensor)[0])

    def rows(self, operand: Operand, names: Mapping[str, int]) -> list[npt.NDArray[np.uint8]]:
        """The bytes of each row of a strided operand, views."""
        memory, name = self.target.memories[operand.memory], operand.name
        count = operand.tensor.shape[0]
        size = operand.tensor.size * bits(operand.tensor.dtype) // 8 // count
        first = self.pointer(operand.pointers, names[f"{name}.base"]) + names.get(f"{name}.disp", 0)
        step = self.step(operand, names)
        return [self.span(memory, first + step * row, size, name) for row in range(count)]

    def elements(self, operand: Operand, names: Mapping[str, int]) -> list[npt.NDArray[np.uint8]]:
        """The bytes of each element of an operand behind a pointer whose lane acts, views."""
        assert self.active is not None
        memory, size = self.target.memories[operand.memory], bits(operand.tensor.dtype) // 8
        first = self.pointed(operand, names)
        return [self.span(memory, first + size * int(i), size, operand.name) for i in np.flatnonzero(self.active)]

    def pointed(self, operand: Operand, names: Mapping[str, int]) -> int:
        """The address that pointer registers and a displacement give."""
        name = operand.name
        base = self.pointer(operand.pointers, names[f"{name}.base"]) + names.get(f"{name}.disp", 0)
        return base + self.step(operand, names)

    def step(self, operand: Operand, names: Mapping[str, int]) -> int:
        """The index register times the scale, 0 without an index."""
        scale = names.get(f"{operand.name}.scale", 0)
        return self.pointer(operand.pointers, names[f"{operand.name}.index"]) * scale if scale else 0

    def pointer(self, memory: str, number: int) -> int:
        word = self.span(self.target.memories[memory], number, 1, "a pointer")
        return int.from_bytes(word.tobytes(), "little", signed=True)

    def place(self, operand: Operand, names: Mapping[str, int]) -> npt.NDArray[np.uint8]:
        """The bytes of the words an operand lies in, a view."""
        memory = self.target.memories[operand.memory]
        words = -(-operand.tensor.size * bits(operand.tensor.dtype) // memory.bits)
        if operand.pointers:
            return self.span(memory, self.pointed(operand, names), words, operand.name)
        assert operand.address is not None
        return self.span(memory, self.formula(operand.address, names), words, operand.name)

    def span(self, memory: Memory, first: int, words: int, what: str) -> npt.NDArray[np.uint8]:
        data = self.data(memory)
        count = data.size // memory.word_bytes
        if first < 0 or first + words > count:
            raise IsaError(f"{self.entry.name}: {what} is word {first} of '{memory.name}', which has {count} words")
        return data[first * memory.word_bytes : (first + words) * memory.word_bytes]

    def data(self, memory: Memory) -> npt.NDArray[np.uint8]:
        if memory.name not in self.bytes:
            self.bytes[memory.name] = _flat(memory, self.memories)
        return self.bytes[memory.name]

    def formula(self, formula: Formula, names: Mapping[str, int]) -> int:
        try:
            return formula.value(names, self.word_field)
        except FormulaError as error:
            raise IsaError(f"{self.entry.name}: {error.message}") from None

    def word_field(self, name: str, index: int, field: str) -> int:
        """A field of a word of a memory whose words have a format."""
        memory = self.target.memories[name]
        assert memory.format is not None
        word = self.span(memory, index, 1, "a word it reads")
        return self.target.decode_format(memory.format, int.from_bytes(word.tobytes(), "little"))[field]


def _flat(memory: Memory, memories: Mapping[str, Array]) -> npt.NDArray[np.uint8]:
    if memory.name not in memories:
        raise IsaError(f"memory '{memory.name}' is missing; given are: {listing(memories)}")
    array = memories[memory.name]
    if not array.flags.c_contiguous or (memory.bytes is not None and array.nbytes != memory.bytes):
        size = "any number of" if memory.bytes is None else memory.bytes
        raise IsaError(f"memory '{memory.name}' is a C-contiguous array of {size} bytes, not {array.nbytes}")
    return array.reshape(-1).view(np.uint8)
