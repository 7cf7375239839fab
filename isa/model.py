"""What an ISA file says, as values: memories, formats, instructions, timing."""

import math
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from dataflow.computation import Computation, Tensor
from isa.arithmetic import Formula
from isa.c_language import CLanguage
from isa.encoding import Encoding
from isa.errors import IsaError, listing
from isa.features import cpu_features
from isa.forms import Form
from isa.machine import MachineInstruction

if TYPE_CHECKING:
    from isa.x86 import Codec

FIELD = "field"
"""`in = "field"`: the operand is not in a memory but is the value of a field of the instruction."""

ADDRESS_PARTS = ("base", "index", "scale", "disp")
"""The fields of an operand that a pointer addresses: register, register, 0 (no index) 1 2 4 8, bytes."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A named integer of the file: its value now, its default, and what it means."""

    name: str
    value: int
    default: int
    doc: str = ""


@dataclass(frozen=True, slots=True)
class Memory:
    """Words of `bits` bits; kind is external, scratchpad or register; external memory has no count.

    `format` names the format of its words, for a memory of micro-operations; `pads` is how many zero words its load
    instruction can put on either side of a row; `pointers` names the memory of registers that point into it.
    """

    name: str
    kind: str
    bits: int
    count: int | None
    doc: str = ""
    format: str | None = None
    pads: int = 0
    pointers: str = ""

    @property
    def word_bytes(self) -> int:
        return self.bits // 8

    @property
    def bytes(self) -> int | None:
        """Bytes of the whole, None for external memory."""
        return None if self.count is None else self.count * self.bits // 8


@dataclass(frozen=True, slots=True)
class Format:
    """A named bit layout: of instructions, or of the words of a memory."""

    name: str
    encoding: Encoding
    doc: str = ""


@dataclass(frozen=True, slots=True)
class Operand:
    """A tensor of the pattern and where it lies: consecutive words of `memory` from the word `address`.

    Where `when` is false, an input operand is zero and its memory is not read. `memory` is "field" for the
    value of the field `at`; for a manual's own encoding `at` is the operand's slot (`ModRM.rm`). With `pointers` the
    address is that register of this memory, plus an index register times a scale, plus a displacement in bytes; with
    `stride`, the outermost dim of its shape, index times scale is the step of that dim instead.
    """

    name: str
    memory: str
    tensor: Tensor
    address: Formula | None = None
    when: Formula | None = None
    at: str = ""
    pointers: str = ""
    stride: str = ""

    @property
    def fields(self) -> tuple[str, ...]:
        """Its fields in an entry that has no field encoding."""
        return tuple(f"{self.name}.{part}" for part in ADDRESS_PARTS) if self.pointers else (self.name,)


@dataclass(frozen=True, slots=True)
class Mask:
    """The predicate of an entry: lanes act where the highest bit of the operand's element is set.

    The other elements of the output become zero or keep their value, and of external memory they are not accessed.
    """

    operand: Operand
    idle: str


@dataclass(frozen=True, slots=True)
class Repeat:
    """One loop around the pattern: `start <= name < stop`, formulas over fields and outer loops."""

    name: str
    start: Formula
    stop: Formula


@dataclass(frozen=True, slots=True)
class Instruction:
    """One entry. `index` is the box of the pattern, `choice` names constants that the encoding picks,
    `repeat` the loops around it (outermost first), `when` says at which trips it acts.

    `variants` are the pattern for every value of the choices, the last fastest; `pattern` is the first.
    `fixed` are the values of the fields that make this entry; the other fields are a MachineInstruction's own.
    `notation` is the encoding in a manual's own words, where it is not a field list; `form` what it was found to be.
    `denormals` and `summation` say where float arithmetic differs from the pattern's plain meaning (isa.rounding).
    `c` is a C expression for the output, or a call where it is in memory, with {operand} in it.
    """

    name: str
    doc: str
    index: dict[str, int]
    choice: dict[str, int]
    pattern: Computation | None
    variants: tuple[Computation, ...]
    operands: dict[str, Operand]
    repeat: tuple[Repeat, ...]
    when: Formula | None
    requires: tuple[str, ...]
    syntax: str
    notation: str
    encoding: Encoding | None
    fixed: dict[str, int]
    like: str | None = None
    mask: Mask | None = None
    denormals: str = ""
    summation: str = ""
    form: Form | None = None
    c: str = ""

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the fields that a MachineInstruction of this entry holds.

        Without a field encoding they are the word numbers of its operands, its immediates and its choices, by name; an
        operand behind a pointer has four: NAME.base, NAME.index, NAME.scale and NAME.disp.
        """
        if self.encoding is None:
            placed = [name for operand in self.operands.values() for name in operand.fields]
            return (*placed, *self.choice, *([self.mask.operand.name] if self.mask else []))
        return tuple(name for name in self.encoding.fields if name not in self.fixed)

    @property
    def output(self) -> Operand | None:
        """The operand the pattern writes."""
        return self.operands[self.pattern.output.tensor] if self.pattern else None

    @property
    def inputs(self) -> tuple[Operand, ...]:
        """The operands the pattern reads; the output is one if it is accumulated, updated, or not all written."""
        if self.pattern is None:
            return ()
        names = [self.pattern.output.tensor] if self.pattern.accumulate or self._keeps else []
        names += [read.tensor for read in self.pattern.reads]
        return tuple(self.operands[name] for name in dict.fromkeys(names))

    @property
    def _keeps(self) -> bool:
        """Whether elements of the output stay as they were."""
        assert self.pattern is not None
        written = math.prod(self.index[name] for name in self.pattern.output_dims)
        return written < self.pattern.tensors[0].size

    @property
    def fixed_bits(self) -> tuple[int, int]:
        """(mask, value) of the bits that are the same in every instruction of this entry."""
        if self.encoding is None:
            return 0, 0
        mask, value = self.encoding.mask, self.encoding.value
        for name, fixed in self.fixed.items():
            field = self.encoding.fields[name]
            mask |= field.mask
            value |= field.place(fixed)
        return mask, value


@dataclass(frozen=True, slots=True)
class MicroOperations:
    """`count` equal micro-operations, each of which goes to one of `units`."""

    count: int
    units: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Cost:
    """Cycles of one instruction.

    On a machine that runs one after another on each unit: `start`, and more per thing of `per` (`trip`, `element`,
    `beat`, ...). On a pipelined core: the `uops` it is made of, each of which holds its unit for `cycles`, and the
    `latency` until its output can be used, `accumulate` until it can be used as what is added to.
    """

    unit: str
    start: int
    per: dict[str, int]
    uops: tuple[MicroOperations, ...] = ()
    latency: int = 0
    cycles: int = 1
    accumulate: int = 0

    @property
    def trip(self) -> int:
        """Cycles for each trip of the repeat loops; on a pipelined core, for which it holds a unit."""
        return self.cycles if self.uops else self.per.get("trip", 0)


@dataclass(frozen=True, slots=True)
class Timing:
    """One core: where the numbers come from, its constants, the cost of instructions by name, its execution units."""

    name: str
    source: tuple[str, ...]
    constants: dict[str, int]
    costs: dict[str, Cost]
    doc: str = ""
    units: tuple[str, ...] = ()

    def __getitem__(self, constant: str) -> int:
        if constant not in self.constants:
            raise IsaError(f"[timing.{self.name}] has no '{constant}'; it has {listing(self.constants)}")
        return self.constants[constant]


@dataclass(frozen=True)
class Isa:
    """A loaded ISA file; `processor` is whose code surrounds its instructions, empty where there is none."""

    name: str
    doc: str
    path: Path
    parameter_list: tuple[Parameter, ...]
    memories: dict[str, Memory]
    formats: dict[str, Format]
    instructions: dict[str, Instruction]
    timings: dict[str, Timing] = field(default_factory=dict)
    processor: str = ""
    c: CLanguage | None = None

    @cached_property
    def parameters(self) -> dict[str, int]:
        """Values by name, overrides included."""
        return {parameter.name: parameter.value for parameter in self.parameter_list}

    @cached_property
    def names(self) -> dict[str, int]:
        """What a formula may always use: the parameters, and `bits` and `count` of each memory (`acc.count`)."""
        bits = {f"{memory.name}.bits": memory.bits for memory in self.memories.values()}
        counts = {f"{memory.name}.count": memory.count for memory in self.memories.values() if memory.count is not None}
        return {**self.parameters, **bits, **counts}

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all that the file says, parameters and what it extends included; not of how it is written."""
        said = (
            self.name,
            self.parameter_list,
            self.memories,
            self.formats,
            self.instructions,
            self.timings,
            self.processor,
            self.c,
        )
        return sha256(repr(said).encode()).hexdigest()

    @cached_property
    def memo(self) -> dict[Hashable, object]:
        """What `isa.memo.remembered` keeps."""
        return {}

    @property
    def timing(self) -> Timing:
        """The first timing section; raises IsaError if the file has none."""
        if not self.timings:
            raise IsaError(f"{self.path}: '{self.name}' has no [timing.NAME] section")
        return next(iter(self.timings.values()))

    def instruction(self, name: str) -> Instruction:
        """The entry of that name; raises IsaError with the names there are."""
        if name not in self.instructions:
            raise IsaError(f"'{self.name}' has no instruction '{name}'; it has {listing(self.instructions)}")
        return self.instructions[name]

    def encode(self, instruction: MachineInstruction) -> bytes:
        """Its bytes, words little-endian; raises IsaError for an unknown name or field or a value that does not fit."""
        entry = self.instruction(instruction.name)
        if entry.form:
            return self.x86.encode(instruction)
        encoding = self._encoding(entry)
        try:
            bits = encoding.pack(self.values(instruction) if entry.fixed else instruction.fields)
        except IsaError:
            self.values(instruction)  # says more
            raise
        return bits.to_bytes(encoding.size // 8, "little")

    def values(self, instruction: MachineInstruction) -> dict[str, int]:
        """The value of every field, fixed and absent ones included; raises IsaError like `encode`."""
        entry = self.instruction(instruction.name)
        own = entry.fields
        for name, value in instruction.fields.items():
            if name not in own and entry.fixed.get(name) != value:
                raise IsaError(f"{entry.name} has no field '{name}'; it has {listing(own)}")
            if entry.encoding:
                _check_fits(entry, name, value)
        return {**dict.fromkeys(own, 0), **entry.fixed, **instruction.fields}

    def decode(self, data: bytes) -> MachineInstruction:
        """The instruction these bytes are, with every field its entry leaves open; raises IsaError if there is none."""
        if self.is_x86:
            return self.x86.decode(data)
        bits = int.from_bytes(data, "little")
        for entry, encoding, mask, value in self._by_specificity:
            if encoding.size != len(data) * 8 or bits & mask != value:
                continue
            found = MachineInstruction(entry.name, {name: encoding.fields[name].read(bits) for name in entry.fields})
            if encoding.holds({**entry.fixed, **found.fields}, bits):
                return found
        raise IsaError(f"{data.hex(' ')} is no instruction of '{self.name}'")

    def decode_all(self, data: bytes) -> Iterator[MachineInstruction]:
        """The instructions of a stream, in order; raises IsaError with the offset of bytes that are none."""
        if self.is_x86:
            yield from self.x86.decode_all(data)
            return
        sizes = sorted({encoding.size // 8 for _, encoding, _, _ in self._by_specificity})
        at = 0
        while at < len(data):
            size, found = self._first(data, at, sizes)
            yield found
            at += size

    def disassemble(self, data: bytes) -> str:
        """A stream as text, one line per instruction: its name and the fields that are not zero.

        x86 code is in Intel's syntax and may hold instructions that are no entries.
        """
        if self.is_x86:
            from isa.x86 import disassemble

            return disassemble(data)
        return "\n".join(map(str, self.decode_all(data)))

    def encode_format(self, name: str, values: Mapping[str, int]) -> int:
        """One word of a named format from its fields; raises IsaError like `encode`."""
        try:
            return self.format(name).encoding.pack({**self.format(name).encoding.defaults, **values})
        except IsaError as error:
            raise IsaError(f"format {name}: {error}") from None

    def decode_format(self, name: str, bits: int) -> dict[str, int]:
        """The fields of one word of a named format."""
        return self.format(name).encoding.unpack(bits)

    def format(self, name: str) -> Format:
        """The format of that name; raises IsaError with the names there are."""
        if name not in self.formats:
            raise IsaError(f"'{self.name}' has no format '{name}'; it has {listing(self.formats)}")
        return self.formats[name]

    @cached_property
    def is_x86(self) -> bool:
        """Whether its entries are in the SDM's notation."""
        return any(entry.form for entry in self.instructions.values()) and not self._by_specificity

    @cached_property
    def x86(self) -> "Codec":
        """Encoder and decoder of the entries in the SDM's notation."""
        from isa.x86 import Codec

        return Codec(self.instructions)

    def missing_features(self, names: Iterable[str] | None = None) -> tuple[str, ...]:
        """The CPU features that entries (all of them, or those named) need and this machine lacks.

        Raises UserError where the features of the machine cannot be found out.
        """
        entries = self.instructions.values() if names is None else map(self.instruction, names)
        needed = dict.fromkeys(feature for entry in entries for feature in entry.requires)
        return tuple(feature for feature in needed if feature not in cpu_features())

    @cached_property
    def _by_specificity(self) -> tuple[tuple[Instruction, Encoding, int, int], ...]:
        """(entry, its encoding, mask, value), most fixed bits first: an alias comes before what it is an alias of."""
        rows = [(entry, entry.encoding, *entry.fixed_bits) for entry in self.instructions.values() if entry.encoding]
        return tuple(sorted(rows, key=lambda row: -row[2].bit_count()))

    def _first(self, data: bytes, at: int, sizes: list[int]) -> tuple[int, MachineInstruction]:
        for size in sizes:
            if at + size <= len(data):
                try:
                    return size, self.decode(data[at : at + size])
                except IsaError:
                    continue
        raise IsaError(f"byte {at}: {data[at : at + 16].hex(' ')} is no instruction of '{self.name}'")

    def _encoding(self, entry: Instruction) -> Encoding:
        if entry.encoding is None:
            raise IsaError(f"{entry.name} has no field encoding in {self.path}")
        return entry.encoding


def _check_fits(entry: Instruction, name: str, value: int) -> None:
    assert entry.encoding is not None
    try:
        entry.encoding.fields[name].place(value)
    except IsaError as error:
        raise IsaError(f"{entry.name}: {error}") from None
