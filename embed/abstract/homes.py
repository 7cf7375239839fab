"""Where tensors lie in the memories of an ISA file, and which entries move them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from embed.embedding import Embedding
from embed.moves import loads, resets, stores, tensor_bits
from isa.model import FIELD, Instruction, Isa, Operand


@dataclass(frozen=True, slots=True)
class Home:
    """The memory of a tensor's operand: `words` of it hold one operand, `capacity` is all it has.

    A `direct` operand lies in external memory, where the instruction reads or writes it itself; no capacity limits it.
    `entry` moves the tensor, by name: a load for inputs, a store for the output; empty where the file has none and the
    move is implied.
    """

    operand: Operand
    memory: str
    words: int
    capacity: int | None
    entry: str = ""

    @property
    def direct(self) -> bool:
        return self.capacity is None

    @property
    def bytes(self) -> int:
        """Bytes of one operand, packed in external memory."""
        return self.operand.tensor.bytes


def homes(embedding: Embedding, tensors: Iterable[str], target: Isa) -> dict[str, Home]:
    """The home of every tensor that has a layout."""
    operands, main = target.instruction(embedding.name).operands, embedding.operator.main.output.tensor
    return {name: _home(operands[embedding.operand(name)], target, stored=name == main) for name in tensors}


def clearing(home: Home, target: Isa) -> Instruction | None:
    """The entry that clears an accumulator; None where the file has none."""
    return next(resets(target, home.operand), None)


def sharing(found: Mapping[str, Home]) -> Iterator[tuple[str, int, list[str]]]:
    """Each memory that is not external, its words, and the tensors that lie in it."""
    for memory, capacity in {home.memory: home.capacity for home in found.values()}.items():
        if capacity is not None:
            yield memory, capacity, [tensor for tensor, home in found.items() if home.memory == memory]


def _home(operand: Operand, target: Isa, stored: bool) -> Home:
    size = tensor_bits(operand.tensor)
    if operand.memory == FIELD or target.memories[operand.memory].kind == "external":
        return Home(operand, operand.memory, 1, None)
    memory = target.memories[operand.memory]
    entries = stores(target, operand) if stored else loads(target, operand)
    entry = next((found.name for found in entries), "")
    return Home(operand, memory.name, -(-size // memory.bits), memory.count, entry)
