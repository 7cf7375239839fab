"""Random instructions of an entry: fields that its encoding can hold, extremes as likely as anything else."""

import numpy as np

from isa.encoding import Field
from isa.machine import MachineInstruction
from isa.model import FIELD, Instruction, Isa

_LARGEST_DISP = 1 << 31
_NO_INDEX = 4
"""rsp: x86 has no such index register (SDM volume 2, table 2-2)."""


def draw_fields(target: Isa, entry: Instruction, random: np.random.Generator) -> MachineInstruction:
    """An instruction with random values in all its fields."""
    if entry.encoding is None:
        return MachineInstruction(entry.name, _operand_fields(target, entry, random))
    fields = {name: _value(entry.encoding.fields[name], random) for name in entry.fields}
    return MachineInstruction(entry.name, fields)


def _value(field: Field, random: np.random.Generator) -> int:
    low, high = field.limits
    drawn = [low, high, low + _below(high - low + 1, random)]
    value = drawn[int(random.integers(3))]
    return value - value % field.step if value - value % field.step >= low else low


def _below(count: int, random: np.random.Generator) -> int:
    """A number below `count`, which may be wider than numpy's."""
    return int.from_bytes(random.bytes(count.bit_length() // 8 + 2), "little") % count


def _operand_fields(target: Isa, entry: Instruction, random: np.random.Generator) -> dict[str, int]:
    """Registers, pointers, immediates and choices of an entry without fields of its own; registers all differ."""
    fields: dict[str, int] = {}
    taken: dict[str, list[int]] = {}
    for operand in entry.operands.values():
        if operand.memory == FIELD:
            fields[operand.name] = int(random.integers(0, 256))
        elif operand.pointers:
            fields |= _pointer(operand.name, target.memories[operand.pointers].count or 1, random)
        else:
            free = taken.setdefault(
                operand.memory, random.permutation(target.memories[operand.memory].count or 1).tolist()
            )
            fields[operand.name] = free.pop()
    fields |= {name: int(random.integers(extent)) for name, extent in entry.choice.items()}
    if entry.mask:
        count = target.memories[entry.mask.operand.memory].count or 2
        fields[entry.mask.operand.name] = int(random.integers(1, count))
    return fields


def _pointer(name: str, count: int, random: np.random.Generator) -> dict[str, int]:
    disp = int(random.choice([0, 64, -64, 1, -_LARGEST_DISP, _LARGEST_DISP - 1]))
    found = {f"{name}.base": int(random.integers(count)), f"{name}.disp": disp}
    if random.integers(2):
        index = int(random.choice([number for number in range(count) if number != _NO_INDEX]))
        found |= {f"{name}.index": index, f"{name}.scale": int(random.choice([1, 2, 4, 8]))}
    return found
