"""Moves of an epilogue's words between registers and memory: an entry for each, found by its pattern."""

from dataclasses import dataclass
from functools import cached_property
from math import prod

from dataflow.dtypes import bits
from dataflow.expression import Cast, Read
from embed.errors import NoEmbedding
from isa.memo import remembered
from isa.model import FIELD, Instruction, Isa


@dataclass(frozen=True, slots=True)
class Word:
    """What an accumulator is: elements of `dtype`, one for each of `lanes`, in a register of `memory`."""

    memory: str
    dtype: str
    lanes: int


@remembered
def stores(target: Isa, word: Word, dtype: str) -> tuple[str, str]:
    """The store of a word of such elements, and its masked twin where there is one; raises NoEmbedding."""
    return WordMoves(target, word).store(dtype)


@remembered
def _usable(target: Isa, memory: str, external: str) -> tuple[list[Instruction], list[Instruction]]:
    """Entries that write a register of a memory and nothing else: from registers, and from external memory."""
    usable = [entry for entry in target.instructions.values() if _is_plain(entry, memory)]
    inside = [e for e in usable if all(operand.memory in {memory, FIELD} for operand in e.operands.values())]
    return inside, [entry for entry in usable if [operand.memory for operand in entry.inputs] == [external]]


def _is_plain(entry: Instruction, memory: str) -> bool:
    pattern = entry.pattern
    if pattern is None or pattern.accumulate or entry.mask or entry.choice or entry.repeat:
        return False
    written = pattern.output.tensor
    return entry.operands[written].memory == memory and written not in {r.tensor for r in pattern.reads}


@dataclass(frozen=True)
class WordMoves:
    """The entries of a target that load, spread and store words; those that cannot be found raise NoEmbedding."""

    target: Isa
    word: Word

    @cached_property
    def external(self) -> str:
        """The memory outside."""
        return next(name for name, memory in self.target.memories.items() if memory.kind == "external")

    @property
    def registers(self) -> list[Instruction]:
        """Entries from registers to a register."""
        return _usable(self.target, self.word.memory, self.external)[0]

    @property
    def loads(self) -> list[Instruction]:
        """Entries from memory to a register."""
        return _usable(self.target, self.word.memory, self.external)[1]

    def spreading(self, width: int) -> Instruction:
        """The load of one element of `width` bits to all lanes."""
        for entry in self.loads:
            pattern = entry.pattern
            assert pattern is not None
            if not isinstance(pattern.body, Read) or pattern.body.index or not self.is_lanes(entry):
                continue
            if bits(pattern.tensors[0].dtype) == bits(pattern.tensors[1].dtype) == width:
                return entry
        raise NoEmbedding(f"{self.target.name} has no broadcast of {width} bits for this epilogue")

    def load(self, dtype: str) -> Instruction:
        """The load of a word of such elements as they are."""
        for entry in self.loads:
            assert entry.pattern is not None
            if isinstance(entry.pattern.body, Read) and self.is_whole(entry, bits(dtype)):
                return entry
        raise NoEmbedding(f"{self.target.name} has no load of {self.word.lanes} {dtype} for this epilogue")

    def converting_load(self, dtype: str, source: str) -> Instruction | None:
        """The load of elements of type `source` that become `dtype` on the way, if there is one."""
        for entry in self.loads:
            pattern = entry.pattern
            assert pattern is not None
            match pattern.body:
                case Cast(found, Read(_, index)) if (found, pattern.tensors[-1].dtype) == (dtype, source):
                    exact = self.is_lanes(entry) and pattern.tensors[-1].size == self.word.lanes
                    if index == pattern.output.index and exact:
                        return entry
        return None

    def store(self, dtype: str) -> tuple[str, str]:
        """The store of a word of such elements, and its masked twin where there is one."""
        for entry in self.target.instructions.values():
            pattern = entry.pattern
            if pattern is None or pattern.accumulate or entry.mask or entry.choice or len(entry.operands) != 2:
                continue
            if entry.caches:
                continue
            memories = [operand.memory for operand in entry.operands.values()]
            if sorted(memories) != sorted((self.external, self.word.memory)) or not isinstance(pattern.body, Read):
                continue
            if entry.operands[pattern.output.tensor].memory != self.external:
                continue
            if self.is_whole(entry, bits(dtype)):
                return entry.name, self.twin(entry)
        raise NoEmbedding(f"{self.target.name} has no store of {self.word.lanes} {dtype} for this epilogue")

    def twin(self, entry: Instruction) -> str:
        """The entry that does the same under a mask of the lanes."""
        for other in self.target.instructions.values():
            if not other.mask or other.mask.operand.tensor.size != self.word.lanes:
                continue
            if _memories(other) == _memories(entry) and other.pattern == entry.pattern:
                return other.name
        return ""

    def is_lanes(self, entry: Instruction) -> bool:
        """Whether an entry does the same for each lane, and has as many."""
        assert entry.pattern is not None
        pattern = entry.pattern
        index = pattern.output.index
        if len(index) != 1 or len(index[0].terms) != 1 or index[0].constant or index[0].terms[0][1] != 1:
            return False
        return pattern.extents[index[0].terms[0][0]] >= self.word.lanes

    def is_whole(self, entry: Instruction, width: int) -> bool:
        """Whether a copy moves just a word of such elements, in order."""
        assert entry.pattern is not None
        pattern = entry.pattern
        if pattern.reads[0].index != pattern.output.index or _dims(pattern.output) != list(pattern.extents):
            return False
        return prod(pattern.extents.values()) * bits(pattern.tensors[0].dtype) == self.word.lanes * width


def _memories(entry: Instruction) -> dict[str, str]:
    return {name: operand.memory for name, operand in entry.operands.items()}


def _dims(read: Read) -> list[str]:
    return [dim for index in read.index for dim in index.dims]
