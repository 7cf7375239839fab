"""What an ISA file says, as values: memories, formats, instructions, timing."""

from isa.model.instruction import ADDRESS_PARTS, FIELD, Instruction, Mask, Operand, Part, Repeat
from isa.model.isa import Isa
from isa.model.memory import Format, Memory, Parameter
from isa.model.timing import Cost, MicroOperations, Timing

__all__ = [
    "ADDRESS_PARTS",
    "FIELD",
    "Cost",
    "Format",
    "Instruction",
    "Isa",
    "Mask",
    "Memory",
    "MicroOperations",
    "Operand",
    "Parameter",
    "Part",
    "Repeat",
    "Timing",
]
