"""Which instruction of a register machine does what a kernel needs, found by pattern: no name is known here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from dataflow.dtypes import bits
from embed.cpu.lowering.indexed import Indexed, indexed
from embed.errors import NoEmbedding
from embed.moves import is_copy, is_zero
from isa.memo import remembered
from isa.model import FIELD, Instruction, Isa, Memory

_LOAD, _STORE = ("register", "external"), ("external", "register")


@dataclass(frozen=True)
class Roles:
    """Entries by name; the masked ones take a mask register, and are empty where the ISA has none.

    `load` fills a register from memory, `spread` sends one group of elements to all lanes, `store` writes the
    accumulator's elements, `zero` clears a register. `pair` fills two registers in a row. `indexed` is the operand of
    which `compute` picks a lane itself; `parts` load and `part_stores` store the low bytes of a register, by how many.
    `sequence` is the entry of `compute` where that is several instructions.
    """

    compute: str
    load: str
    load_masked: str
    spread: str
    store: str
    store_masked: str
    zero: str
    pair: str = ""
    indexed: Indexed | None = None
    parts: Mapping[int, str] = field(default_factory=dict)
    part_stores: Mapping[int, str] = field(default_factory=dict)
    sequence: Instruction | None = None

    @cached_property
    def moves(self) -> tuple[str, ...]:
        """The entries other than `compute`."""
        single = (self.load, self.load_masked, self.spread, self.store, self.store_masked, self.zero)
        found = (*single, self.pair, *self.parts.values(), *self.part_stores.values())
        return tuple(dict.fromkeys(name for name in found if name))


@remembered
def mask_memories(target: Isa) -> frozenset[str]:
    """The memories that hold the masks of masked entries."""
    return frozenset(entry.mask.operand.memory for entry in target.instructions.values() if entry.mask)


@remembered
def find(target: Isa, compute: str, word_bits: int, spread_bits: int, lanes: int) -> Roles:
    """The entries around `compute`, whose registers have `word_bits` and whose result has `lanes` elements.

    Moves do not care for types, only for bits and, where they are masked, for lanes. Raises NoEmbedding that names
    what the ISA lacks.
    """
    entries = list(target.instructions.values())
    moves = [entry for entry in entries if is_copy(entry) and _bits(entry, 0) == word_bits and not entry.caches]
    loads = [entry for entry in moves if _between(entry, target) == ("register", "external")]
    stores = [
        entry for entry in moves if _between(entry, target) == ("external", "register") and _bits(entry, 1) == word_bits
    ]
    full = [entry for entry in loads if _bits(entry, 1) == word_bits]
    small = [entry for entry in loads if _bits(entry, 1) == spread_bits and _spreads(entry)]
    return Roles(
        compute,
        _first(full, target, "load"),
        _masked(full, lanes),
        _first(small, target, f"broadcast of {spread_bits} bits"),
        _first(stores, target, "store"),
        _masked(stores, lanes),
        _first([entry for entry in entries if is_zero(entry) and _bits(entry, 0) == word_bits], target, "zero"),
        pair_load(target, compute),
        indexed_operand(target, compute),
        _parts(target, compute, _LOAD),
        _parts(target, compute, _STORE),
        target.instructions[compute] if target.instructions[compute].sequence else None,
    )


@remembered
def pair_load(target: Isa, compute: str) -> str:
    """The load that fills two of the registers in which `compute` accumulates; empty where there is none."""
    memory = _accumulators(target, compute)
    pairs = _copies(target, memory.name, 2 * memory.bits, _LOAD)
    return next((entry.name for entry in pairs if _displaces(entry)), "")


def _parts(target: Isa, compute: str, between: tuple[str, str]) -> dict[int, str]:
    """Moves of the low bytes of a register, by how many bytes, powers of two below the whole."""
    memory = _accumulators(target, compute)
    sizes = (1 << power for power in range(memory.word_bytes.bit_length() - 1))
    found = ((size, next(iter(_copies(target, memory.name, 8 * size, between)), None)) for size in sizes)
    return {size: entry.name for size, entry in found if entry is not None}


@remembered
def indexed_operand(target: Isa, compute: str) -> Indexed | None:
    """The operand of which `compute` picks a lane, if there are loads of as few of its groups as an end may leave."""
    found = indexed(target.instructions[compute])
    if found is None:
        return None
    whole = target.instructions[compute].operands[found.operand].tensor.bytes
    parts = _parts(target, compute, _LOAD)
    powers = (1 << power for power in range(1, found.lanes.bit_length()))
    return found if all(whole // power in parts for power in powers) else None


def _accumulators(target: Isa, compute: str) -> Memory:
    output = target.instructions[compute].output
    assert output is not None
    return target.memories[output.memory]


def _copies(target: Isa, memory: str, size: int, between: tuple[str, str]) -> list[Instruction]:
    """Unmasked copies of `size` bits to or from the low end of the registers of a memory."""
    found = []
    for entry in target.instructions.values():
        if not is_copy(entry) or entry.mask or entry.choice or entry.caches or _between(entry, target) != between:
            continue
        whole = _bits(entry, 0) == size and not _spreads(entry)
        if whole and memory in {operand.memory for operand in entry.operands.values()}:
            found.append(entry)
    return found


def _displaces(entry: Instruction) -> bool:
    """Whether the address of the operand in memory has a displacement."""
    return any(name.endswith(".disp") for name in entry.fields)


def _memory(entry: Instruction, name: str, target: Isa) -> str:
    memory = entry.operands[name].memory
    return FIELD if memory == FIELD else target.memories[memory].kind


def _between(entry: Instruction, target: Isa) -> tuple[str, str]:
    """Kinds of the memories a move writes and reads."""
    assert entry.pattern is not None
    names = (entry.pattern.output.tensor, entry.pattern.reads[0].tensor)
    return _memory(entry, names[0], target), _memory(entry, names[1], target)


def _spreads(entry: Instruction) -> bool:
    """Whether some lanes of the result read the same element."""
    assert entry.pattern is not None
    used = {dim for index in entry.pattern.reads[0].index for dim in index.dims}
    return any(dim.extent > 1 and dim.name not in used for dim in entry.pattern.dims)


def _bits(entry: Instruction, place: int) -> int:
    assert entry.pattern is not None
    tensor = entry.pattern.tensors[place]
    return tensor.size * bits(tensor.dtype)


def _first(entries: list[Instruction], target: Isa, what: str) -> str:
    for entry in entries:
        if not entry.mask:
            return entry.name
    raise NoEmbedding(f"{target.name} has no {what} instruction for this kernel")


def _masked(entries: list[Instruction], lanes: int) -> str:
    found = (entry.name for entry in entries if entry.mask and entry.mask.operand.tensor.size == lanes)
    return next(found, "")
