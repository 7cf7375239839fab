"""What a schedule costs, as whole numbers: the model that the solver minimises, evaluated without it.

    cycles = first loads + max(compute + stalls, loads, stores, fetches) + the last stores

Loads of one step run while the step before computes, and its epilogue if it ends an output tile; what does not fit is a
stall. A tensor *kept* from loop depth d on
has a place for each of its tiles below d, so that the loops inside d reload nothing.
"""

from collections.abc import Mapping
from math import prod

from embed.nest.schedule import Schedule
from embed.nest.task import Choice, Task, even_tiles

MOST_PIECES = 16


def fits(task: Task, choice: Choice) -> bool:
    """Whether all tiles that are there at once lie in their scratchpads, and 2-D copies reach all padding."""
    room, tiles = task.room, choice.tiles
    for tensor in task.inputs:
        count = slots(task, choice, tensor)
        if (
            task.pads_outside(tensor, tiles)
            or count > room.most_slots
            or count * tile_words(task, tensor, tiles) > room.words[tensor]
        ):
            return False
    extra = sum(
        task.layouts[name].words if name in choice.whole else tile_words(task, name, tiles) for name in room.shared
    )
    return choice.result_buffers * tile_words(task, task.output, tiles) + extra <= room.words[task.output]


def slots(task: Task, choice: Choice, tensor: str) -> int:
    """Tiles of an input that are there at once."""
    counts = _counts(task, choice.tiles)
    moving = task.moves(tensor)
    if prod(counts[name] for name in moving) == 1:
        return 1
    below = prod(counts[name] for name in choice.order[choice.kept[tensor] :] if name in moving)
    return max(below, 2 if choice.double else 1)


def loads(task: Task, choice: Choice, tensor: str) -> int:
    """How often a tile of an input is loaded."""
    counts, depth = _counts(task, choice.tiles), choice.kept[tensor]
    below = [name for name in choice.order[depth:] if name in task.moves(tensor)]
    return prod(counts[name] for name in (*choice.order[:depth], *below))


def price(task: Task, choice: Choice) -> int:
    """The cycles of a schedule."""
    rates, room, tiles = task.rates, task.room, choice.tiles
    counts = _counts(task, tiles)
    steps, results = prod(counts.values()), prod(counts[name] for name in task.results)
    times = {tensor: loads(task, choice, tensor) for tensor in task.inputs}
    each = {t: _one(task, t, tiles) for t in task.inputs}
    begun = sum(each.values())
    words = tile_words(task, task.output, tiles)
    extra = sum(_one(task, t, tiles) + begun for t in room.shared if t not in choice.whole)
    finish = rates.result * words + room.passes * room.pass_start
    compute = rates.invocation * task.embedding.invocations + rates.result * task.stored
    compute += room.pass_start * (steps + results * room.passes) + extra * results
    step = rates.invocation * prod(tiles.values()) + room.pass_start
    loading = sum(_all(task, choice, t) for t in task.inputs)
    ends = {t: times[t] // prod(counts[n] for n in counts if n in task.moves(t) - set(task.results)) for t in times}
    stalls = _stalls(times, ends, each, (step, step + finish)) if choice.double else loading
    storing = rates.store * task.stored + room.store_burst * task.bursts(_innermost_cut(task, tiles), tiles)
    busy = compute + stalls + (storing if choice.result_buffers == 1 else 0)
    instructions = steps + results * (room.passes + 1) + sum(times[t] * task.parts(t, tiles) for t in task.inputs)
    whole = sum(room.load_start + task.beats(t, task.layouts[t].words) for t in choice.whole)
    last = -(-task.storing(words) // choice.pieces) + (choice.pieces - 1) * (room.passes - 1) * room.pass_start
    return room.launch + begun + whole + max(busy, loading, storing, room.fetch * instructions) + last


def _innermost_cut(task: Task, tiles: Mapping[str, int]) -> int:
    """The innermost of the output's axes that a tile does not take whole; the outermost axis if it takes all."""
    axes = task.layouts[task.output].axes
    cut = [place for place, axis in enumerate(axes) if task.span(axis, tiles) < axis.extent]
    return cut[-1] if cut else 0


def _stalls(times: Mapping[str, int], ends: Mapping[str, int], each: Mapping[str, int], hidden: tuple[int, int]) -> int:
    """Cycles of loads that no computation hides; the rarer loads come together with others.

    Of `times` loads, `ends` come while an output tile ends; `hidden` cycles inside a tile, and at its end, hide one.
    """
    both, both_ends = min(times.values()), min(ends.values())
    total = _above(both, both_ends, sum(each.values()), hidden)
    for name, count in times.items():
        alone = count - both
        total += _above(alone, min(alone, ends[name] - both_ends), each[name], hidden)
    return total


def _above(count: int, ends: int, cost: int, hidden: tuple[int, int]) -> int:
    """What some loads cost beyond what hides them."""
    return ends * max(0, cost - hidden[1]) + (count - ends) * max(0, cost - hidden[0])


def _counts(task: Task, tiles: Mapping[str, int]) -> dict[str, int]:
    return {name: -(-extent // tiles[name]) for name, extent in task.extents.items()}


def tile_words(task: Task, tensor: str, tiles: Mapping[str, int]) -> int:
    """Words of one whole tile, padding included."""
    return prod(task.span(axis, tiles) for axis in task.layouts[tensor].axes)


def _one(task: Task, tensor: str, tiles: Mapping[str, int]) -> int:
    """Cycles of loading one whole tile."""
    return task.room.load_start * task.parts(tensor, tiles) + task.beats(tensor, tile_words(task, tensor, tiles))


def _all(task: Task, choice: Choice, tensor: str) -> int:
    """Cycles of all loads of an input: their starts, and the words that they read."""
    counts, axes = _counts(task, choice.tiles), task.layouts[tensor].axes
    again = prod(counts[name] for name in choice.order[: choice.kept[tensor]] if name not in task.moves(tensor))
    read = prod(task.reads(axis, choice.tiles) for axis in axes) * again
    starts = loads(task, choice, tensor) * task.parts(tensor, choice.tiles)
    return task.room.load_start * starts + task.beats(tensor, read)


def schedule(task: Task, choice: Choice, bound: int) -> Schedule:
    """The schedule that a choice stands for; `bound` is the least cycles of all."""
    inner = {t: slots(task, choice, t) for t in task.inputs}
    usual = 2 if choice.double else 1
    kept = {t: count for t, count in inner.items() if count > usual}
    tail = last_pieces(task, choice)
    buffers, cycles = choice.result_buffers, price(task, choice)
    return Schedule(dict(choice.tiles), choice.order, usual, buffers, kept, choice.whole, tail, False, cycles, bound)


def last_pieces(task: Task, choice: Choice) -> tuple[str, int] | None:
    """How to cut the last output tile's epilogue: P pieces start each pass P times and leave 1/P of the store last.

    A piece along an inner loop lies apart in the scratchpad, and is stored in as many parts as the loops outside count.
    """
    room, passes = task.room, task.room.passes - 1
    last = {name: (extent - 1) % choice.tiles[name] + 1 for name, extent in task.extents.items()}
    loops = [loop for axis in task.layouts[task.output].axes for loop, _ in axis.loops if last[loop] > 1]
    if not passes or room.result_buffers == 1:
        return None
    words, parts = tile_words(task, task.output, last), 1
    cost: dict[tuple[str, int] | None, int] = {None: task.storing(words) + passes * room.pass_start}
    for loop in loops:
        extent = last[loop]
        for size in even_tiles(extent)[:-1]:
            pieces = -(-extent // size)
            starts = pieces * (passes * room.pass_start + (parts - 1) * room.fetch)
            cost[loop, size] = starts + task.storing(-(-words * size // extent))
        parts *= extent
    return min(cost, key=lambda cut: cost[cut])
