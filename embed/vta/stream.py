"""The instruction stream under construction: instructions whose token flags may still be set, and the micro-ops."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from embed.vta.machine import Machine
from embed.vta.roles import Job, Scratchpad
from isa.machine import MachineInstruction
from isa.model import Isa

_PORTABLE_UOPS = 2048
"""Upstream's Chisel core has 2048 micro-ops where the specification has 8192 (tvm-vta, CoreConfig)."""

Uop = tuple[int, int, int]


@dataclass(slots=True)
class Draft:
    """An instruction not yet final: later ones may make it push or pop a token."""

    name: str
    fields: dict[str, int]

    def flag(self, name: str) -> None:
        self.fields[name] = 1


@dataclass(slots=True)
class Stream:
    """Instructions in program order; `uops` is the image of the micro-op segment, whose first byte is at `uop_base`."""

    target: Isa
    machine: Machine
    drafts: list[Draft] = field(default_factory=list)
    uops: list[int] = field(default_factory=list)
    _images: dict[tuple[Uop, ...], int] = field(default_factory=dict)
    _resident: dict[tuple[Uop, ...], int] = field(default_factory=dict)
    _used: int = 0
    _evicted: bool = False

    def issue(self, name: str, **fields: int) -> Draft:
        draft = Draft(name, fields)
        self.drafts.append(draft)
        return draft

    def with_uops(self, name: str, uops: tuple[Uop, ...], fields: dict[str, int]) -> Draft:
        """Issue an instruction that runs `uops`, after loading them if they are not in the micro-op memory."""
        begin = self._place(uops)
        return self.issue(name, uop_bgn=begin, uop_end=begin + len(uops), **fields)

    def finished(self, uop_base: int) -> list[MachineInstruction]:
        """The final instructions; micro-op loads address the segment at word `uop_base`.

        If all micro-ops fit at once, one load at the start brings them: each stops the compute unit for its latency.
        """
        if self.uops and not self._evicted:
            whole = {"sram_base": 0, "dram_base": 0, "y_size": 1, "x_size": len(self.uops), "x_stride": len(self.uops)}
            self.drafts = [Draft(self._load, whole), *(draft for draft in self.drafts if draft.name != self._load)]
        for draft in self.drafts:
            if draft.name == self._load and draft.fields.get("x_size"):
                draft.fields["dram_base"] += uop_base
        return [MachineInstruction(draft.name, draft.fields) for draft in self.drafts]

    @property
    def image(self) -> npt.NDArray[np.uint32]:
        return np.array(self.uops, np.uint32)

    @property
    def capacity(self) -> int:
        """Micro-ops that every implementation holds."""
        return min(self.machine.depths[Scratchpad.UOP], _PORTABLE_UOPS) - 1

    @property
    def _load(self) -> str:
        return self.machine.roles.name(Job.LOAD, Scratchpad.UOP)

    def _place(self, uops: tuple[Uop, ...]) -> int:
        if uops in self._resident:
            return self._resident[uops]
        if self._used + len(uops) > self.capacity:
            self._resident.clear()
            self._used, self._evicted = 0, True
        begin = self._used
        sizes = {"y_size": 1, "x_size": len(uops), "x_stride": len(uops)}
        self.issue(self._load, sram_base=begin, dram_base=self._image(uops), **sizes)
        self._resident[uops] = begin
        self._used += len(uops)
        return begin

    def _image(self, uops: tuple[Uop, ...]) -> int:
        if uops not in self._images:
            self._images[uops] = len(self.uops)
            for dst, src, wgt in uops:
                fields = {"dst": dst, "src": src, "wgt": wgt}
                self.uops.append(self.target.encode_format(self.machine.roles.uop_format, fields))
        return self._images[uops]
