"""Pointers beside a stream's own, so that what lies too far for a displacement needs no arithmetic of its own."""

from collections.abc import Iterable, Sequence

_WORTH = 3
"""A base moves with every trip of a loop; it must save more instructions than that."""

Ranges = tuple[range, ...]
"""The displacements that a move's encodings hold; empty for one that holds them all."""


def holds(ranges: Ranges, disp: int) -> bool:
    """Whether a move can have a displacement."""
    return not ranges or any(disp in each for each in ranges)


def offsets(accesses: Iterable[tuple[Ranges, int]], room: int) -> list[int]:
    """Where a stream's own pointer and at most `room` more stand, in bytes, to reach most of `accesses`."""
    found = [0]
    far = sorted({access for access in accesses if not holds(*access)}, key=lambda access: access[1])
    while far and len(found) <= room:
        ranges, disp = far[0]
        base = disp - min(each.start for each in ranges)
        reached = [access for access in far if holds(access[0], access[1] - base)]
        if len(reached) >= _WORTH:
            found.append(base)
        far = [access for access in far[1:] if len(reached) < _WORTH or access not in reached]
    return found


def nearest(bases: Sequence[tuple[int, int]], ranges: Ranges, disp: int) -> tuple[int, int]:
    """The register to use and the displacement from it, of bases (register, offset); the first one if none is near."""
    register, offset = bases[0]
    if not ranges:
        return register, disp - offset
    near = ((register, disp - offset) for register, offset in bases if holds(ranges, disp - offset))
    return next(near, (register, disp - offset))
