"""From an operator and an ISA to a kernel: place, schedule, address, lower."""

from collections.abc import Collection, Mapping

import numpy as np

from dataflow.dtypes import bits
from dataflow.errors import UserError
from dataflow.operator import Operator
from embed.cpu.choose import Core, Moves, choose
from embed.cpu.kernel import CpuKernel
from embed.cpu.lower import Registers, lower
from embed.cpu.physical import Array, Physical
from embed.cpu.place import place
from embed.cpu.roles import Slots, find
from embed.cpu.streams import moving_digits, stream
from embed.embedding import Embedding
from embed.epilogue import Epilogue
from embed.nest.build import build
from isa.model import Isa


def compile_cpu(
    operator: Operator,
    target: Isa,
    *,
    layouts: Mapping[str, str] | None = None,
    threads: int = 1,
    constants: Collection[str] = (),
    embedding: Embedding | None = None,
) -> CpuKernel:
    """Place, schedule and lower an operator that has no epilogue; raises UserError for one that has.

    `layouts` names how tensors lie (NHWC, NCHW16c, ...); inputs named in `constants` are given once, with `fix`, and
    packed.
    """
    if operator.epilogue:
        raise UserError(f"{target.name} kernels compute sums alone: compile {operator.name} without its epilogue")
    tensors = (*operator.inputs, operator.output)
    physical = {tensor.name: Physical.of(tensor, (layouts or {}).get(tensor.name)) for tensor in tensors}
    embedding = embedding or place(operator, target, physical)
    pattern = embedding.pattern
    registers = target.memories[target.instructions[embedding.name].operands[pattern.output.tensor].memory]
    moving = _moving(embedding)
    banks = _registers(embedding, target, registers.count or 1)
    sizes = {operand: operator.main.tensor(tensor).bytes for operand, tensor in embedding.binding.pairs}
    panel = max((sizes[operand] for operand, moves in moving.items() if moves.whole), default=0)
    core = Core(banks.free, registers.bits // 8)
    schedule = choose(embedding, core, moving, _steps(embedding, physical), panel, threads)
    nest = build(embedding, schedule, Epilogue((), 1, ()))
    masked = any(entry.mask for entry in target.instructions.values())
    streams = {
        operand: stream(
            embedding, operand, schedule, physical[tensor], pattern.tensor(operand).dtype, tensor in constants, masked
        )
        for operand, tensor in embedding.binding.pairs
    }
    spread = next((found.bytes * 8 for found in streams.values() if found.spread), bits(pattern.tensors[0].dtype))
    roles = find(target, embedding.name, registers.bits, spread, pattern.tensors[0].size)
    slots = {name: Slots.of(target.instructions[name], target) for name in roles.moves}
    items = lower(nest, roles, slots, streams, banks)
    return CpuKernel(
        embedding, target, schedule, nest, physical, streams, items, threads, _mask_vectors(embedding, banks)
    )


def _registers(embedding: Embedding, target: Isa, count: int) -> Registers:
    """The machine's vector registers for one embedding; masks are vectors where masked moves say so."""
    memory = target.instructions[embedding.name].operands[embedding.pattern.output.tensor].memory
    masks = {entry.mask.operand.memory for entry in target.instructions.values() if entry.mask}
    return Registers(count, partial_words(embedding) if masks else {}, memory in masks)


def _mask_vectors(embedding: Embedding, banks: Registers) -> tuple[Array, ...]:
    """The mask as the array that the code reads it from, for machines whose masks are vectors."""
    if not banks.vector_mask:
        return ()
    pattern = embedding.pattern
    lanes, width = pattern.tensors[0].size, bits(pattern.tensors[0].dtype)
    return tuple(np.where(np.arange(lanes) < used, -1, 0).astype(f"i{width // 8}") for used in banks.partial.values())


def _steps(embedding: Embedding, physical: Mapping[str, Physical]) -> dict[str, int]:
    """Elements that each loop over one dim moves in the first input."""
    tensor = embedding.binding.pairs[1][1]
    read = embedding.operator.main.accesses[tensor]
    strides = physical[tensor].plain.strides()
    return {
        loop.name: sum(
            index.coefficient(loop.dims[0]) * stride for index, stride in zip(read.index, strides, strict=True)
        )
        for loop in embedding.loops
    }


def _moving(embedding: Embedding) -> dict[str, Moves]:
    """How each input operand's words move."""
    found = {}
    for operand, tensor in embedding.binding.pairs[1:]:
        read = embedding.operator.main.accesses[tensor]
        used = {dim for index in read.index for dim in index.dims}
        loops = frozenset(loop.name for loop in embedding.loops if used & set(loop.dims))
        result = {lane for index in embedding.pattern.output.index for lane in index.dims}
        whole = any(digit.lane in result for digit in moving_digits(embedding, operand, read))
        found[operand] = Moves(loops, whole)
    return found


def partial_words(embedding: Embedding) -> dict[str, int]:
    """The loop whose last word is not full, with the lanes in use; no loop at all where a word holds one result."""
    output = embedding.pattern.output.tensor
    digits = moving_digits(embedding, output, embedding.operator.main.output)
    if not digits:
        return {"": 1}
    found = {}
    for digit in digits:
        rest = embedding.size(digit) % digit.radix
        lanes = embedding.lanes[digit.lane]
        if rest or digit.radix < lanes:
            found[digit.loop] = rest or digit.radix
    return found
