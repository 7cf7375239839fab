"""An ISA file, loaded."""

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from isa.c_language import CLanguage
from isa.errors import IsaError, listing
from isa.features import cpu_features
from isa.machine import MachineInstruction
from isa.model import fixed_width
from isa.model.instruction import Instruction
from isa.model.memory import Format, Memory, Parameter
from isa.model.timing import Timing

if TYPE_CHECKING:
    from isa.x86 import Codec as X86Codec


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

    @property
    def micro_operations(self) -> Memory | None:
        """The memory of micro-operations, whose words have a format; None where there is none."""
        return next((memory for memory in self.memories.values() if memory.format), None)

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
        if entry.sequence:
            parts = "; ".join(map(str, entry.sequence))
            raise IsaError(f"{entry.name} is several instructions, which have the bytes: {parts}")
        if entry.form:
            return self.x86.encode(instruction)
        return self._fixed_width.encode(instruction)

    def values(self, instruction: MachineInstruction) -> dict[str, int]:
        """The value of every field, fixed and absent ones included; raises IsaError like `encode`."""
        return self.instruction(instruction.name).values(instruction.fields)

    def decode(self, data: bytes) -> MachineInstruction:
        """The instruction these bytes are, with every field its entry leaves open; raises IsaError if there is none."""
        return self._codec.decode(data)

    def decode_all(self, data: bytes) -> Iterator[MachineInstruction]:
        """The instructions of a stream, in order; raises IsaError with the offset of bytes that are none."""
        return self._codec.decode_all(data)

    def disassemble(self, data: bytes) -> str:
        """A stream as text, one line per instruction: its name and the fields that are not zero.

        x86 code is in Intel's syntax and may hold instructions that are no entries.
        """
        return self._codec.disassemble(data)

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
        entries = self.instructions.values()
        return any(entry.form for entry in entries) and not any(entry.encoding for entry in entries)

    @cached_property
    def x86(self) -> "X86Codec":
        """Encoder and decoder of the entries in the SDM's notation."""
        from isa.x86 import Codec  # only now: iced-x86 takes its time to load

        return Codec({entry.name: entry.form for entry in self.instructions.values() if entry.form})

    @cached_property
    def _fixed_width(self) -> fixed_width.Codec:
        return fixed_width.Codec(self.name, self.instructions)

    @property
    def _codec(self) -> "fixed_width.Codec | X86Codec":
        return self.x86 if self.is_x86 else self._fixed_width

    def missing_features(self, names: Iterable[str] | None = None) -> tuple[str, ...]:
        """The CPU features that entries (all of them, or those named) need and this machine lacks.

        Raises UserError where the features of the machine cannot be found out.
        """
        entries = self.instructions.values() if names is None else map(self.instruction, names)
        needed = dict.fromkeys(feature for entry in entries for feature in entry.requires)
        return tuple(feature for feature in needed if feature not in cpu_features())
