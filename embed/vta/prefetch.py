"""Places for more input tiles than a schedule needs, so that loads run further ahead of what they wait for.

The price model lets one step hide what is loaded in it. Where the timed simulator finds a program slower than that,
tiles come in bursts, and with more places the next ones are loaded while the last are in use.
"""

from collections.abc import Iterator
from dataclasses import replace
from math import prod

from embed.embedding import Embedding
from embed.nest.price import tile_words
from embed.nest.schedule import Schedule
from embed.vta.executable import compile_vta, task_of
from isa.model import Isa

_EXPECTED = 1.02
"""A program this close to its schedule's price is as fast as the model knows how."""


def prefetched(embedding: Embedding, target: Isa, schedule: Schedule) -> Schedule:
    """The schedule, with as many places for input tiles as the timed simulator finds best."""
    if not schedule.cycles:
        return schedule
    best, cycles = schedule, _cycles(embedding, target, schedule)
    while cycles > _EXPECTED * schedule.cycles:
        timed = [(_cycles(embedding, target, other), other) for other in _deeper(embedding, target, best)]
        fewest = min((each for each, _ in timed), default=cycles)
        if fewest >= cycles:
            break
        cycles, best = next((each, other) for each, other in timed if each == fewest)
    return best


def _cycles(embedding: Embedding, target: Isa, schedule: Schedule) -> int:
    return compile_vta(embedding, target, schedule).timing().cycles


def _deeper(embedding: Embedding, target: Isa, schedule: Schedule) -> Iterator[Schedule]:
    """Schedules with twice the places for one input, as far as its scratchpad holds them and it has tiles."""
    task = task_of(embedding, target)
    for tensor in task.inputs:
        now = schedule.slots_of(tensor)
        tiles = prod(-(-task.extents[name] // schedule.tiles[name]) for name in task.moves(tensor))
        fitting = task.room.words[tensor] // tile_words(task, tensor, schedule.tiles)
        if now < min(2 * now, tiles, fitting):
            yield replace(schedule, slots={**schedule.slots, tensor: min(2 * now, tiles, fitting)})
