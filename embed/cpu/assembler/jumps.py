"""Branches of x86-64 in two or in more bytes, whichever their distances need."""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from itertools import accumulate

from isa.rex import is_short


class Kind(Enum):
    """When a branch is taken: the opcodes with a distance of one byte and of four (Intel SDM, Jcc and JMP)."""

    ALWAYS = (b"\xeb", b"\xe9")
    LESS = (b"\x7c", b"\x0f\x8c")
    ZERO = (b"\x74", b"\x0f\x84")
    OTHER = (b"\x75", b"\x0f\x85")


@dataclass(slots=True)  # as items of a program
class Jump:
    """A branch to a label, and the instruction before it that sets the flags, if there is one."""

    kind: Kind
    label: str
    before: bytes = b""

    def size(self, far: bool) -> int:
        """How many bytes it takes."""
        return len(self.before) + (len(self.kind.value[1]) + 4 if far else 2)

    def coded(self, distance: int, far: bool) -> bytes:
        """The bytes."""
        return self.before + self.kind.value[far] + distance.to_bytes(4 if far else 1, "little", signed=True)


def bind(chunks: list[bytes], jumps: Mapping[int, Jump], targets: Mapping[int, int]) -> None:
    """Put branches, by their places among the chunks of code, in there; `targets` are the chunks that they go to.

    All start short, and those that turn out to reach further grow, until none does. Places are in order.
    """
    places = list(jumps)
    starts = [0, *accumulate(map(len, chunks))]
    fixed = [starts[targets[at]] - starts[at] for at in places]
    passed = [bisect_left(places, targets[at]) for at in places]
    far = [False] * len(places)
    growing = True
    while growing:
        grown = [0, *accumulate([jumps[at].size(is_far) for at, is_far in zip(places, far, strict=True)])]
        distances = [fixed[own] + grown[to] - grown[own + 1] for own, to in enumerate(passed)]
        growing = False
        for own, distance in enumerate(distances):
            if not far[own] and not is_short(distance):
                far[own] = growing = True
    for at, distance, is_far in zip(places, distances, far, strict=True):
        chunks[at] = jumps[at].coded(distance, is_far)
