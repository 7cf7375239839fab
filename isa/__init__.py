"""What hardware can do: ISA files, their encodings, and an interpreter of any instruction."""

from isa.errors import IsaError
from isa.loader import load, loads, names
from isa.machine import MachineInstruction
from isa.model import Isa

__all__ = ["Isa", "IsaError", "MachineInstruction", "load", "loads", "names"]
