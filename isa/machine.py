"""One encoded machine instruction, by the name of its entry in the ISA file."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(slots=True)  # not frozen: kernels make them by the hundred, and frozen ones take twice as long
class MachineInstruction:
    """An entry of the ISA file with values for its fields; a field left out is zero. Never changed once made."""

    name: str
    fields: Mapping[str, int]

    def __getitem__(self, name: str) -> int:
        return self.fields.get(name, 0)

    def __str__(self) -> str:
        return " ".join([self.name, *(f"{key}={value}" for key, value in self.fields.items() if value)])
