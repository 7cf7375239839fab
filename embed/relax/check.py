"""Whether a rewritten operator is the user's: each of its points once, and added points that change nothing.

It knows the map of points and the two operators, not the relaxations.
"""

from collections.abc import Iterator, Mapping
from math import prod

import numpy as np

from dataflow.computation import Computation
from embed.binding import named_accesses
from embed.relax.rewritten import Array, Rewritten, values


def lost_or_doubled(rewritten: Rewritten) -> str | None:
    """Dims of the user's that the rewritten box does not cover point by point, None if it covers all.

    Dims whose functions share no dim are independent, so each group of others is enumerated by itself.
    """
    extents = rewritten.user.main.extents
    for group in _groups(rewritten):
        own = {dim: function for dim, function in rewritten.functions.items() if not group.isdisjoint(function.dims)}
        points = _box(rewritten.operator.main, group)
        number: Array = np.zeros((), np.int64)
        real = np.ones((), bool)
        for dim, function in own.items():
            place = values(function, points)
            real = real & (place >= 0) & (place < extents[dim])
            number = number * extents[dim] + place
        for zero in rewritten.zeros:
            if not group.isdisjoint(zero.dims):
                real = real & (values(zero, points) == 0)
        number, real = np.broadcast_arrays(number, real)
        if not np.array_equal(np.sort(number[real]), np.arange(prod(extents[dim] for dim in own))):
            return ", ".join(own)
    return None


def wrong_access(
    rewritten: Rewritten, points: Mapping[str, Array], found: Mapping[str, Array], real: Array
) -> str | None:
    """An access that is another element at a real point than the user's, or that an added point multiplies no zero.

    `points` are in the rewritten box, `found` the user's coordinates of those that are `real`.
    """
    outside = np.zeros((), bool)
    asked = named_accesses(rewritten.user.main)
    for name, read in named_accesses(rewritten.operator.main).items():
        own = read.index[len(rewritten.parts) :] if name == rewritten.operator.main.output.tensor else read.index
        places = [values(index, points) for index in own]
        wanted = [values(index, found) for index in asked[name].index]
        shape = rewritten.user.main.tensor(read.tensor).shape
        for place, want, size in zip(places, wanted, shape, strict=True):
            if (real & (place != want)).any():
                return f"{read} is another element than {asked[name]}"
            outside = outside | (place < 0) | (place >= size)
    return None if (real | outside).all() else f"an added point of {rewritten} multiplies no zero"


def _groups(rewritten: Rewritten) -> Iterator[set[str]]:
    """Dims of the rewritten box that functions of the user's dims or zeros connect; the user's own are left out."""
    groups: list[set[str]] = []
    for function in (*rewritten.functions.values(), *rewritten.zeros):
        joined = set(function.dims)
        apart = [group for group in groups if group.isdisjoint(joined)]
        joined.update(*(group for group in groups if not group.isdisjoint(joined)))
        groups = [*apart, joined]
    asked, placed = rewritten.user.main.extents, rewritten.operator.main.extents
    for group in groups:
        if len(group) > 1 or any(asked.get(dim) != placed[dim] for dim in group):
            yield group


def _box(main: Computation, group: set[str]) -> dict[str, Array]:
    """Every point of the box of some dims, each along an axis of its own."""
    dims = [dim for dim in main.extents if dim in group]
    return {
        dim: np.arange(main.extents[dim]).reshape([-1 if axis == place else 1 for axis in range(len(dims))])
        for place, dim in enumerate(dims)
    }
