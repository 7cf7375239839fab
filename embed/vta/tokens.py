"""Dependency tokens: which instruction waits for which, while several tiles are in flight.

A queue between two engines carries tokens in order, so its k-th pop takes the k-th push. Whoever waits for the n-th
instruction of the other engine has then waited for all before it: a wait that an earlier one implies costs no token, a
push that nobody would pop is never made, and tokens balance.
"""

from dataclasses import dataclass, field

from embed.vta.stream import Draft


@dataclass(slots=True)
class InputTokens:
    """Loads of input tiles and the kernels that read them, each numbered from 0 in program order."""

    loads: list[Draft] = field(default_factory=list)
    kernels: list[Draft] = field(default_factory=list)
    awaited_load: int = -1
    awaited_kernel: int = -1

    @property
    def next_kernel(self) -> int:
        return len(self.kernels)

    def load(self, first: Draft, last: Draft, overwritten: int) -> int:
        """A tile's loads, from first to last, into words that kernel `overwritten` read last (-1: nobody).

        Returns the number of the load.
        """
        if overwritten > self.awaited_kernel:
            self.kernels[overwritten].flag("push_prev")
            first.flag("pop_next")
            self.awaited_kernel = overwritten
        self.loads.append(last)
        return len(self.loads) - 1

    def compute(self, first: Draft, last: Draft, newest: int) -> None:
        """A kernel from its first to its last instruction; `newest` is the latest load that it reads."""
        if newest > self.awaited_load:
            self.loads[newest].flag("push_next")
            first.flag("pop_prev")
            self.awaited_load = newest
        self.kernels.append(last)


@dataclass(slots=True)
class ResultTiles:
    """Output tiles: computed, then stored, in one piece or several."""

    buffers: int
    stores: list[Draft] = field(default_factory=list)
    count: int = 0
    stored: Draft | None = None
    half_stored: bool = False

    def begin(self, reset: Draft) -> int:
        """A new tile starts with `reset`; returns the number of its buffer."""
        if self.stored is not None:
            self.stores.append(self.stored)
        if self.count >= self.buffers:
            reset.flag("pop_next")
            self.stores[self.count - self.buffers].flag("push_prev")
        self.count += 1
        return (self.count - 1) % self.buffers

    def store(self, compute: Draft, first: Draft, last: Draft, more: bool) -> None:
        """Stores of what `compute` completed; `more` if the same words will change and be stored again."""
        if not compute.fields.get("push_next"):  # else an earlier store has waited for it
            compute.flag("push_next")
            first.flag("pop_prev")
        self.stored, self.half_stored = last, more

    def change(self, compute: Draft) -> None:
        """An instruction that changes a tile waits for the store of what it changes, if there was one."""
        if self.stored is not None and self.half_stored:
            self.stored.flag("push_prev")
            compute.flag("pop_next")
            self.half_stored = False

    def finish(self, finish: Draft) -> None:
        """FINISH waits for the last store."""
        assert self.stored is not None
        self.stored.flag("push_prev")
        finish.flag("pop_next")
