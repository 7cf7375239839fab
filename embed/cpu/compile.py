"""From an operator and an ISA to a kernel: place, schedule, address, lower."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from dataflow.errors import UserError
from dataflow.operator import Operator
from embed.checker import CheckError, verify
from embed.cpu.arrays.blocks import in_blocks
from embed.cpu.assembler.program import slots_of
from embed.cpu.choosing.core import invocation_cycles
from embed.cpu.choosing.demanded import narrowed
from embed.cpu.choosing.past import past_caches
from embed.cpu.choosing.place import options, register_instructions
from embed.cpu.choosing.rank import Candidate, Ranking, rank, search
from embed.cpu.choosing.schedules import priced
from embed.cpu.choosing.site import Site
from embed.cpu.epilogue.finish import Finish
from embed.cpu.epilogue.plan import Plans, fused
from embed.cpu.kernel import CpuKernel
from embed.cpu.lowering.lower import lower
from embed.cpu.measuring import tune as timing
from embed.demands import Demand
from embed.embedding import Embedding
from embed.epilogue import Epilogue
from embed.errors import NoEmbedding
from embed.nest.build import build
from embed.parse import moved
from embed.physical import Physical
from embed.solver.deadline import Deadline
from embed.solver.questions import check_operator
from isa.model import Isa

_SECONDS = 10.0
"""How long a search may take where nothing is said."""


def compile_cpu(
    operator: Operator,
    target: Isa,
    *,
    layouts: Mapping[str, str] | None = None,
    threads: int = 1,
    constants: Collection[str] = (),
    embedding: Embedding | None = None,
    tune: int = 0,
    time_limit: float = _SECONDS,
    demands: Sequence[Demand] = (),
) -> CpuKernel:
    """Place, schedule and lower an operator; raises NoEmbedding for what the target has no instructions for.

    `layouts` names how tensors lie (NHWC, NCHW16c, ...); inputs named in `constants` are given once, with `fix`, and
    packed. The best `tune` candidates of the model are timed. Only kernels that meet all `demands` count. Raises
    NoEmbedding where none does or `time_limit` seconds were not enough, UserError for a `tune` that cannot be.
    """
    if tune:
        timing.check(target)
    ranking = candidates(
        operator,
        target,
        layouts=layouts,
        threads=threads,
        constants=constants,
        embedding=embedding,
        deadline=Deadline(time_limit),
        thorough=tune > 1 or bool(demands),
    )
    if demands:
        ranking = narrowed(ranking, demands, operator, _physical(operator, layouts))
    taken = ranking.candidates[: max(1, tune)]
    best = [kernel_of(operator, found, layouts=layouts, threads=threads) for found in taken]
    chosen = timing.fastest(best, constants) if len(best) > 1 else best[0]
    return replace(chosen, note=ranking.note) if ranking.note else chosen


def kernel_of(
    operator: Operator, candidate: Candidate, *, layouts: Mapping[str, str] | None = None, threads: int = 1
) -> CpuKernel:
    """A candidate for `operator` lowered."""
    site, schedule = candidate.site, candidate.schedule
    embedding, target = site.embedding, site.target
    reached = site.reached(schedule)
    streams, extras = reached.streams, reached.extras
    nest = build(embedding, schedule, Epilogue((), 1, (), fused(embedding.operator, site.plan)))
    roles = site.roles
    chosen = site.plan.storing(roles.part_stores.get(next(iter(streams.values())).bytes, ""))
    slots = {name: slots_of(target, name) for name in (*roles.moves, *chosen.moves)}
    finish = Finish(chosen, extras, slots)
    items = lower(target, nest, roles, slots, streams, site.registers, finish, reached.regions)
    tables = (*site.masks, *chosen.table)
    every = {**streams, **extras}
    physical = _physical(operator, layouts)
    past = past_caches(site, chosen.store, next(iter(streams.values())))
    return CpuKernel(operator, embedding, target, schedule, nest, physical, every, items, threads, tables, past)


def candidates(
    operator: Operator,
    target: Isa,
    *,
    layouts: Mapping[str, str] | None = None,
    threads: int = 1,
    constants: Collection[str] = (),
    embedding: Embedding | None = None,
    deadline: Deadline | None = None,
    thorough: bool = False,
) -> Ranking:
    """Embeddings (or the one given) with their schedules, ranked by the model; `thorough` leaves none out.

    Without a `deadline` the search may take as long as a user's does. Raises NoEmbedding where there is none, or no
    instructions for the epilogue.
    """
    check_operator(operator)
    over, lies = _over_arrays(operator, target, _physical(operator, layouts), constants, embedding)
    plans = Plans(over, target, constants)

    def candidates_of(embedding: Embedding) -> list[Candidate]:
        plan = plans.of(embedding)
        return priced(Site(embedding, target, lies, constants, plan), threads, thorough) if plan else []

    if embedding is not None:
        possible = candidates_of(on_registers(moved(embedding, over, target), target))
        if not possible:
            raise NoEmbedding(plans.refusal or f"{target.name} cannot store the results of {embedding}, one to a word")
        return Ranking(rank(possible))
    found = options(over, target, lies)
    try:
        limit = deadline or Deadline(_SECONDS)
        return search(found, candidates_of, lambda name: invocation_cycles(target, name), limit, thorough)
    except NoEmbedding as error:
        raise NoEmbedding(plans.refusal or str(error)) from None


def on_registers(embedding: Embedding, target: Isa) -> Embedding:
    """The same lanes of an entry all of whose operands are registers: how words are loaded is for the kernel to say.

    Raises UserError where there is none.
    """
    known = register_instructions(target)
    if embedding.instruction in known:
        return embedding
    for instruction in known:
        if instruction.pattern.extents == embedding.pattern.extents:
            found = replace(embedding, instruction=instruction)
            try:
                verify(found)
            except CheckError:
                continue
            return found
    names = ", ".join(instruction.name for instruction in known)
    raise UserError(f"embedding '{embedding}': kernels for {target.name} are made of entries on registers: {names}")


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
    if not any(found.blocks for found in physical.values()):
        return operator, physical
    widths = {found.pattern.tensors[0].size for found in register_instructions(target)}
    over, blocked = in_blocks(operator, {n: found for n, found in physical.items() if n not in constants}, widths)
    if embedding is not None and embedding.operator != over:
        return operator, physical
    return over, {**physical, **blocked}
