"""From an operator and an ISA to a kernel: place, schedule, address, lower."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from dataflow.dtypes import bits
from dataflow.expression import Read
from dataflow.operator import Operator
from embed.cpu import tune as timing
from embed.cpu.blocks import in_blocks
from embed.cpu.choose import Core, Moves, choose
from embed.cpu.epilogue import Plans, extra_accesses, fused, is_packed, plan
from embed.cpu.finish import Finish, spare_registers
from embed.cpu.indexed import Indexed
from embed.cpu.kernel import CpuKernel
from embed.cpu.lower import lower
from embed.cpu.machine import machine_of
from embed.cpu.model import Pricing, invocation_cycles, machine
from embed.cpu.place import options, register_instructions
from embed.cpu.rank import Candidate, Ranking, Reached, rank, search
from embed.cpu.regions import regions
from embed.cpu.roles import Roles, find, indexed_operand, mask_memories, pair_load, slots_of
from embed.cpu.select import Plan
from embed.cpu.streams import Stream, gathered, moving_digits, neighbours, stream
from embed.cpu.sums import Registers
from embed.embedding import Embedding
from embed.epilogue import Epilogue
from embed.errors import NoEmbedding
from embed.nest.build import build
from embed.nest.schedule import Schedule
from embed.physical import Array, Physical
from isa.model import Instruction, Isa

_SPARE = 2
"""Registers that every tile leaves beside its accumulators."""


def compile_cpu(
    operator: Operator,
    target: Isa,
    *,
    layouts: Mapping[str, str] | None = None,
    threads: int = 1,
    constants: Collection[str] = (),
    embedding: Embedding | None = None,
    tune: int = 0,
    time_limit: float = 10.0,
) -> CpuKernel:
    """Place, schedule and lower an operator; raises NoEmbedding for what the target has no instructions for.

    `layouts` names how tensors lie (NHWC, NCHW16c, ...); inputs named in `constants` are given once, with `fix`, and
    packed. The best `tune` candidates of the model are timed. Raises NoEmbedding where `time_limit` seconds were not
    enough, UserError for a `tune` that cannot be.
    """
    if tune:
        timing.check(target, tune)
    ranking = candidates(
        operator,
        target,
        layouts=layouts,
        threads=threads,
        constants=constants,
        embedding=embedding,
        time_limit=time_limit,
        thorough=tune > 1,
    )
    taken = ranking.candidates[: max(1, tune)]
    best = [
        kernel_of(operator, found, target, layouts=layouts, threads=threads, constants=constants) for found in taken
    ]
    chosen = timing.fastest(best, constants) if len(best) > 1 else best[0]
    return replace(chosen, note=ranking.note) if ranking.note else chosen


def kernel_of(
    operator: Operator,
    candidate: Candidate,
    target: Isa,
    *,
    layouts: Mapping[str, str] | None = None,
    threads: int = 1,
    constants: Collection[str] = (),
) -> CpuKernel:
    """A candidate for `operator` lowered."""
    embedding, schedule = candidate.embedding, candidate.schedule
    physical = _physical(operator, layouts)
    reached = candidate.reached or _planned(operator, candidate, target, physical, constants)
    streams, extras = reached.streams, reached.extras
    pattern = embedding.pattern
    registers = target.memories[target.instructions[embedding.name].operands[pattern.output.tensor].memory]
    banks = _registers(embedding, target, registers.count or 1)
    nest = build(embedding, schedule, Epilogue((), 1, (), fused(embedding.operator, reached.plan)))
    roles = _roles(embedding, target, streams)
    chosen = reached.plan.storing(roles.part_stores.get(next(iter(streams.values())).bytes, ""))
    slots = {name: slots_of(target, name) for name in (*roles.moves, *chosen.moves)}
    cut = regions(embedding, schedule, _linear(schedule, [*streams.values(), *extras.values()]))
    items = lower(nest, roles, slots, streams, banks, Finish(chosen, extras, slots), cut)
    tables = (*_mask_vectors(embedding, banks), *chosen.table)
    streams = {**streams, **extras}
    return CpuKernel(operator, embedding, target, schedule, nest, physical, streams, items, threads, tables)


def _planned(
    operator: Operator,
    candidate: Candidate,
    target: Isa,
    physical: Mapping[str, Physical],
    constants: Collection[str],
) -> Reached:
    """How a candidate that was not the first of its embedding reaches its tensors."""
    _, lies = _over_arrays(operator, target, physical, constants, candidate.embedding)
    chosen = plan(candidate.embedding, target, constants)
    return _reached(candidate.embedding, target, candidate.schedule, lies, constants, chosen)


def _linear(schedule: Schedule, streams: Sequence[Stream]) -> set[str]:
    """Loops inside the outermost along which tensors move from tile to tile as they do from point to point."""
    _, *inner = schedule.order
    return {
        loop
        for loop in inner
        if all(found.tile.get(loop, 0) == schedule.tiles[loop] * found.point.get(loop, 0) for found in streams)
    }


def candidates(
    operator: Operator,
    target: Isa,
    *,
    layouts: Mapping[str, str] | None = None,
    threads: int = 1,
    constants: Collection[str] = (),
    embedding: Embedding | None = None,
    time_limit: float = 10.0,
    thorough: bool = False,
) -> Ranking:
    """Embeddings (or the one given) with their schedules, ranked by the model; `thorough` leaves none out.

    Raises NoEmbedding where there is none, or no instructions for the epilogue.
    """
    over, lies = _over_arrays(operator, target, _physical(operator, layouts), constants, embedding)
    plans = Plans(over, target, constants)

    def priced(embedding: Embedding) -> list[Candidate]:
        return _priced(embedding, target, lies, constants, threads, plans)

    if embedding is not None:
        possible = priced(embedding)
        if not possible:
            raise NoEmbedding(plans.refusal or f"{target.name} cannot store the results of {embedding}, one to a word")
        return Ranking(rank(possible))
    found = options(over, target, lies)
    try:
        return search(found, priced, lambda name: invocation_cycles(target, name), time_limit, thorough)
    except NoEmbedding as error:
        raise NoEmbedding(plans.refusal or str(error)) from None


def _physical(operator: Operator, layouts: Mapping[str, str] | None) -> dict[str, Physical]:
    tensors = (*operator.inputs, operator.output)
    return {tensor.name: Physical.of(tensor, (layouts or {}).get(tensor.name)) for tensor in tensors}


def _over_arrays(
    operator: Operator,
    target: Isa,
    physical: Mapping[str, Physical],
    constants: Collection[str],
    embedding: Embedding | None,
) -> tuple[Operator, Mapping[str, Physical]]:
    """The operator over the arrays of blocked tensors, unless the embedding is one in the operator itself."""
    widths = {found.pattern.tensors[0].size for found in register_instructions(target)}
    over, blocked = in_blocks(operator, {n: found for n, found in physical.items() if n not in constants}, widths)
    if embedding is not None and embedding.operator != over:
        return operator, physical
    return over, {**physical, **blocked}


def _priced(
    embedding: Embedding,
    target: Isa,
    physical: Mapping[str, Physical],
    constants: Collection[str],
    threads: int,
    plans: Plans,
) -> list[Candidate]:
    """The schedules of an embedding, and what the model says of each.

    There are none where a word holds one result and would overwrite others, for want of masks, nor where there are no
    instructions for the epilogue.
    """
    chosen = plans.of(embedding)
    lone = partial_words(embedding) == {"": 1} and embedding.operator.output.size > 1
    if chosen is None or (lone and not chosen.store_masked):
        return []
    registers = target.memories[target.instructions[embedding.name].operands[embedding.binding.pairs[0][0]].memory]
    index = indexed_operand(target, embedding.name)
    along = _along(embedding, index, target, physical, constants)
    moving = _moving(embedding, index, along, 2 if pair_load(target, embedding.name) else 1)
    banks = _registers(embedding, target, registers.count or 1)
    main = embedding.operator.main
    sizes = {operand: main.tensor(main.accesses[t].tensor).bytes for operand, t in embedding.binding.pairs}
    panel = max((sizes[operand] for operand, moves in moving.items() if moves.whole), default=0)
    core = Core(banks.free - max(0, spare_registers(chosen) - _SPARE), registers.bits // 8)
    leader = next((operand for operand, moves in moving.items() if moves.lanes > 1), embedding.binding.pairs[1][0])
    schedules = choose(embedding, core, moving, _steps(embedding, leader, physical), panel, threads)
    first = _reached(embedding, target, schedules[0], physical, constants, chosen)
    core_model = machine(target, _roles(embedding, target, first.streams))
    pricing = Pricing(embedding, core_model, moving, first.streams, constants)
    found = [Candidate(embedding, schedule, pricing.price(schedule, threads)) for schedule in schedules]
    return [replace(found[0], reached=first), *found[1:]]


def _reached(
    embedding: Embedding,
    target: Isa,
    schedule: Schedule,
    physical: Mapping[str, Physical],
    constants: Collection[str],
    chosen: Plan,
) -> Reached:
    """How the kernel reaches its tensors: those of the sums by operand, those of the epilogue by access."""
    operator, output = embedding.operator, embedding.pattern.output.tensor

    def streamed(operand: str, read: Read, name: str, packed: bool, masked: bool) -> Stream:
        lies = physical[name]
        return stream(embedding, operand, read, schedule, lies, lies.tensor.dtype, packed, masked)

    streams = {output: streamed(output, operator.main.output, operator.output.name, False, bool(chosen.store_masked))}
    for operand, _ in embedding.binding.pairs[1:]:
        streams[operand] = _input(embedding, operand, target, schedule, physical, constants)
    index = indexed_operand(target, embedding.name)
    if index is not None:
        along = _along(embedding, index, target, physical, constants)
        streams[index.operand] = gathered(streams[index.operand], index.lanes, along)
    extras = {}
    for access, read in extra_accesses(operator).items():
        packed = is_packed(embedding, read, constants)
        extras[access] = streamed(output, read, read.tensor, packed, chosen.is_masked(access))
    return Reached(streams, extras, chosen)


def _input(
    embedding: Embedding,
    operand: str,
    target: Isa,
    schedule: Schedule,
    physical: Mapping[str, Physical],
    constants: Collection[str],
) -> Stream:
    """How the kernel reaches an input of the sums."""
    read = embedding.operator.main.accesses[embedding.binding.tensors[operand]]
    lies = physical[read.tensor]
    masks = bool(mask_memories(target))
    return stream(embedding, operand, read, schedule, lies, lies.tensor.dtype, read.tensor in constants, masks)


def _along(
    embedding: Embedding,
    index: Indexed | None,
    target: Isa,
    physical: Mapping[str, Physical],
    constants: Collection[str],
) -> str:
    """The loop whose iterations share registers of the operand that is picked from, if there is one."""
    if index is None:
        return ""
    names = tuple(loop.name for loop in embedding.loops)
    single = Schedule(dict.fromkeys(names, 1), names, 1, 1)
    return neighbours(embedding, _input(embedding, index.operand, target, single, physical, constants))


def _roles(embedding: Embedding, target: Isa, streams: Mapping[str, Stream]) -> Roles:
    """The instructions around the embedded one."""
    output = embedding.pattern.tensors[0]
    memory = target.memories[target.instructions[embedding.name].operands[output.name].memory]
    inputs = [found for operand, found in streams.items() if operand != output.name]
    spread = next((found.bytes * 8 for found in inputs if found.spread), bits(output.dtype))
    return find(target, embedding.name, memory.bits, spread, output.size)


def _registers(embedding: Embedding, target: Isa, count: int) -> Registers:
    """The machine's vector registers for one embedding; masks are vectors where masked moves say so."""
    entry = target.instructions[embedding.name]
    memory = entry.operands[embedding.pattern.output.tensor].memory
    masks = mask_memories(target)
    partial = partial_words(embedding) if masks else {}
    return Registers(count, partial, memory in masks, _reach(entry, count), machine_of(target).pointers)


def _reach(entry: Instruction, count: int) -> dict[str, int]:
    """How many registers an operand can name where its field of the encoding is too narrow for all `count`."""
    fields = entry.encoding.fields if entry.encoding else {}
    limits = {name: fields[name].limits[1] + 1 for name in entry.operands if name in fields}
    return {name: limit for name, limit in limits.items() if limit < count}


def _mask_vectors(embedding: Embedding, banks: Registers) -> tuple[Array, ...]:
    """The mask as the array that the code reads it from, for machines whose masks are vectors."""
    if not banks.vector_mask:
        return ()
    pattern = embedding.pattern
    lanes, width = pattern.tensors[0].size, bits(pattern.tensors[0].dtype)
    return tuple(np.where(np.arange(lanes) < used, -1, 0).astype(f"i{width // 8}") for used in banks.partial.values())


def _steps(embedding: Embedding, operand: str, physical: Mapping[str, Physical]) -> dict[str, int]:
    """Elements that each loop moves in the input that is one operand; fused loops do not count."""
    tensor = embedding.binding.tensors[operand]
    read = embedding.operator.main.accesses[tensor]
    strides = physical[tensor].plain.strides()
    return {
        loop.name: sum(
            index.coefficient(loop.dims[0]) * stride for index, stride in zip(read.index, strides, strict=True)
        )
        for loop in embedding.loops
    }


def _moving(embedding: Embedding, index: Indexed | None, along: str, at_once: int) -> dict[str, Moves]:
    """How each input operand's words move; whole words come `at_once` in one load."""
    found = {}
    result = {lane for place in embedding.pattern.output.index for lane in place.dims}
    for operand, tensor in embedding.binding.pairs[1:]:
        read = embedding.operator.main.accesses[tensor]
        used = {dim for place in read.index for dim in place.dims}
        loops = frozenset(loop.name for loop in embedding.loops if used & set(loop.dims))
        if index is not None and index.operand == operand:
            found[operand] = Moves(loops, False, 1, index.lanes if along else 1, along)
        else:
            whole = any(digit.lane in result for digit in moving_digits(embedding, operand, read))
            found[operand] = Moves(loops, whole, at_once if whole else 1)
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
