"""The last step to a schedule: its neighbours in the timed simulator, as long as one is faster.

The price model takes loads one step at a time and stores as if nothing waited for them; on large arrays the simulator
finds what that misses. Neighbours have the next smaller or larger tiles along one loop, or twice the places for one
input, so that loads run further ahead.
"""

from collections.abc import Iterator
from dataclasses import replace
from math import prod

from embed.costs import evaluate
from embed.embedding import Embedding
from embed.nest.price import last_pieces, tile_words
from embed.nest.schedule import Schedule
from embed.nest.task import Choice, Task
from embed.vta.executable import compile_vta, scheduled, task_of
from isa.model import Isa

_CLOSE = 1.03
"""A program this close to its bound is left as it is."""

_MOST = 40_000
"""Instructions that are simulated besides the first program's: a second or two."""


def schedule_of(embedding: Embedding, target: Isa) -> Schedule:
    """The schedule that the compiler takes for an embedding; raises NoEmbedding where no tile fits."""
    cycles = evaluate(embedding, task_of(embedding, target).rates).cycles
    return refined(embedding, target, scheduled(embedding, target), cycles)


def refined(embedding: Embedding, target: Isa, schedule: Schedule, bound: int) -> Schedule:
    """The schedule, or one reached from it by steps that each save cycles, the most first; `bound` is in cycles."""
    if not schedule.cycles:
        return schedule
    trials = _Trials(task_of(embedding, target), target)
    best, cycles = schedule, trials.run(schedule)
    while cycles > _CLOSE * bound:
        near = (other for other in neighbours(trials.task, best) if reading(trials.task, other) < cycles)
        timed = [(trials.run(other), other) for other in near if trials.left(other)]
        fewest = min((found for found, _ in timed), default=cycles)
        if fewest >= cycles:
            break
        cycles, best = next((found, other) for found, other in timed if found == fewest)
    return best


class _Trials:
    """Schedules of a task that were simulated, and the instructions that this took but for the first."""

    def __init__(self, task: Task, target: Isa) -> None:
        self.task, self.target = task, target
        self._known: set[str] = set()
        self._spent = 0

    def run(self, schedule: Schedule) -> int:
        """Simulated cycles."""
        kernel = compile_vta(self.task.embedding, self.target, schedule)
        self._spent += len(kernel.code.instructions) if self._known else 0
        self._known.add(str(schedule))
        return kernel.timing().cycles

    def left(self, schedule: Schedule) -> bool:
        """Whether a schedule is new, and there is time for it."""
        return str(schedule) not in self._known and self._spent < _MOST


def reading(task: Task, schedule: Schedule) -> int:
    """Cycles in which the bus reads the inputs: no program of a schedule takes fewer.

    A tile is there again if no more tiles than there are places came in between; they come in the loops' order.
    """
    counts = {name: -(-extent // schedule.tiles[name]) for name, extent in task.extents.items()}
    total = 0
    for tensor in task.inputs:
        axes, moving = task.layouts[tensor].axes, task.moves(tensor)
        if any(sum(counts[loop] > 1 for loop, _ in axis.loops) > 1 for axis in axes):
            continue  # tiles of different steps may be the same words
        between = again = 1
        for name in reversed(schedule.order):
            if name in moving:
                between *= counts[name]
            elif between > schedule.slots_of(tensor):
                again *= counts[name]
        total += task.beats(tensor, again * prod(task.reads(axis, schedule.tiles) for axis in axes))
    return total


def neighbours(task: Task, schedule: Schedule) -> Iterator[Schedule]:
    """Those that fit, one step away."""
    for tensor in task.inputs:
        deeper = min(2 * schedule.slots_of(tensor), _tiles(task, schedule, tensor))
        if deeper > schedule.slots_of(tensor):
            other = replace(schedule, slots={**schedule.slots, tensor: deeper})
            yield from _fitting(task, other)
    for name, sizes in task.options.items():
        place = sizes.index(schedule.tiles[name])
        for near in (place - 1, place + 1):
            if 0 <= near < len(sizes):
                yield from _fitting(task, _retiled(task, schedule, name, sizes[near]))


def _retiled(task: Task, schedule: Schedule, name: str, size: int) -> Schedule:
    """Another tile size along one loop; inputs that stay still do, and the last tile is cut as its shape asks for."""
    other = replace(schedule, tiles={**schedule.tiles, name: size})
    slots = {
        tensor: -(-count * _tiles(task, other, tensor) // _tiles(task, schedule, tensor))
        for tensor, count in schedule.slots.items()
    }
    double, buffers = schedule.buffers > 1, schedule.result_buffers
    choice = Choice(other.tiles, schedule.order, {}, double, buffers, schedule.whole, 1)
    return replace(other, slots=slots, tail=last_pieces(task, choice))


def _fitting(task: Task, schedule: Schedule) -> Iterator[Schedule]:
    """The schedule, if its tiles fit their scratchpads."""
    room, words = task.room, {tensor: tile_words(task, tensor, schedule.tiles) for tensor in task.layouts}
    extra = sum(task.layouts[name].words if name in schedule.whole else words[name] for name in room.shared)
    inputs = all(schedule.slots_of(tensor) * words[tensor] <= room.words[tensor] for tensor in task.inputs)
    copied = not any(task.pads_outside(tensor, schedule.tiles) for tensor in task.inputs)
    if inputs and copied and schedule.result_buffers * words[task.output] + extra <= room.words[task.output]:
        yield schedule


def _tiles(task: Task, schedule: Schedule, tensor: str) -> int:
    """Tiles that an input has."""
    return prod(-(-task.extents[name] // schedule.tiles[name]) for name in task.moves(tensor))
