"""The sizes of one VTA configuration and the roles of its entries, read from the ISA file."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from embed.vta.roles import Roles, Scratchpad, roles_of
from isa.model import Isa


@dataclass(frozen=True)
class Machine:
    """Block shape and scratchpad depths; every depth counts elements of that memory, as VTA's own fields do."""

    batch: int
    block_in: int
    block_out: int
    depths: Mapping[Scratchpad, int]
    roles: Roles

    @classmethod
    def of(cls, target: Isa) -> "Machine":
        """Read the machine from an ISA; raises UserError where the file lacks what VTA needs."""
        roles = roles_of(target)
        depths = {pad: target.memories[name].count or 0 for name, pad in roles.memories.items()}
        batch, block_in = roles.elements[Scratchpad.INP].shape
        block_out, _ = roles.elements[Scratchpad.WGT].shape
        return cls(batch, block_in, block_out, {**depths, Scratchpad.OUT: depths[Scratchpad.ACC]}, roles)

    @cached_property
    def shapes(self) -> dict[Scratchpad, tuple[int, ...]]:
        """Shape of one element of each memory."""
        return {pad: element.shape for pad, element in self.roles.elements.items()}

    @cached_property
    def element_bytes(self) -> dict[Scratchpad, int]:
        """Bytes of one element of each memory; external addresses are counted in these units."""
        return {pad: element.bytes for pad, element in self.roles.elements.items()}
