"""Machine code of the entries with field lists, both ways."""

from collections.abc import Iterator, Mapping

from isa.encoding import Encoding
from isa.errors import IsaError
from isa.machine import MachineInstruction
from isa.model.instruction import Instruction


class Codec:
    """Encoder and decoder of the entries of the ISA `name`."""

    def __init__(self, name: str, entries: Mapping[str, Instruction]) -> None:
        self._name = name
        self._entries = entries
        rows = [(entry, entry.encoding, *entry.fixed_bits) for entry in entries.values() if entry.encoding]
        self._rows: list[tuple[Instruction, Encoding, int, int]] = sorted(rows, key=lambda row: -row[2].bit_count())
        """(entry, its encoding, mask, value), most fixed bits first: an alias comes before what it is an alias of."""
        self._sizes = sorted({encoding.size // 8 for _, encoding, _, _ in self._rows})

    def encode(self, instruction: MachineInstruction) -> bytes:
        """The bytes of an instruction; raises IsaError for an unknown field or a value that does not fit."""
        entry = self._entries[instruction.name]
        if entry.encoding is None:
            raise IsaError(f"{entry.name} has no field encoding in '{self._name}'")
        try:
            bits = entry.encoding.pack(entry.values(instruction.fields) if entry.fixed else instruction.fields)
        except IsaError:
            entry.values(instruction.fields)  # says more
            raise
        return bits.to_bytes(entry.encoding.size // 8, "little")

    def decode(self, data: bytes) -> MachineInstruction:
        """The instruction these bytes are; raises IsaError if it is no entry."""
        bits = int.from_bytes(data, "little")
        for entry, encoding, mask, value in self._rows:
            if encoding.size != len(data) * 8 or bits & mask != value:
                continue
            found = MachineInstruction(entry.name, {name: encoding.fields[name].read(bits) for name in entry.fields})
            if encoding.holds({**entry.fixed, **found.fields}, bits):
                return found
        raise IsaError(f"{data.hex(' ')} is no instruction of '{self._name}'")

    def decode_all(self, data: bytes) -> Iterator[MachineInstruction]:
        """The instructions of a stream, in order; raises IsaError with the offset of bytes that are no entry."""
        at = 0
        while at < len(data):
            size, found = self._first(data, at)
            yield found
            at += size

    def disassemble(self, data: bytes) -> str:
        """A stream as text, one line per instruction: its name and the fields that are not zero."""
        return "\n".join(map(str, self.decode_all(data)))

    def _first(self, data: bytes, at: int) -> tuple[int, MachineInstruction]:
        for size in self._sizes:
            if at + size <= len(data):
                try:
                    return size, self.decode(data[at : at + size])
                except IsaError:
                    continue
        raise IsaError(f"byte {at}: {data[at : at + 16].hex(' ')} is no instruction of '{self._name}'")
