"""Dependency tokens: which instruction waits for which, while several tiles are in flight.

Input tiles come in groups, the loads between two kernels. With B buffers group g overwrites what group g-B brought, so
its first load waits until the last kernel of group g-B is done. Results alike: with R result buffers, tile t is reset
only after tile t-R is stored. A push that nobody will pop is never made, so tokens balance.
"""

from dataclasses import dataclass, field

from embed.vta.stream import Draft


@dataclass(slots=True)
class InputGroups:
    """Loads and the kernels that read them."""

    buffers: int
    last_kernels: list[Draft] = field(default_factory=list)
    open_load: Draft | None = None
    kernel: Draft | None = None
    count: int = 0

    def load(self, draft: Draft) -> None:
        """A load of the group that the next kernel reads."""
        if self.open_load is None:
            self._begin(draft)
        self.open_load = draft

    def _begin(self, draft: Draft) -> None:
        if self.kernel is not None:
            self.last_kernels.append(self.kernel)
        if self.count >= self.buffers:
            draft.flag("pop_next")
            self.last_kernels[self.count - self.buffers].flag("push_prev")
        self.count += 1

    def compute(self, first: Draft, last: Draft) -> None:
        """A kernel from its first to its last instruction."""
        if self.open_load is not None:
            self.open_load.flag("push_next")
            first.flag("pop_prev")
            self.open_load = None
        self.kernel = last


@dataclass(slots=True)
class ResultTiles:
    """Output tiles: computed, then stored."""

    buffers: int
    stores: list[Draft] = field(default_factory=list)
    count: int = 0
    stored: Draft | None = None

    def begin(self, reset: Draft) -> int:
        """A new tile starts with `reset`; returns the number of its buffer."""
        if self.count >= self.buffers:
            reset.flag("pop_next")
            self.stores[self.count - self.buffers].flag("push_prev")
        self.count += 1
        self.stored = None
        return (self.count - 1) % self.buffers

    def overwrite(self, compute: Draft) -> None:
        """An instruction that changes a tile already stored once waits for that store."""
        if self.stored is not None:
            self.stored.flag("push_prev")
            compute.flag("pop_next")
            self.stored = None

    def store(self, compute: Draft, first: Draft, last: Draft) -> None:
        """Stores of the tile that `compute` completed."""
        compute.flag("push_next")
        first.flag("pop_prev")
        self.stored = last

    def end(self) -> None:
        """The tile is stored in full."""
        assert self.stored is not None
        self.stores.append(self.stored)

    def finish(self, finish: Draft) -> None:
        """FINISH waits for the last store."""
        self.stores[-1].flag("push_prev")
        finish.flag("pop_next")
