"""VEX and EVEX instructions filled in by position: kernels have them by the hundred, of a few entries.

What is filled in are tuples: something that tells of which entry, and behind it a number for each field.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import repeat
from operator import getitem, xor
from typing import Any

from isa.vex import Address, Flips, Template

Moves = Mapping[int, Sequence[int]]
"""The bytes that pointer registers moved by, time after time."""


@dataclass(frozen=True, slots=True)
class OnRegisters:
    """An instruction on registers; `flips` are in the order of its numbers."""

    template: Template
    flips: Sequence[Flips]

    def encode(self, filled: tuple[Any, ...]) -> bytes:
        """The bytes; raises KeyError for a register that there is not."""
        code = reduce(xor, map(getitem, self.flips, filled[1:]), self.template.code)
        return self.template.head(code, self.template.size)

    def moved(self, filled: tuple[Any, ...], _: Moves) -> Iterable[bytes]:
        """The same again and again."""
        return repeat(self.encode(filled))


@dataclass(frozen=True, slots=True)
class OnMemory:
    """A move between a register and memory; its numbers: register, pointer, displacement, and a mask if it has one."""

    template: Template
    address: Address
    registers: Flips
    masks: Flips

    def encode(self, filled: tuple[Any, ...]) -> bytes:
        """The bytes; raises KeyError for a register that there is not, ValueError for too far a displacement."""
        code, size, alone = self._based(filled)
        mode, tail = self.address.displaced(filled[3], alone)
        return self.template.head(code | mode << self.address.modrm, size) + tail

    def moved(self, filled: tuple[Any, ...], moves: Moves) -> Iterable[bytes]:
        """The same once for each number of bytes that its pointer moved by."""
        code, size, alone = self._based(filled)
        heads: dict[int, bytes] = {}
        found = []
        for move in moves[filled[2]]:
            mode, tail = self.address.displaced(filled[3] + move, alone)
            if mode not in heads:
                heads[mode] = self.template.head(code | mode << self.address.modrm, size)
            found.append(heads[mode] + tail)
        return found

    def _based(self, filled: tuple[Any, ...]) -> tuple[int, int, bool]:
        """The code but for the displacement, its size, and whether it can do without one."""
        flips, size, alone = self.address.bases[filled[2]]
        code = self.template.code ^ flips ^ self.registers[filled[1]]
        return code if len(filled) == 4 else code ^ self.masks[filled[4]], size, alone


Filler = OnRegisters | OnMemory


def filler(template: Template, names: Sequence[str]) -> Filler:
    """The template for numbers of these fields."""
    address = template.address
    if address is None:
        return OnRegisters(template, [_flips(template, name) for name in names])
    assert tuple(names[1:3]) == (address.base, address.disp)
    return OnMemory(template, address, _flips(template, names[0]), _flips(template, names[3]) if names[3:] else {})


def _flips(template: Template, name: str) -> Flips:
    """What a field flips wherever it stands."""
    found = [flips for field, flips in template.registers if field == name]
    return {number: reduce(xor, (flips[number] for flips in found)) for number in (found[0] if found else ())}
