"""The sizes of one VTA configuration, read from the ISA file's parameters and memories."""

from dataclasses import dataclass
from math import prod

from isa.model import Isa


@dataclass(frozen=True, slots=True)
class Machine:
    """Block shape and scratchpad depths; every depth counts elements of that memory, as VTA's own fields do."""

    batch: int
    block_in: int
    block_out: int
    depths: dict[str, int]

    @classmethod
    def of(cls, target: Isa) -> "Machine":
        """Read the machine from an ISA with memories uop, inp, wgt, acc and parameters batch, block_in, block_out."""
        parameters = target.parameters
        depths = {name: target.memories[name].count or 0 for name in ("uop", "inp", "wgt", "acc", "out")}
        return cls(parameters["batch"], parameters["block_in"], parameters["block_out"], depths)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of one element of each memory."""
        return {
            "uop": (),
            "inp": (self.batch, self.block_in),
            "wgt": (self.block_out, self.block_in),
            "acc": (self.batch, self.block_out),
            "out": (self.batch, self.block_out),
        }

    @property
    def element_bytes(self) -> dict[str, int]:
        """Bytes of one element of each memory; external addresses are counted in these units."""
        widths = {"uop": 4, "inp": 1, "wgt": 1, "acc": 4, "out": 1}
        return {name: prod(shape) * widths[name] for name, shape in self.shapes.items()}
