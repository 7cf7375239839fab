"""A schedule: how the loop nest is cut into tiles, in which order they come, and what stays, whoever chose it."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Schedule:
    """`tiles` gives each tile loop's iterations per tile; `order` the loops from outermost to innermost.

    `buffers` tiles of each input and `result_buffers` tiles of the output are in flight at once; `slots` says where an
    input has another number: as many as its tiles, and each is loaded once, or more, so that loads run ahead. Tensors
    in `whole` are loaded in one piece before everything else. The epilogue of the last output tile is cut along one
    loop, `tail`, into pieces of so many iterations: the first results are stored while the others are still computed.
    With `reload` every step loads its tiles even where they are already. Around all loops one loop of the output may be
    cut into blocks of so many iterations, whole tiles: `block`. `cycles` is the modelled price, and `bound` what no
    schedule in the model goes below; 0 where nobody asked.
    """

    tiles: Mapping[str, int]
    order: tuple[str, ...]
    buffers: int
    result_buffers: int
    slots: Mapping[str, int] = field(default_factory=dict)
    whole: tuple[str, ...] = ()
    tail: tuple[str, int] | None = None
    reload: bool = False
    cycles: int = 0
    bound: int = 0
    block: tuple[str, int] | None = None

    def slots_of(self, tensor: str) -> int:
        """Tiles of an input that its scratchpad holds at once."""
        return self.slots.get(tensor, self.buffers)

    def __str__(self) -> str:
        cut = " ".join(f"{name}:{self.tiles[name]}" for name in self.order)
        slots = "".join(f" {name}*{count}" for name, count in self.slots.items())
        whole = f" whole={','.join(self.whole)}" if self.whole else ""
        tail = f" tail={self.tail[0]}:{self.tail[1]}" if self.tail else ""
        block = f" block={self.block[0]}:{self.block[1]}" if self.block else ""
        return f"{cut} buffers={self.buffers},{self.result_buffers}{slots}{whole}{tail}{block}"
