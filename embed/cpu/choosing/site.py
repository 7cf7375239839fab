"""An embedding over the arrays at hand: what all of its kernels share, whatever their schedule."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dataflow.contraction import is_contraction
from dataflow.dtypes import bits, is_integer
from dataflow.expression import Read
from embed.cpu.arrays.in_place import InPlace, in_place
from embed.cpu.arrays.packed import Packed
from embed.cpu.arrays.streams import Stream, gathered, linear, moving_digits
from embed.cpu.arrays.ways import Way, neighbours, way
from embed.cpu.epilogue.plan import extra_accesses, is_packed
from embed.cpu.epilogue.select import Plan
from embed.cpu.lowering.indexed import Indexed
from embed.cpu.lowering.moves import Moves
from embed.cpu.lowering.regions import Regions, inside, regions
from embed.cpu.lowering.roles import Roles, find, indexed_operand, mask_memories, pair_load
from embed.cpu.lowering.sums import Registers
from embed.cpu.runner.machine import machine_of
from embed.embedding import Embedding
from embed.nest.schedule import Schedule
from embed.physical import Array, Physical
from isa.model import Instruction, Isa, Memory


@dataclass(frozen=True, slots=True)
class Reached:
    """How a kernel reaches its tensors: those of the sums by operand, those of the epilogue by access; its regions."""

    streams: Mapping[str, Stream]
    extras: Mapping[str, Stream]
    regions: Regions


@dataclass(frozen=True)
class Site:
    """An embedding, how the tensors of its operator lie, which are constants, and the epilogue's instructions."""

    embedding: Embedding
    target: Isa
    physical: Mapping[str, Physical]
    constants: Collection[str]
    plan: Plan

    @cached_property
    def partial(self) -> dict[str, int]:
        """The lanes in use of the last word of each loop that does not fill it."""
        return partial_words(self.embedding)

    @cached_property
    def entry(self) -> Instruction:
        return self.target.instructions[self.embedding.name]

    @cached_property
    def memory(self) -> Memory:
        """Where sums are."""
        return self.target.memories[self.entry.operands[self.embedding.pattern.output.tensor].memory]

    @cached_property
    def registers(self) -> Registers:
        """The machine's vector registers; masks are vectors where masked moves say so."""
        masks, count = mask_memories(self.target), self.memory.count or 1
        pointers = machine_of(self.target).pointers
        partial = self.partial if masks else {}
        vectors, passed = self.memory.name in masks, len(self.entry.scratch)
        return Registers(count, partial, vectors, _reach(self.entry, count), pointers, passed)

    @cached_property
    def masks(self) -> tuple[Array, ...]:
        """Each mask as the array that the code reads it from, for machines whose masks are vectors."""
        if not self.registers.vector_mask:
            return ()
        sums = self.embedding.pattern.tensors[0]
        lanes, kind = np.arange(sums.size), f"i{bits(sums.dtype) // 8}"
        return tuple(np.where(lanes < used, -1, 0).astype(kind) for used in self.registers.partial.values())

    @cached_property
    def index(self) -> Indexed | None:
        """The operand of which the instruction picks a lane itself."""
        return indexed_operand(self.target, self.embedding.name)

    @cached_property
    def along(self) -> str:
        """The loop whose iterations share registers of the operand that is picked from, if there is one."""
        if self.index is None:
            return ""
        return neighbours(self.embedding, self.ways[self.index.operand])

    @cached_property
    def moving(self) -> dict[str, Moves]:
        """How each input operand's words move; whole words come two in one load where there is one for that."""
        embedding, found = self.embedding, {}
        at_once = 2 if pair_load(self.target, embedding.name) else 1
        for operand, tensor in embedding.binding.pairs[1:]:
            read = embedding.accesses[tensor]
            used = read.dims
            loops = frozenset([loop.name for loop in embedding.loops if not used.isdisjoint(loop.dims)])
            if self.index is not None and self.index.operand == operand:
                found[operand] = Moves(loops, False, 1, self.index.lanes if self.along else 1, self.along)
            else:
                lanes = {digit.lane for digit in moving_digits(embedding, operand, read)}
                whole = not lanes.isdisjoint(embedding.pattern.output_dims)
                found[operand] = Moves(loops, whole, at_once if whole else 1)
        return found

    @cached_property
    def ways(self) -> dict[str, Way]:
        """The way to the tensor of each operand, the output first."""
        embedding, masked = self.embedding, bool(mask_memories(self.target))
        output, operator = embedding.pattern.output.tensor, embedding.operator
        stored = self.physical[operator.output.name]
        found = {output: way(embedding, output, operator.main.output, stored, False, bool(self.plan.store_masked))}
        inputs = sorted(embedding.binding.pairs[1:], key=lambda pair: self._turn(*pair))
        for place, (operand, tensor) in enumerate(inputs, 1):
            read = embedding.accesses[tensor]
            physical, packs = self.physical[read.tensor], not self._turn(operand, tensor)[0]
            quiet = place == len(inputs) and self._zeros([found[other] for other, _ in inputs[:-1]])
            found[operand] = way(embedding, operand, read, physical, packs, masked, quiet)
        return {operand: found[operand] for operand, _ in embedding.binding.pairs}

    def _turn(self, operand: str, access: str) -> tuple[bool, bool]:
        """Inputs that are packed come first, then those whose words are whole vectors.

        Packed are constants, unless their words are one group for all lanes: that would be there once for each.
        """
        read = self.embedding.accesses[access]
        lanes = {digit.lane for digit in moving_digits(self.embedding, operand, read)}
        spread = lanes.isdisjoint(self.embedding.pattern.output_dims)
        return spread or read.tensor not in self.constants, spread

    def _zeros(self, others: Sequence[Way]) -> bool:
        """Whether these inputs make every idle lane of a sum add zero, whatever the one that is left holds there."""
        pattern = self.embedding.pattern
        integers = all(is_integer(tensor.dtype) for tensor in pattern.tensors)
        return integers and is_contraction(pattern) and all(isinstance(other, Packed) for other in others)

    @cached_property
    def extra_ways(self) -> dict[str, Way]:
        """The way to what the epilogue reads, by access."""
        embedding, found = self.embedding, {}
        for access, read in extra_accesses(embedding.operator).items():
            packed, masked = is_packed(embedding, read, self.constants), self.plan.is_masked(access)
            words = embedding.pattern.output.tensor
            found[access] = way(embedding, words, read, self.physical[read.tensor], packed, masked)
        return found

    @cached_property
    def roles(self) -> Roles:
        """The instructions around the embedded one."""
        output = self.embedding.pattern.tensors[0]
        own = (output.name, self.index.operand if self.index else "")
        sizes = [found.bytes * 8 for operand, found in self.ways.items() if found.spread and operand not in own]
        spread = sizes[0] if sizes else bits(output.dtype)
        return find(self.target, self.embedding.name, self.memory.bits, spread, output.size)

    def reached(self, schedule: Schedule) -> Reached:
        """How a kernel with a schedule reaches its tensors: without a border where regions leave out all taps in it."""
        streams = {operand: found.stream(schedule) for operand, found in self.ways.items()}
        extras = {access: found.stream(schedule) for access, found in self.extra_ways.items()}
        cut = regions(self.embedding, schedule, linear(schedule, [*streams.values(), *extras.values()]))
        for operand, access in self.embedding.binding.pairs[1:] if cut else ():
            found = self._inside(operand, self.embedding.accesses[access], cut)
            streams[operand] = found.stream(schedule) if found else streams[operand]
        if self.index is not None:
            streams[self.index.operand] = gathered(streams[self.index.operand], self.index.lanes, self.along)
        return Reached(streams, extras, cut)

    def _inside(self, operand: str, read: Read, cut: Regions) -> InPlace | None:
        """The way to a tensor without the border that it has, if taps in it are left out."""
        known = self.ways[operand]
        if not isinstance(known, InPlace) or known.feed.is_exact:
            return None
        physical = self.physical[read.tensor]
        kept = inside(self.embedding, cut, read, physical.tensor.shape)
        found = in_place(self.embedding, operand, read, physical, bool(mask_memories(self.target)), inside=kept)
        return found if found and found.feed.is_exact else None


def _reach(entry: Instruction, count: int) -> dict[str, int]:
    """How many registers an operand can name where its field of the encoding is too narrow for all `count`."""
    fields = entry.encoding.fields if entry.encoding else {}
    limits = {name: fields[name].limits[1] + 1 for name in entry.operands if name in fields}
    return {name: limit for name, limit in limits.items() if limit < count}


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
