"""What a schedule costs, as whole numbers: the model that the solver minimises, evaluated without it.

    cycles = first loads + max(compute + stalls, loads, stores, fetches) + the last stores

Loads of one step run while the step before computes, and its epilogue if it ends an output tile; what does not fit is a
stall. A tensor *kept* from loop depth d on
has a place for each of its tiles below d, so that the loops inside d reload nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations
from math import prod

from embed.costs import Rates
from embed.embedding import Embedding
from embed.layout import Axis, Layout
from embed.nest.build import result_loops
from embed.nest.schedule import Schedule

_MOST_TILES = 4096
"""Tiles of one loop at most."""

MOST_PIECES = 16


@dataclass(frozen=True, slots=True)
class Room:
    """Words each tensor's scratchpad holds, fixed cycles of a load and of a compute pass, and limits of the machine.

    `shared` tensors lie in the output's scratchpad; `passes` is the number of compute passes over each output tile,
    `longest_load` the words of one load, `result_buffers` the most output tiles in flight, `fetch` the cycles that
    fetching an instruction takes at least, `launch` those before the first load starts, `most_slots` the most tiles of
    one input that the machine keeps apart, `store_burst` the cycles of a store for every `burst_bytes`.
    """

    words: Mapping[str, int]
    shared: tuple[str, ...]
    load_start: int
    pass_start: int
    passes: int
    longest_load: int
    result_buffers: int
    fetch: int = 0
    launch: int = 0
    most_slots: int = 1 << 20
    store_burst: int = 0
    burst_bytes: int = 1


@dataclass(frozen=True)
class Choice:
    """Tile sizes, loop order, the depth from which each input is kept, tiles in flight, epilogue tensors kept whole.

    `double` loads a tile while the one before is in use; the last output tile is stored in `pieces`.
    """

    tiles: Mapping[str, int]
    order: tuple[str, ...]
    kept: Mapping[str, int]
    double: bool
    result_buffers: int
    whole: tuple[str, ...]
    pieces: int


@dataclass(frozen=True)
class Task:
    """An embedding to schedule on a machine."""

    embedding: Embedding
    layouts: Mapping[str, Layout]
    rates: Rates
    room: Room

    @cached_property
    def extents(self) -> dict[str, int]:
        return {loop.name: loop.extent for loop in self.embedding.loops}

    @cached_property
    def results(self) -> tuple[str, ...]:
        """Loops that move along the output."""
        return result_loops(self.embedding)

    @property
    def output(self) -> str:
        return self.embedding.operator.main.output.tensor

    @property
    def inputs(self) -> tuple[str, ...]:
        return self.embedding.inputs

    def word_bytes(self, tensor: str) -> int:
        """Bytes of a packed word of an input or of an epilogue's tensor."""
        operand = self.embedding.binding.operands.get(tensor)
        return self.rates.input_bytes[operand] if tensor in self.inputs and operand else self.rates.extra_bytes

    def beats(self, tensor: str, words: int) -> int:
        """Bus cycles of some words."""
        return words * self.word_bytes(tensor) // self.rates.bus if self.rates.bus else 0

    def storing(self, words: int) -> int:
        """Cycles of storing some output words that are neighbours in memory."""
        bursts = -(-words * self.rates.result_bytes // self.room.burst_bytes)
        return self.rates.store * words + self.room.store_burst * bursts

    def bursts(self, place: int, tiles: Mapping[str, int]) -> int:
        """Bursts of storing the whole output if `place` is the innermost of its axes that tiles cut; a run starts one.

        A run is what a tile has along that axis and all of the axes inside it.
        """
        axes = self.layouts[self.output].axes
        if not axes:
            return -(-self.rates.result_bytes // self.room.burst_bytes)
        size = prod(axis.extent for axis in axes[place + 1 :]) * self.rates.result_bytes
        outer = prod(axis.extent for axis in axes[:place])
        span = self.span(axes[place], tiles)
        full, rest = divmod(axes[place].extent, span)
        lengths = [span] * full + [rest] * bool(rest)
        return outer * sum(-(-length * size // self.room.burst_bytes) for length in lengths)

    def moves(self, tensor: str) -> frozenset[str]:
        """Loops that move along a tensor."""
        return frozenset(loop for axis in self.layouts[tensor].axes for loop, _ in axis.loops)

    @cached_property
    def stored(self) -> int:
        """Output words."""
        return prod(self.extents[name] for name in self.moves(self.output))

    @cached_property
    def options(self) -> dict[str, list[int]]:
        """Tile sizes worth trying of each loop: the smallest for its number of tiles.

        A summing loop of a padded window stays whole: a load of part of it could be all padding.
        """
        padded = [axis for layout in self.layouts.values() for axis in layout.axes if axis.before or axis.after]
        fixed = {loop for axis in padded for loop, _ in axis.loops if loop not in self.results}
        return {name: [extent] if name in fixed else even_tiles(extent) for name, extent in self.extents.items()}

    @cached_property
    def orders(self) -> list[tuple[str, ...]]:
        """Loop orders that differ in what they reload: output loops outside, sums inside.

        Loops that move the same inputs are neighbours, in their own order.
        """
        groups: dict[tuple[bool, ...], list[str]] = {}
        single = [name for name, extent in self.extents.items() if extent == 1]
        for name in self.results:
            if name not in single:
                groups.setdefault(tuple(name in self.moves(tensor) for tensor in self.inputs), []).append(name)
        sums = [name for name in self.extents if name not in self.results and name not in single]
        orders = permutations(groups.values())
        return [(*single, *(name for group in order for name in group), *sums) for order in orders]

    def span(self, axis: Axis, tiles: Mapping[str, int]) -> int:
        """Words along an axis of one tile, padding included."""
        return sum(factor * (tiles[loop] - 1) for loop, factor in axis.loops) + 1

    def reads(self, axis: Axis, tiles: Mapping[str, int]) -> int:
        """Stored words along an axis that all its tiles read together; overlaps count for each tile."""
        starts = [0]
        for loop, factor in axis.loops:
            starts = [at + factor * first for at in starts for first in range(0, self.extents[loop], tiles[loop])]
        total = 0
        for at in starts:
            length = self.clipped(axis, at, tiles)
            total += max(0, min(at + length, axis.before + axis.extent) - max(at, axis.before))
        return total

    def clipped(self, axis: Axis, at: int, tiles: Mapping[str, int]) -> int:
        """Words of the tile that starts at `at`; the last one of a single loop is shorter."""
        if len(axis.loops) != 1:
            whole = [loop for loop, _ in axis.loops if tiles[loop] < self.extents[loop]]
            if len(whole) != 1:
                return self.span(axis, tiles)
            [(name, factor)] = [pair for pair in axis.loops if pair[0] == whole[0]]
        else:
            [(name, factor)] = axis.loops
        count = min(tiles[name], self.extents[name] - at // factor)
        return self.span(axis, {**tiles, name: count})

    def parts(self, tensor: str, tiles: Mapping[str, int]) -> int:
        """Load instructions of one tile: 2-D copies, over the axes that do not merge with their inner neighbours."""
        axes = self.layouts[tensor].axes
        total, boundaries = 1, 0
        for place in reversed(range(len(axes))):
            total *= self.span(axes[place], tiles) if boundaries >= 2 else 1
            boundaries += self.breaks(axes, place, tiles)
        return total

    def pads_outside(self, tensor: str, tiles: Mapping[str, int]) -> bool:
        """Whether a tile of a tensor has padding in front of the two axes that one copy moves."""
        axes = self.layouts[tensor].axes
        breaks = [self.breaks(axes, place, tiles) for place in range(len(axes))]
        padded = [place for place, axis in enumerate(axes) if axis.before or axis.after]
        return any(sum(breaks[place + 1 :]) > 1 for place in padded)

    def breaks(self, axes: tuple[Axis, ...], place: int, tiles: Mapping[str, int]) -> bool:
        """Whether an axis does not merge with the one around it."""
        axis = axes[place]
        outer = place > 0 and bool(axes[place - 1].before or axes[place - 1].after)
        return bool(axis.before or axis.after) or outer or self.span(axis, tiles) < axis.extent


def even_tiles(extent: int) -> list[int]:
    """Tile sizes ceil(extent / count), each the smallest for its count of tiles."""
    sizes = {-(-extent // count) for count in range(1, min(extent, _MOST_TILES) + 1)}
    return sorted(sizes)


def is_even(extent: int, size: int) -> bool:
    """Whether a tile size is one of `even_tiles`."""
    count = -(-extent // size)
    return count <= _MOST_TILES and -(-extent // count) == size


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
