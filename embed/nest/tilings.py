"""All tile sizes of a task at once: the combinations that fit, and for each what `embed.nest.task` says of one."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise, product
from math import prod

import numpy as np
import numpy.typing as npt

from embed.nest.task import Ints, Task
from embed.window import Axis

Bools = npt.NDArray[np.bool_]

_MOST = 1 << 18
"""Combinations of tile sizes at most."""


@dataclass(frozen=True)
class Tilings:
    """Combinations of tile sizes; arrays have an entry for each, `places` those of the sizes among a loop's options."""

    task: Task
    places: Mapping[str, Ints]

    @classmethod
    def fitting(cls, task: Task) -> "Tilings | None":
        """Those of which one tile of every tensor fits, None where there are too many.

        Loops are added one by one, the others at their smallest tiles, so that what does not fit is left out early.
        """
        found = cls(task, {name: np.zeros(1, np.int64) for name in task.extents})
        for name in task.extents:
            options = len(task.options[name])
            wider = {other: np.repeat(place, options) for other, place in found.places.items()}
            found = cls(task, {**wider, name: np.tile(np.arange(options), found.number)}).fits(1)
            if found.number > _MOST:
                return None
        return found._copied()

    @cached_property
    def number(self) -> int:
        return len(next(iter(self.places.values())))

    @cached_property
    def counts(self) -> dict[str, Ints]:
        """Tiles along each loop."""
        return {name: -(-self.task.extents[name] // tiles) for name, tiles in self._tiles.items()}

    @cached_property
    def points(self) -> Ints:
        """Invocations of one tile."""
        return self._over(self._tiles.values())

    @cached_property
    def words(self) -> dict[str, Ints]:
        """Words of one tile of each tensor."""
        return {tensor: self._over(self._spans(tensor)) for tensor in self.task.layouts}

    @cached_property
    def reads(self) -> dict[str, Ints]:
        """Words that all tiles of each input read, every tile once."""
        task = self.task
        axes = {tensor: task.layouts[tensor].axes for tensor in task.inputs}
        return {tensor: self._over(self._table(axis, task.reads) for axis in own) for tensor, own in axes.items()}

    @cached_property
    def parts(self) -> dict[str, Ints]:
        """Load instructions of one tile of each input."""
        found = {}
        for tensor in self.task.inputs:
            total, boundaries = self.ones, 0 * self.ones
            for span, ends in zip(reversed(self._spans(tensor)), reversed(self._breaks(tensor)), strict=True):
                total = np.where(boundaries >= 2, total * span, total)
                boundaries = boundaries + ends
            found[tensor] = total
        return found

    @cached_property
    def bursts(self) -> Ints:
        """Bursts of storing the whole output."""
        task, axes = self.task, self.task.layouts[self.task.output].axes
        found = task.bursts(0, {name: sizes[0] for name, sizes in task.options.items()}) * self.ones
        for place, axis in enumerate(axes):
            each = self._table(axis, partial(self._bursts, place))
            found = np.where(self._span(axis) < axis.extent, each, found) if place else each
        return found

    def _bursts(self, place: int, _: Axis, tiles: Mapping[str, int]) -> int:
        return self.task.bursts(place, tiles)

    def fits(self, buffers: int) -> "Tilings":
        """Those of which so many tiles of results fit beside what shares their scratchpad, and one of each input."""
        room, words = self.task.room, self.words
        extra = sum((np.minimum(words[name], self.task.layouts[name].words) for name in room.shared), 0 * self.ones)
        chosen = buffers * words[self.task.output] + extra <= room.words[self.task.output]
        for tensor in self.task.inputs:
            chosen = chosen & (words[tensor] <= room.words[tensor])
        return self._only(chosen)

    def count(self, names: Iterable[str]) -> Ints:
        """Tiles along some loops together."""
        return self._over(self.counts[name] for name in names)

    def _copied(self) -> "Tilings":
        """Those without padding in front of the two axes that one copy moves."""
        chosen = self.ones > 0
        for tensor in self.task.inputs:
            breaks = self._breaks(tensor)
            for place, axis in enumerate(self.task.layouts[tensor].axes):
                if axis.before or axis.after:
                    chosen = chosen & (sum(breaks[place + 1 :], 0 * self.ones) <= 1)
        return self._only(chosen)

    def _only(self, chosen: Bools) -> "Tilings":
        return Tilings(self.task, {name: place[chosen] for name, place in self.places.items()})

    @cached_property
    def ones(self) -> Ints:
        return np.ones(self.number, np.int64)

    @cached_property
    def _tiles(self) -> dict[str, Ints]:
        return {name: np.array(self.task.options[name])[place] for name, place in self.places.items()}

    def _over(self, factors: Iterable[Ints]) -> Ints:
        return prod(factors, start=self.ones)

    def _span(self, axis: Axis) -> Ints:
        return sum((factor * (self._tiles[loop] - 1) for loop, factor in axis.loops), self.ones)

    def _spans(self, tensor: str) -> list[Ints]:
        return [self._span(axis) for axis in self.task.layouts[tensor].axes]

    def _breaks(self, tensor: str) -> list[Bools]:
        """Whether each axis does not merge with the one around it."""
        axes = self.task.layouts[tensor].axes
        padded = [False, *(bool(axis.before or axis.after) for axis in axes)]
        alone = [outer or own for outer, own in pairwise(padded)]
        return [
            (span < axis.extent) | np.full(self.number, ends)
            for span, axis, ends in zip(self._spans(tensor), axes, alone, strict=True)
        ]

    def _table(self, axis: Axis, function: Callable[[Axis, Mapping[str, int]], int]) -> Ints:
        """A function of an axis and of tile sizes along its loops."""
        loops = list(dict.fromkeys(loop for loop, _ in axis.loops))
        options = [self.task.options[loop] for loop in loops]
        first = {name: sizes[0] for name, sizes in self.task.options.items()}
        values = [function(axis, {**first, **dict(zip(loops, sizes, strict=True))}) for sizes in product(*options)]
        table = np.array(values, np.int64).reshape([len(sizes) for sizes in options])
        found: Ints = table[tuple(self.places[loop] for loop in loops)] * self.ones
        return found
