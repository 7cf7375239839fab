"""The schedules of an embedding that are worth a price, and what the model says of each."""

from collections.abc import Iterator
from math import inf

from embed.cpu.arrays.streams import steps
from embed.cpu.choosing.candidates import Tiling, choose
from embed.cpu.choosing.copying import copied
from embed.cpu.choosing.core import machine
from embed.cpu.choosing.model import Pricing
from embed.cpu.choosing.rank import ACCURACY, Candidate
from embed.cpu.choosing.register_tiles import Core
from embed.cpu.choosing.site import Site
from embed.cpu.epilogue.finish import spare_registers
from embed.nest.schedule import Schedule

_SPARE = 2
"""Registers that every tile leaves beside its accumulators."""


def priced(site: Site, threads: int, thorough: bool) -> list[Candidate]:
    """The schedules of an embedding; unless `thorough` without those that cannot cost noticeably less than another.

    There are none where a word holds one result and would overwrite others, for want of masks.
    """
    embedding = site.embedding
    if site.partial == {"": 1} and embedding.operator.output.size > 1 and not site.plan.store_masked:
        return []
    tilings = _tilings(site, threads)
    likely = Schedule(tilings[0].tiles, tilings[0].orders[0], 1, 1)
    pricing = Pricing(embedding, machine(site.target, site.roles), site.moving, site.ways, _copies(site, likely))
    found, enough = list[Candidate](), inf
    for tiling in tilings:
        whole = pricing.computed(tiling.tiles)
        for schedule in _schedules(pricing, tiling, threads):
            share = pricing.share(schedule, threads)
            if thorough or pricing.least(share * whole, share) * ACCURACY < enough:
                found.append(Candidate(site, schedule, pricing.price(schedule, share * whole, share)))
                enough = min(enough, found[-1].price.total)
    return found


def _schedules(pricing: Pricing, tiling: Tiling, threads: int) -> Iterator[Schedule]:
    """The orders of a tiling, those without blocks first."""
    for order in tiling.orders:
        yield Schedule(tiling.tiles, order, 1, 1)
    for order in tiling.orders:
        for block in pricing.blocks(tiling.tiles, order, threads):
            yield Schedule(tiling.tiles, order, 1, 1, block=block)


def _tilings(site: Site, threads: int) -> list[Tiling]:
    """The tilings worth a price on the registers that the epilogue leaves."""
    embedding, moving = site.embedding, site.moving
    pairs = embedding.binding.pairs[1:]
    whole = [embedding.accesses[access].tensor for operand, access in pairs if moving[operand].whole]
    panel = max([embedding.operator.main.tensor(name).bytes for name in whole], default=0)
    core = Core(site.registers.free - max(0, spare_registers(site.plan) - _SPARE), site.memory.bits // 8)
    leader = next((operand for operand, moves in moving.items() if moves.lanes > 1), pairs[0][0])
    return choose(embedding, core, moving, _steps(site, leader), panel, threads)


def _copies(site: Site, schedule: Schedule) -> float:
    """Cycles of copying what the kernel does not read or write where the user has it, constants apart."""
    ways = [found for found in site.ways.values() if found.tensor not in site.constants]
    return sum([copied(found.stream(schedule).feed) for found in ways])


def _steps(site: Site, operand: str) -> dict[str, int]:
    """Elements that each loop moves in the input that is one operand; fused loops do not count."""
    read = site.embedding.accesses[site.embedding.binding.tensors[operand]]
    found = steps(read, site.physical[read.tensor].plain.strides())
    return {loop.name: found.get(loop.dims[0], 0) for loop in site.embedding.loops}
