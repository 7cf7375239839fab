"""Branches of x86-64 in two or in more bytes, whichever their distances need."""

from collections.abc import Mapping, Sequence
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


@dataclass(frozen=True, slots=True)
class Jump:
    """A branch to a label, and the instruction before it that sets the flags, if there is one."""

    kind: Kind
    label: str
    before: bytes = b""

    def coded(self, distance: int, far: bool) -> bytes:
        """The bytes."""
        return self.before + self.kind.value[far] + distance.to_bytes(4 if far else 1, "little", signed=True)


def bind(chunks: list[bytes], jumps: Mapping[int, Jump], targets: Mapping[int, int]) -> None:
    """Put branches, by their places among the chunks of code, in there; `targets` are the chunks that they go to.

    All start short, and those that turn out to reach further grow, until none does.
    """
    far: set[int] = set()
    more = set(jumps)
    while more:
        for at in more:
            chunks[at] = jumps[at].coded(0, at in far)
        distances = _distances(chunks, targets)
        more = {at for at, distance in distances.items() if not is_short(distance)} - far
        far |= more
    for at, jump in jumps.items():
        chunks[at] = jump.coded(distances[at], at in far)


def _distances(chunks: Sequence[bytes], targets: Mapping[int, int]) -> dict[int, int]:
    """Bytes from the end of each branch to the chunk that it goes to."""
    starts = [0, *accumulate(map(len, chunks))]
    return {at: starts[to] - starts[at + 1] for at, to in targets.items()}
