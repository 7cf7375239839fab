"""The cycles that a kernel takes on the cores of its ISA file: its blocks by the pipeline, its tensors by bandwidth."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil

from embed.cpu.assembler import control
from embed.cpu.assembler.aarch64 import Code
from embed.cpu.kernel import CpuKernel
from embed.cpu.measuring.count import trips
from embed.cpu.measuring.pipeline import Register, Step, cycles
from embed.embedding import as_accumulation
from isa.machine import MachineInstruction
from isa.model import Isa, Operand, Timing

_LEVELS = ("l1", "l2", "l3")
_BRANCHES = control.Branch | control.BranchIfLess | control.BranchIfZero | control.Loop
_POINTER = "x"
_READ_FIELDS = ("src", "a", "b", "base")
"""Fields of a control instruction that are general registers which it reads; it writes `dst`."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """Cycles in which the core executes the instructions, and in which the tensors' bytes come to it once.

    `memory` is 0 where the file does not say how fast the level is that holds them all.
    """

    core: int
    memory: int

    @property
    def cycles(self) -> int:
        """Both overlap."""
        return max(self.core, self.memory)


def estimates(kernel: CpuKernel) -> dict[str, Estimate]:
    """One call of the kernel on each core that has all its instructions, by name; none if its code is not AArch64."""
    code = kernel.assembled
    if not isinstance(code, Code):
        return {}
    blocks = list(blocks_of(kernel, code))
    found = {}
    for name, core in kernel.target.timings.items():
        if all(_known(owner, name, word) for block in blocks for owner, word in block.words):
            total = sum(
                block.times * cycles([_step(owner, word, name) for owner, word in block.words], core, block.repeated)
                for block in blocks
            )
            found[name] = Estimate(ceil(total), _memory(kernel, core))
    return found


@dataclass(frozen=True, slots=True)
class Block:
    """Instructions that always run together, how often, and whether they are a loop's whole body."""

    words: Sequence[tuple[Isa, MachineInstruction]]
    times: int
    repeated: bool


def blocks_of(kernel: CpuKernel, code: Code) -> Iterator[Block]:
    """The program cut at its labels and behind its branches; what never runs is left out."""
    times = trips(kernel).executed
    first = word = at = 0
    for place, (item, size) in enumerate(zip(kernel.items, kernel.sizes, strict=True)):
        at += size
        following = kernel.items[place + 1] if place + 1 < len(kernel.items) else None
        if isinstance(item, _BRANCHES) or isinstance(following, control.Label) or following is None:
            head = kernel.items[first]
            repeated = isinstance(head, control.Label) and isinstance(item, _BRANCHES) and item.label == head.name
            if times[place] and at > word:
                yield Block(code.words[word:at], times[place], repeated)
            first, word = place + 1, at


def _memory(kernel: CpuKernel, core: Timing) -> int:
    """Cycles that reading the tensors once takes, from the smallest level that holds them all."""
    operator = kernel.operator
    size = sum(tensor.bytes for tensor in (*operator.inputs, operator.output))
    fitting = (level for level in _LEVELS if size <= core.constants.get(f"{level}_bytes", 0))
    rate = core.constants.get(f"{next(fitting, 'memory')}_read", 0)
    return ceil(size / rate) if rate else 0


def _known(owner: Isa, core: str, word: MachineInstruction) -> bool:
    return core in owner.timings and word.name in owner.timings[core].costs


def _step(owner: Isa, word: MachineInstruction, core: str) -> Step:
    cost = owner.timings[core].costs[word.name]
    entry = owner.instructions[word.name]
    if entry.pattern is None or entry.output is None:
        reads = tuple((_POINTER, word[name]) for name in _READ_FIELDS if name in word.fields)
        return Step(cost, reads, writes=((_POINTER, word["dst"]),) if "dst" in word.fields else ())
    sums = as_accumulation(entry.pattern).accumulate
    inputs = [operand for operand in entry.inputs if not (sums and operand is entry.output)]
    reads = tuple(register for operand in inputs for register in _registers(owner, operand, word))
    pointers = tuple((_POINTER, word[f"{each.name}.base"]) for each in entry.operands.values() if each.pointers)
    writes = tuple(_registers(owner, entry.output, word))
    return Step(cost, (*reads, *pointers), writes if sums else (), writes)


def _registers(owner: Isa, operand: Operand, word: MachineInstruction) -> Iterator[Register]:
    """The registers that an operand takes; none if it lies in memory or in the instruction."""
    memory = owner.memories.get(operand.memory)
    if memory is not None and memory.kind == "register":
        for number in range(-(-8 * operand.tensor.bytes // memory.bits)):
            yield memory.name, word[operand.name] + number
