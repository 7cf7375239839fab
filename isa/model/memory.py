"""The values that an ISA file names: its parameters, its memories, its bit layouts."""

from dataclasses import dataclass

from isa.encoding import Encoding


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
