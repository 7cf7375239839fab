"""What a schedule costs a core: cycles from its execution units, its latencies and the reads of each cache.

Units: the busiest set of them (embed.cpu.choosing.units).
Caches: what a part of the loop nest touches is read once from the level beyond each cache that holds it, as long as the
loops around move other tensors alone (Low et al., "Analytical Modeling Is Enough for High-Performance BLIS", ACM TOMS
43(2), 2016). Compute and transfers overlap, so that the slowest counts, and a part of what comes from far.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import hypot, prod
from operator import mul

from embed.cpu.arrays.ways import Way
from embed.cpu.choosing.core import Machine
from embed.cpu.choosing.reach import Reach
from embed.cpu.lowering.moves import Moves
from embed.embedding import Embedding
from embed.nest.schedule import Schedule
from embed.nest.task import whole_and_rest

_LOOP_CYCLES = 2.0
_PART_OF_OTHERS = 0.02
"""Of equal schedules the one that moves least is better, and what overlaps does so not quite."""


@dataclass(frozen=True, slots=True)
class Price:
    """Cycles: of the units, of the reads beyond each cache, of copies of inputs before; and in all."""

    compute: float
    transfers: tuple[float, ...]
    copies: float
    total: float


class Pricing:
    """Prices of the schedules of one embedding with the `ways` to its tensors, after `copies` cycles."""

    def __init__(
        self,
        embedding: Embedding,
        core: Machine,
        moving: Mapping[str, Moves],
        ways: Mapping[str, Way],
        copies: float,
    ) -> None:
        self.core, self.copies = core, copies
        self.filled = [moves for moves in moving.values() if moves.whole or moves.lanes > 1]
        self.spread = [moves for moves in moving.values() if not (moves.whole or moves.lanes > 1)]
        self.extents = {loop.name: loop.extent for loop in embedding.loops}
        self.results = embedding.result_loops
        self.sums = [name for name in self.extents if name not in self.results]
        self.steps = prod([self.extents[name] for name in self.sums])
        owners = {dim: loop for loop in embedding.loops for dim in loop.dims}
        self.tensors = [Reach(embedding, operand, found, owners) for operand, found in ways.items()]
        self.whole = [tensor.bytes(self.extents) for tensor in self.tensors]
        numbered = list(enumerate(self.tensors))
        self.moved = {name: [place for place, tensor in numbered if name in tensor.loops] for name in self.results}
        windows = [name for tensor in self.tensors for *_, steps in tensor.dims if len(steps) > 1 for name, _ in steps]
        self.blockable = [name for name in self.results if name not in windows]
        self.once = [sum(self.whole) / rate for _, rate in core.caches]

    def least(self, compute: float, share: float) -> float:
        """What the total of `price` is no less than: every tensor is read once."""
        return self._total(compute, [share * once for once in self.once])

    def price(self, schedule: Schedule, compute: float, share: float) -> Price:
        """Cycles of a thread that has a `share` of the work and computes for so many cycles."""
        levels = self._levels(schedule)
        transfers = tuple([share * _read(levels, room) / rate for room, rate in self.core.caches])
        computed = self._waiting(schedule, compute, share) if len(transfers) > 1 else compute
        return Price(computed, transfers, self.copies, self._total(computed, transfers))

    def _waiting(self, schedule: Schedule, compute: float, share: float) -> float:
        """Cycles of computing with the waits for what comes from beyond the second cache.

        Sums wait the more, the busier that way is: the two add up as the legs of a right angle do. They wait for rows
        that no prefetcher follows, and where there are blocks for what each brings once more.
        """
        room, rate = self.core.caches[1]
        crowded = [each for each in self.tensors if each.is_crowded(schedule.tiles)]
        awaited = _missed(self._levels(schedule, crowded), room) / rate if crowded else 0.0
        again = self._again(schedule.block) / rate if schedule.block else 0.0
        return hypot(compute, share * awaited) + share * again

    def _again(self, block: tuple[str, int]) -> float:
        """Bytes that blocks after the first bring once more: the tensors that the loop in blocks does not move."""
        name, size = block
        others = sum([each.bytes(self.extents) for each in self.tensors if name not in each.loops])
        return others * (-(-self.extents[name] // size) - 1)

    def _total(self, compute: float, transfers: Sequence[float]) -> float:
        """The slowest of what overlaps, a little of the others, and the copies before."""
        slowest = max(compute, *transfers) if transfers else compute
        others = _PART_OF_OTHERS * (compute + sum(transfers) - slowest)
        return slowest + others + self.copies

    def share(self, schedule: Schedule, threads: int) -> float:
        """The part of the outermost loop's tiles or blocks that the thread with most to do gets."""
        name = schedule.order[0] if schedule.order else ""
        if threads == 1 or name not in self.results:
            return 1.0
        name, size = schedule.block or (name, schedule.tiles[name])
        count = -(-self.extents[name] // size)
        return -(-count // threads) / count

    def blocks(self, tiles: Mapping[str, int], order: Sequence[str], threads: int) -> Iterator[tuple[str, int]]:
        """Loops inside the outermost in blocks such that the second cache holds what one of its tiles needs of them.

        They are worth it where sums wait for what comes from beyond. There are as many blocks for each of `threads`.
        """
        results = [name for name in order if name in self.results]
        if len(self.core.caches) < 2 or len(results) < 2 or not any(each.is_crowded(tiles) for each in self.tensors):
            return
        room, spans = self.core.caches[1][0], {**self.extents, results[0]: tiles[results[0]]}
        for name in results[1:]:
            count = -(-self.extents[name] // tiles[name])
            if name not in self.blockable or count == 1:
                continue
            one, two = (sum([t.bytes({**spans, name: tiles[name] * n}) for t in self.tensors]) for n in (1, 2))
            fitting = int(1 + (room - one) / (two - one))
            if 1 < fitting < count:
                number = -(-count // fitting)
                yield name, -(-count // (number + -number % threads)) * tiles[name]

    def computed(self, tiles: Mapping[str, int]) -> float:
        """Cycles of whole register tiles and the rests along each loop: steps of the sum, and what a tile needs."""
        pieces: list[tuple[int, dict[str, int]]] = [(1, {})]
        for name in self.results:
            cut = whole_and_rest(self.extents[name], tiles[name])
            pieces = [(count * times, {**sizes, name: size}) for count, sizes in pieces for times, size in cut]
        unrolled = prod([tiles[name] for name in self.sums])
        return sum([count * self._tile(sizes, unrolled) for count, sizes in pieces])

    def _tile(self, sizes: Mapping[str, int], unrolled: int) -> float:
        core, sums = self.core, prod(sizes.values())
        filled = sum([moves.loads(sizes) for moves in self.filled])
        spread = sum([moves.loads(sizes) for moves in self.spread])
        step = max(core.units.cycles((sums, filled, spread)), core.latency)
        ends = sums * core.end + core.latency + _LOOP_CYCLES * len(sizes)
        return self.steps * (step + _LOOP_CYCLES / unrolled / 2) + ends

    def _levels(self, schedule: Schedule, some: Sequence[Reach] | None = None) -> list[tuple[float, float]]:
        """For each place in the order of results, the bytes that one trip of the loops inside touches, and the bytes
        that all trips bring if a cache holds those: once for each trip around that moves a tensor. Last, if none does.

        What is brought counts of `some` tensors alone where these are given.
        """
        spans, sizes, trips, tiles = dict(self.extents), list(self.whole), 1, schedule.tiles
        brought = [float(some is None or tensor in some) for tensor in self.tensors]
        counted = list(brought)
        found = [(sum(sizes), sum(map(mul, sizes, brought)))]
        blocks = [schedule.block] if schedule.block else []
        for name, size in (*blocks, *[(name, tiles[name]) for name in schedule.order[: len(self.results)]]):
            trips *= -(-spans[name] // size)
            for place in self.moved[name]:
                brought[place] = trips * counted[place]
            if spans[name] != size:
                spans[name] = size
                for place in self.moved[name]:
                    sizes[place] = self.tensors[place].bytes(spans)
                found.append((sum(sizes), sum(map(mul, sizes, brought))))
        return [*found, (0.0, sum(map(mul, sizes, counted)) * trips)]


def _read(levels: Sequence[tuple[float, float]], room: float) -> float:
    """Bytes that come from beyond a cache of `room` bytes."""
    return next(moved for touched, moved in levels if touched <= room)


def _missed(levels: Sequence[tuple[float, float]], room: float) -> float:
    """The same where a cache keeps a part of what is too much for it."""
    kept, fewer = 0.0, 0.0
    for touched, moved in levels:
        if touched <= room:
            return kept * fewer + (1 - kept) * moved
        kept, fewer = room / touched, moved
    raise AssertionError("one level touches nothing")
