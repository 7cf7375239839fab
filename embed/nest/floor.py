"""Cycles that no schedule of a task goes below, by arithmetic on all tile sizes that fit: `embed.nest.price`, where

- every input is kept from as far outside as its scratchpad allows for the tile size, which loads it the fewest times;
- loads stall as little as their number allows: those that may come at the end of an output tile do.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from embed.nest.price import MOST_PIECES
from embed.nest.task import Ints, Task
from embed.nest.tilings import Tilings


class Floor:
    """That of each loop order; 0 where there are too many tile sizes to look at."""

    def __init__(self, task: Task) -> None:
        self.task = task

    def least(self, order: Sequence[str]) -> int:
        """Cycles that no schedule with a loop order goes below; more than any has where none fits."""
        if self._cases is None:
            return 0
        found = [case.cycles(order, double) for case in self._cases for double in (True, False)]
        return min((int(cycles.min()) for cycles in found if len(cycles)), default=1 << 60)

    @cached_property
    def _cases(self) -> "list[_Case] | None":
        tilings = Tilings.fitting(self.task)
        if tilings is None:
            return None
        return [_Case(tilings.fits(buffers), buffers) for buffers in range(1, self.task.room.result_buffers + 1)]


@dataclass(frozen=True)
class _Case:
    """Tilings with room for so many tiles of results."""

    tilings: Tilings
    buffers: int

    def cycles(self, order: Sequence[str], double: bool) -> Ints:
        """The bound for the tilings of which the inputs fit, `double` or single."""
        tilings, room = self.tilings, self.tilings.task.room
        times = {tensor: self._times(tensor, order, double) for tensor in tilings.task.inputs}
        fits = np.logical_and.reduce([count > 0 for count in times.values()])
        loading = sum((self._loading(tensor, count) for tensor, count in times.items()), 0 * tilings.ones)
        busy = self._compute + (self._stalls(times) if double else loading)
        busy = busy + (self._storing if self.buffers == 1 else 0)
        starts = sum((count * tilings.parts[tensor] for tensor, count in times.items()), 0 * tilings.ones)
        fetching = room.fetch * (self._steps + (room.passes + 1) * self._results + starts)
        longest = np.maximum.reduce([busy, loading, self._storing, fetching])
        total: Ints = (room.launch + self._begun + longest + self._last)[fits]
        return total

    def _times(self, tensor: str, order: Sequence[str], double: bool) -> Ints:
        """How often the tiles of an input are loaded at least; 0 where they do not fit."""
        tilings, moving = self.tilings, self.tilings.task.moves(tensor)
        task = tilings.task
        room = np.minimum(task.room.words[tensor] // tilings.words[tensor], task.room.most_slots)
        slots, apart, kept = tilings.ones, tilings.ones, tilings.ones
        for name in reversed(order):
            if name in moving:
                slots = slots * tilings.counts[name]
            else:
                apart = apart * tilings.counts[name]
                kept = np.where(slots <= room, apart, kept)
        short = double & (slots > 1) & (room < 2)
        return np.where(short, 0, self._steps // kept)

    def _loading(self, tensor: str, times: Ints) -> Ints:
        """Cycles of all loads of an input."""
        tilings = self.tilings
        task = tilings.task
        again = times // tilings.count(name for name in task.extents if name in task.moves(tensor))
        starts = task.room.load_start * times * tilings.parts[tensor]
        found: Ints = starts + self._beats(tensor, tilings.reads[tensor] * again)
        return found

    def _stalls(self, times: Mapping[str, Ints]) -> Ints:
        """Cycles of loads that no computation hides, if as many as may be come at ends of output tiles."""
        tilings, room, rates = self.tilings, self.tilings.task.room, self.tilings.task.rates
        step = rates.invocation * tilings.points + room.pass_start
        end = step + rates.result * tilings.words[tilings.task.output] + room.passes * room.pass_start
        together: Ints = np.minimum.reduce(list(times.values()))
        ends = np.minimum(together, self._ends)
        total: Ints = ends * np.maximum(self._begun - end, 0) + (together - ends) * np.maximum(self._begun - step, 0)
        for tensor, count in times.items():
            total = total + (count - together) * np.maximum(self._each[tensor] - end, 0)
        return total

    @cached_property
    def _ends(self) -> Ints:
        """The most loads that come at ends of output tiles, of the input with the fewest."""
        task = self.tilings.task
        inside = [[n for n in task.extents if n in task.moves(t) - set(task.results)] for t in task.inputs]
        found: Ints = np.minimum.reduce([self._steps // self.tilings.count(names) for names in inside])
        return found

    @cached_property
    def _steps(self) -> Ints:
        return self.tilings.count(self.tilings.task.extents)

    @cached_property
    def _results(self) -> Ints:
        return self.tilings.count(self.tilings.task.results)

    @cached_property
    def _compute(self) -> Ints:
        task = self.tilings.task
        fixed = task.rates.invocation * task.embedding.invocations + task.rates.result * task.stored
        return fixed + task.room.pass_start * (self._steps + task.room.passes * self._results)

    @cached_property
    def _storing(self) -> Ints:
        task = self.tilings.task
        return task.rates.store * task.stored + task.room.store_burst * self.tilings.bursts

    @cached_property
    def _each(self) -> dict[str, Ints]:
        """Cycles of loading one whole tile of each input."""
        tilings, start = self.tilings, self.tilings.task.room.load_start
        return {t: start * tilings.parts[t] + self._beats(t, tilings.words[t]) for t in tilings.task.inputs}

    @cached_property
    def _begun(self) -> Ints:
        return sum(self._each.values(), 0 * self.tilings.ones)

    @cached_property
    def _last(self) -> Ints:
        """The store that nothing overlaps, cut into the number of pieces that is best."""
        task, words = self.tilings.task, self.tilings.words[self.tilings.task.output]
        room = task.room
        bursts = -(-words * task.rates.result_bytes // room.burst_bytes)
        stored = task.rates.store * words + room.store_burst * bursts
        each = (room.passes - 1) * room.pass_start
        most = MOST_PIECES if room.passes > 1 and room.result_buffers > 1 else 1
        found: Ints = np.minimum.reduce([-(-stored // pieces) + (pieces - 1) * each for pieces in range(1, most + 1)])
        return found

    def _beats(self, tensor: str, words: Ints) -> Ints:
        task = self.tilings.task
        return words * task.word_bytes(tensor) // task.rates.bus if task.rates.bus else 0 * words
