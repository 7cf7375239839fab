"""The schedules of an embedding that are worth a price, and what the model says of each."""

from embed.cpu.choose import choose
from embed.cpu.finish import spare_registers
from embed.cpu.model import Pricing, copied, machine
from embed.cpu.rank import ACCURACY, Candidate
from embed.cpu.register_tiles import Core
from embed.cpu.site import Site
from embed.cpu.streams import steps
from embed.nest.schedule import Schedule

_SPARE = 2
"""Registers that every tile leaves beside its accumulators."""


def priced(site: Site, threads: int, thorough: bool) -> list[Candidate]:
    """The schedules of an embedding; unless `thorough` without those that cannot cost noticeably less than another.

    There are none where a word holds one result and would overwrite others, for want of masks.
    """
    embedding, moving = site.embedding, site.moving
    if site.partial == {"": 1} and embedding.operator.output.size > 1 and not site.plan.store_masked:
        return []
    main = embedding.operator.main
    sizes = {operand: main.tensor(main.accesses[t].tensor).bytes for operand, t in embedding.binding.pairs}
    panel = max((sizes[operand] for operand, moves in moving.items() if moves.whole), default=0)
    core = Core(site.registers.free - max(0, spare_registers(site.plan) - _SPARE), site.memory.bits // 8)
    leader = next((operand for operand, moves in moving.items() if moves.lanes > 1), embedding.binding.pairs[1][0])
    schedules = choose(embedding, core, moving, _steps(site, leader), panel, threads)
    pricing = Pricing(embedding, machine(site.target, site.roles), moving, site.ways, _copies(site, schedules[0]))
    found = [Candidate(site, schedules[0], pricing.price(schedules[0], threads))]
    least = found[0].price.total
    for schedule in schedules[1:]:
        if thorough or pricing.least(schedule, threads) * ACCURACY < least:
            found.append(Candidate(site, schedule, pricing.price(schedule, threads)))
            least = min(least, found[-1].price.total)
    return found


def _copies(site: Site, schedule: Schedule) -> float:
    """Cycles of copying what the kernel does not read or write where the user has it, constants apart."""
    ways = [found for found in site.ways.values() if found.tensor not in site.constants]
    return sum([copied(found.stream(schedule).feed) for found in ways])


def _steps(site: Site, operand: str) -> dict[str, int]:
    """Elements that each loop moves in the input that is one operand; fused loops do not count."""
    tensor = site.embedding.binding.tensors[operand]
    read = site.embedding.operator.main.accesses[tensor]
    found = steps(read, site.physical[tensor].plain.strides())
    return {loop.name: found.get(loop.dims[0], 0) for loop in site.embedding.loops}
