"""Which instruction of a register machine does what a kernel needs, found by pattern: no name is known here."""

from dataclasses import dataclass

from dataflow.dtypes import bits
from dataflow.expression import Apply, Const, Read
from embed.errors import NoEmbedding
from isa.model import FIELD, Instruction, Isa


@dataclass(frozen=True, slots=True)
class Roles:
    """Entries by name; the masked ones take a mask register, and are empty where the ISA has none.

    `load` fills a register from memory, `spread` sends one group of elements to all lanes, `store` writes the
    accumulator's elements, `zero` clears a register.
    """

    compute: str
    load: str
    load_masked: str
    spread: str
    store: str
    store_masked: str
    zero: str

    @property
    def moves(self) -> tuple[str, ...]:
        """The entries other than `compute`."""
        found = (self.load, self.load_masked, self.spread, self.store, self.store_masked, self.zero)
        return tuple(dict.fromkeys(name for name in found if name))


@dataclass(frozen=True, slots=True)
class Slots:
    """The fields of a move: its register, its memory operand and its mask; empty where it has none."""

    register: str
    memory: str
    mask: str

    @classmethod
    def of(cls, entry: Instruction, target: Isa) -> "Slots":
        kinds = {name: _memory(entry, name, target) for name in entry.operands}
        register = next(name for name, kind in kinds.items() if kind == "register")
        memory = next((name for name, kind in kinds.items() if kind == "external"), "")
        return cls(register, memory, entry.mask.operand.name if entry.mask else "")


def find(target: Isa, compute: str, word_bits: int, spread_bits: int, lanes: int) -> Roles:
    """The entries around `compute`, whose registers have `word_bits` and whose result has `lanes` elements.

    Moves do not care for types, only for bits and, where they are masked, for lanes. Raises NoEmbedding that names
    what the ISA lacks.
    """
    entries = list(target.instructions.values())
    moves = [entry for entry in entries if _is_move(entry) and _bits(entry, 0) == word_bits]
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
        _first([entry for entry in entries if _is_zero(entry, word_bits)], target, "zero"),
    )


def _is_move(entry: Instruction) -> bool:
    return entry.pattern is not None and not entry.pattern.accumulate and isinstance(entry.pattern.body, Read)


def _is_zero(entry: Instruction, word_bits: int) -> bool:
    pattern = entry.pattern
    if pattern is None or pattern.accumulate or not pattern.tensors or _bits(entry, 0) != word_bits:
        return False
    match pattern.body:
        case Const(0):
            return True
        case Apply("sub", (Read() as left, Read() as right)):
            return left == right
    return False


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
