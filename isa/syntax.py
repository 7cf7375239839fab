"""Assembler text of one instruction, from the `syntax` of its entry.

`{acc}` is the operand's register, named as its memory (`v3`), or the number of a field; `{dst:q}` names it `q3`,
`{dst+1:q}` the one after it, `{dst:}` is the number alone; `{base:sp}` is `x3`, or `sp` for 31; `{{` `}}` are braces.
"""

import re
from collections.abc import Mapping

from isa.machine import MachineInstruction
from isa.model import FIELD, Instruction, Isa

_HOLE = re.compile(r"\{\{|\}\}|\{([A-Za-z_][\w.]*)(?:\+(\d+))?(?::(\w*))?\}")
_ZERO = {"x": "xzr", "w": "wzr", "sp": "sp"}
_FILE = {"sp": "x"}


def text_of(target: Isa, instruction: MachineInstruction) -> str:
    """Assembler text; raises IsaError for an unknown name or field."""
    entry = target.instruction(instruction.name)
    return _filled(entry, target.values(instruction))


def _filled(entry: Instruction, values: Mapping[str, int]) -> str:
    def fill(match: re.Match[str]) -> str:
        if not match[1]:
            return match[0][0]
        number = values[match[1]] + int(match[2] or 0)
        kind = _memory(entry, match[1]) if match[3] is None else match[3]
        return _ZERO[kind] if kind in _ZERO and number == 31 else f"{_FILE.get(kind, kind)}{number}"

    return _HOLE.sub(fill, entry.syntax)


def _memory(entry: Instruction, name: str) -> str:
    """The register file of an operand, empty for a plain number."""
    operand = entry.operands.get(name)
    return "" if operand is None or operand.memory == FIELD else operand.memory
