"""Runs an abstract program on the memories of its ISA file, every instruction through its own pattern."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from dataflow.dtypes import bits, numpy_dtype
from embed.abstract.operands import operands_of, words_of
from embed.abstract.places import Place
from embed.abstract.program import Clear, Invoke, Load, Step, Store, Update, Words
from embed.layout import Layout
from embed.nest.ir import Nest
from embed.nest.planes import Planes
from isa.batch import run_batch
from isa.model import FIELD, Instruction, Isa, Operand
from isa.words import Bytes, from_bytes, to_bytes

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Result:
    """The packed output, of shape (*axes, *lanes), and what the run did.

    `bytes` are those between external memory and each other memory, or `direct` where an instruction accessed them.
    """

    packed: Array
    invocations: int
    bytes: Mapping[str, int]


@dataclass
class Machine:
    """The memories of one program, by name; a direct operand has one for itself, the part of external memory it is in.

    `external` holds the packed inputs as bytes, a row for each operand.
    """

    target: Isa
    nest: Nest
    places: Mapping[str, Place]
    external: Mapping[str, Bytes]
    memories: dict[str, Bytes] = field(default_factory=dict)
    bytes: Counter[str] = field(default_factory=Counter)
    invocations: int = 0

    def __post_init__(self) -> None:
        for tensor, place in self.places.items():
            memory, name = self.target.memories.get(place.home.memory), _memory(tensor, place)
            if place.home.direct:
                self.memories[name] = np.zeros((place.size, place.home.bytes), np.uint8)
            elif name not in self.memories:
                assert memory is not None
                self.memories[name] = np.zeros((memory.count or 0, memory.word_bytes), np.uint8)
        self.planes = Planes(self.nest)

    def run(self, program: Iterable[Step]) -> Result:
        """Run the steps in order."""
        for step in program:
            match step:
                case Load():
                    self.load(step)
                case Clear(places):
                    self.write(self.nest.output, places, None)
                case Invoke(places):
                    self.invoke(places)
                case Update():
                    self.update(step)
                case Store():
                    self.store(step)
        return Result(self.planes.joined(), self.invocations, dict(self.bytes))

    def load(self, step: Load) -> None:
        layout, place = self.nest.layouts[step.tensor], self.places[step.tensor]
        rows, stored = _rows(layout, step.box)
        data = np.where(stored[:, None], self.external[step.tensor][rows], 0)
        first = np.arange(rows.size, dtype=np.int64) * place.home.words + step.at
        self.write(step.tensor, first, data)
        if not (place.home.direct and step.tensor in self.nest.embedding.inputs):
            self.bytes[self._side(step.tensor)] += int(np.count_nonzero(stored)) * place.home.bytes

    def invoke(self, places: Mapping[str, Words]) -> None:
        entry = self.target.instructions[self.nest.embedding.name]
        tensors = self.nest.embedding.binding.tensors
        output = self.nest.embedding.pattern.output.tensor
        for turn in range(places[output].shape[0]):
            arrays = {
                operand.name: self.read(tensors[operand.name], operand, places[operand.name][turn])
                for operand in entry.inputs
            }
            count = places[output].shape[1]
            result = run_batch(entry, count, arrays)
            self.write(self.nest.output, places[output][turn], to_bytes(result, entry.operands[output].tensor))
            self.invocations += count
        for tensor in (self.nest.output, self.nest.output, *self.nest.embedding.inputs):
            if self.places[tensor].home.direct:
                self.bytes["direct"] += places[output].size * self.places[tensor].home.bytes

    def update(self, step: Update) -> None:
        """An epilogue instruction, on parts of an accumulator where it is narrower."""
        entry = self.target.instructions[step.step.instruction]
        assert entry.output is not None
        parts = self._parts(entry)
        arrays = {}
        for operand in entry.inputs:
            if operand.memory == FIELD:
                shape = (step.places.size * parts.size,)
                arrays[operand.name] = np.full(shape, step.step.immediate, numpy_dtype(operand.tensor.dtype))
                continue
            own = operand.name == entry.output.name
            places = step.places if own or step.others is None else step.others
            arrays[operand.name] = self.read(self.nest.output, operand, (places[:, None] + parts).reshape(-1))
        result = run_batch(entry, step.places.size * parts.size, arrays)
        self.write(self.nest.output, (step.places[:, None] + parts).reshape(-1), to_bytes(result, entry.output.tensor))

    def _parts(self, entry: Instruction) -> Words:
        """Words from an accumulator's first at which the parts start that an entry works on."""
        assert entry.output is not None
        home = self.places[self.nest.output].home
        each = self.words(self.nest.output, entry.output)
        return np.arange(0, home.words, each, dtype=np.int64)

    def store(self, step: Store) -> None:
        layout = self.nest.layouts[self.nest.output]
        home = self.places[self.nest.output].home
        count = prod(map(len, step.box))
        first = np.arange(count, dtype=np.int64) * home.words + step.at
        values = self.read(self.nest.output, home.operand, first)
        read = self.nest.embedding.pattern.output
        words = words_of(layout, home.operand, read, values).reshape(*map(len, step.box), *layout.word_shape)
        self.planes.write(step.plane, step.box, words)
        if not home.direct:
            self.bytes[home.memory] += words.size * bits(self.planes.dtype) // 8

    def _side(self, tensor: str) -> str:
        home = self.places[tensor].home
        return "direct" if home.direct else home.memory

    def words(self, tensor: str, operand: Operand) -> int:
        """Words of a tensor's memory that an operand takes."""
        home = self.places[tensor].home
        size = operand.tensor.size * bits(operand.tensor.dtype)
        return 1 if home.direct else -(-size // self.target.memories[home.memory].bits)

    def read(self, tensor: str, operand: Operand, places: Words) -> Array:
        """Operands [n, *shape] from their first words in a tensor's memory."""
        memory = self.memories[_memory(tensor, self.places[tensor])]
        spans = places[:, None] + np.arange(self.words(tensor, operand))
        return from_bytes(memory[spans].reshape(places.size, -1), operand.tensor)

    def write(self, tensor: str, places: Words, data: Bytes | None) -> None:
        """Write rows of bytes, zeros if None, at first words; the bits of a word beyond them become zero."""
        memory = self.memories[_memory(tensor, self.places[tensor])]
        if data is None:
            memory[places[:, None] + np.arange(self.places[tensor].home.words)] = 0
            return
        words = -(-data.shape[1] // memory.shape[1])
        padded = np.zeros((data.shape[0], words * memory.shape[1]), np.uint8)
        padded[:, : data.shape[1]] = data
        memory[places[:, None] + np.arange(words)] = padded.reshape(data.shape[0], words, memory.shape[1])


def in_external(nest: Nest, places: Mapping[str, Place], arrays: Mapping[str, Array]) -> dict[str, Bytes]:
    """The packed form of the user's arrays as bytes, a row for each operand."""
    found = {}
    for tensor, layout in nest.layouts.items():
        if tensor != nest.output:
            operand = places[tensor].home.operand
            packed = layout.pack(arrays[layout.tensor.name], operand.tensor.dtype)
            read = nest.embedding.pattern.accesses[operand.name]
            found[tensor] = to_bytes(operands_of(layout, operand, read, packed), operand.tensor)
    return found


def _memory(tensor: str, place: Place) -> str:
    return f"{place.home.memory} of {tensor}" if place.home.direct else place.home.memory


def _rows(layout: Layout, box: tuple[range, ...]) -> tuple[Words, npt.NDArray[np.bool_]]:
    """The stored words in a box, row-major, and which of them there are; the others are padding."""
    total: Any = np.zeros((), np.int64)
    inside: Any = np.ones((), bool)
    for axis, span in zip(layout.axes, box, strict=True):
        place = np.arange(span.start, span.stop, dtype=np.int64) - axis.before
        there = (place >= 0) & (place < axis.extent)
        total = np.add.outer(total * axis.extent, np.where(there, place, 0))
        inside = np.logical_and.outer(inside, there)
    return np.asarray(total).reshape(-1), np.asarray(inside).reshape(-1)
