"""The instructions that bring the words of one operand into registers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from embed.cpu.arrays.streams import Stream
from embed.cpu.assembler.bases import holds, nearest
from embed.cpu.assembler.program import Filled, Slots
from embed.cpu.lowering.roles import Roles

Word = tuple[int, int, bool]
"""What one load fetches: a displacement, how many neighbouring groups from there on, and whether it is masked."""

Place = tuple[Word, int]
"""A word, and which of its groups."""


def moved(word: Word, move: Word) -> Word:
    """The word of a point at a step, from the words of the point and of the step."""
    disp, groups, masked = word
    return disp + move[0], groups * move[1], masked


@dataclass
class Loads:
    """Of the operand that `found` reaches: `bases` are its pointers and where they stand, `mask` the mask register."""

    found: Stream
    roles: Roles
    slots: Mapping[str, Slots]
    mask: int
    bases: list[tuple[int, int]]
    entries: dict[tuple[int, bool], Slots] = field(default_factory=dict)

    @property
    def pointer(self) -> int:
        """The register of its first base."""
        return self.bases[0][0]

    @property
    def limited(self) -> bool:
        """Whether the encodings of its loads hold some displacements only."""
        return any(self.slots[name].disps for name in self.roles.moves)

    def entry(self, groups: int, masked: bool) -> Slots:
        """The entry that brings such words, and its fields; worked out once."""
        key = groups, masked
        if key not in self.entries:
            part = self.roles.parts.get(self.found.bytes * groups, self.roles.load)
            wide = self.roles.load_masked if masked else part
            self.entries[key] = self.slots[self.roles.spread if self.found.spread else wide]
        return self.entries[key]

    def load(self, register: int, word: Word) -> Filled:
        """The load of a word, from the base that is near it."""
        disp, groups, masked = word
        slots = self.entries.get((groups, masked)) or self.entry(groups, masked)
        base, disp = nearest(self.bases, slots.disps, disp)
        return (slots.masked, register, base, disp, self.mask) if masked else (slots.fields, register, base, disp)

    def pair(self, register: int, word: Word) -> Filled:
        """The load of a word and its neighbour into two registers in a row."""
        slots = self.slots[self.roles.pair]
        return slots.fields, register, *nearest(self.bases, slots.disps, word[0])

    @property
    def paired_bytes(self) -> int:
        """The bytes of a word that fills a register, so that a load can bring two; else 0."""
        return (
            0 if not self.roles.pair or self.found.spread or self.found.bytes in self.roles.parts else self.found.bytes
        )

    def is_pair(self, word: Word, following: Sequence[Word]) -> bool:
        """Whether one load brings a word and the one that follows."""
        size = self.paired_bytes
        disp, groups, masked = word
        if not size or masked or list(following) != [(disp + size, groups, False)]:
            return False
        return any(holds(self.slots[self.roles.pair].disps, disp - offset) for _, offset in self.bases)
