"""A small problem that exercises the same embedding: fewer runs of each digit, the last as full as it was."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod

import numpy as np

from deepbench.problems import Problem
from embed.embedding import Digit, Embedding

_LOOP = 2
_CHOICES = {1: 300, 2: 64, 3: 24}
_FEW_CHOICES = 10
_SPATIAL = (("y", "h", "r", 0), ("x", "w", "s", 1))


def reduced(problem: Problem, embedding: Embedding) -> Problem:
    """The problem with two iterations of each loop and about two runs of each digit.

    Where small extents allow it, a digit's last run has as many points as in the whole problem.
    """
    sizes = dict(problem.sizes)
    if problem.op == "gemm":
        smaller = _smaller(embedding, {})
        return replace(problem, sizes=tuple({**sizes, **{dim: smaller[dim] for dim in "mnk"}}.items()))
    steps = {out: (_along(sizes["stride"], axis), _along(sizes["pad"], axis)) for out, _, _, axis in _SPATIAL}
    smaller = _smaller(embedding, _enough(_smaller(embedding, {}), steps))
    if not _reaches(smaller, steps):
        taps = {tap: int(str(sizes[tap])) for *_, tap, _ in _SPATIAL}
        smaller = _smaller(embedding, taps | _enough(taps, steps))
    sizes |= {dim: smaller[dim] for dim in ("n", "k", "c", "r", "s")}
    if "groups" in sizes:
        groups = smaller.get("g", 1)
        sizes |= {"groups": groups, "k": groups * smaller["k"], "c": groups * smaller["c"]}
    for out, size, tap, _ in _SPATIAL:
        stride, pad = steps[out]
        sizes[size] = (smaller[out] - 1) * stride + smaller[tap] - 2 * pad
    return replace(problem, sizes=tuple(sizes.items()))


def _enough(taps: Mapping[str, int], steps: Mapping[str, tuple[int, int]]) -> dict[str, int]:
    """The least outputs along each axis for these taps, with the stride and padding of `steps`."""
    return {out: _places(taps[tap], *steps[out]) for out, _, tap, _ in _SPATIAL}


def _reaches(found: Mapping[str, int], steps: Mapping[str, tuple[int, int]]) -> bool:
    """Whether the input has an element along each axis."""
    return all(found[out] >= least for out, least in _enough(found, steps).items())


def _places(taps: int, stride: int, pad: int) -> int:
    """Outputs along an axis, at least, whose input has an element."""
    return max(1, 1 - (taps - 2 * pad - 1) // stride)


def _smaller(embedding: Embedding, least: Mapping[str, int]) -> dict[str, int]:
    """Extents of all dims of the user's operator; some have a least one.

    A dim that was rewritten is as much shorter as its outermost part; the other parts stay.
    """
    relaxed = embedding.relaxed
    if relaxed is None:
        return _shorter(embedding, least)
    extents, asked = embedding.extents, embedding.asked.main.extents
    ordered = {dim: sorted(place.terms, key=lambda term: term[1]) for dim, place in relaxed.places}
    outermost = {dim: terms[-1] for dim, terms in ordered.items() if terms[0][1] > 0}
    kept = {new: extents[new] for new in extents if new not in asked}
    kept = {new: extent for new, extent in kept.items() if new not in dict(outermost.values())}
    shorter = _shorter(embedding, {**least, **kept})
    found = {dim: shorter.get(dim, extent) for dim, extent in asked.items()}
    for dim, (outer, step) in outermost.items():
        size = asked[dim] - step * (extents[outer] - shorter[outer])
        found[dim] = size if size >= least.get(dim, 1) else asked[dim]
    return found


def _shorter(embedding: Embedding, least: Mapping[str, int]) -> dict[str, int]:
    """Extents of all dims; some have a least one."""
    extents = embedding.extents
    found = {dim: max(min(extent, _LOOP), least.get(dim, 1)) for dim, extent in extents.items()}
    for digit in embedding.digits:
        found |= _digit(digit, [extents[dim] for dim in digit.dims], [least.get(dim, 1) for dim in digit.dims])
    return found


def _digit(digit: Digit, extents: Sequence[int], least: Sequence[int]) -> dict[str, int]:
    """The extents of a digit's dims with the smallest product that is a run or more and the same modulo the radix."""
    most = _CHOICES.get(len(extents), _FEW_CHOICES)
    choices = [
        np.array(sorted({*range(low, min(extent, low + most) + 1), extent}), np.int64)
        for extent, low in zip(extents, least, strict=True)
    ]
    sizes = np.ones((), np.int64)
    for values in choices:
        sizes = np.multiply.outer(sizes, values)
    size = prod(extents)
    enough = min(size, 2 * digit.radix if size % digit.radix == 0 else digit.radix + 1)
    same = (sizes >= enough) & (sizes % digit.radix == size % digit.radix)
    place = np.unravel_index(int(np.where(same, sizes, np.iinfo(np.int64).max).argmin()), sizes.shape)
    return {dim: int(values[i]) for dim, values, i in zip(digit.dims, choices, place, strict=True)}


def _along(value: object, axis: int) -> int:
    return int(value[axis]) if isinstance(value, tuple) else int(str(value))
