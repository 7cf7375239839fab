"""What a schedule costs a core: cycles from its execution units, its latencies and the reads of each cache.

Numbers come from the first timing section of the ISA file. Units: the busiest set of them (embed.cpu.choosing.units).
Caches: what a part of the loop nest touches is read once from the level beyond each cache that holds it, as long as the
loops around move other tensors alone (Low et al., "Analytical Modeling Is Enough for High-Performance BLIS", ACM TOMS
43(2), 2016). Compute and transfers overlap, so that the slowest counts, and a part of what comes from far.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import hypot, prod
from operator import le, mul

from dataflow.dtypes import bits
from embed.cpu.arrays.feed import Feed
from embed.cpu.arrays.packed import Packed
from embed.cpu.arrays.ways import Way
from embed.cpu.choosing.units import held, unit_sets
from embed.cpu.lowering.moves import Moves
from embed.cpu.lowering.roles import Roles
from embed.embedding import Embedding, TileLoop
from embed.nest.schedule import Schedule
from embed.nest.task import whole_and_rest
from embed.physical import Physical
from embed.repacking import Packing
from isa.memo import remembered
from isa.model import Cost, Isa, MicroOperations

_UNKNOWN = Cost("", 0, {}, (MicroOperations(1, ("any0", "any1")),), 4)
"""An instruction that no timing section knows: two a cycle."""

_DISPATCH = 4
_LEVELS = ("l1", "l2", "l3")
_READS = {"l2": 32, "l3": 16, "memory": 6}
"""Bytes a cycle of cores that do not say."""

_USABLE = 0.75
"""The part of a cache that holds what is to be used again: lines of other data and uneven sets take the rest."""

_LOOP_CYCLES = 2.0
_PART_OF_OTHERS = 0.02
"""Of equal schedules the one that moves least is better, and what overlaps does so not quite."""

_PAGE = 4096
"""Prefetchers follow one run of addresses in each page, and none beyond it (Intel 64 and IA-32 Architectures
Optimization Reference Manual, "Data Prefetch to L1 and L2 caches")."""

_PACKING = 3.0
"""Cycles a byte in which numpy copies an input into words."""

_PACKING_START = 20_000
"""Cycles of that however small: numpy's calls."""

_BORDER = {"start": 3000, "run": 14, "byte": 0.09, "apart": 1.3}
"""Cycles in which numpy copies an input into a border of zeros: for each run of neighbours and their bytes, or for each
element that is copied on its own (measured on an Emerald Rapids).
"""


@dataclass(frozen=True, slots=True)
class Units:
    """Cycles that counts of some instructions need at least: each row has a share for each instruction."""

    rows: tuple[tuple[float, ...], ...]

    def cycles(self, counts: Sequence[float]) -> float:
        """The busiest set of units."""
        return float(max([sum(map(mul, row, counts)) for row in self.rows]))


@dataclass(frozen=True, slots=True)
class Machine:
    """One core: its units for (compute, load, spread), and how long a compute waits for the one before on a register.

    `end` is what storing a result and clearing its register take; `caches` have bytes, and the rate of the next level.
    """

    units: Units
    latency: float
    end: float
    caches: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Price:
    """Cycles: of the units, of the reads beyond each cache, of copies of inputs before; and in all."""

    compute: float
    transfers: tuple[float, ...]
    copies: float
    total: float


def machine(target: Isa, roles: Roles) -> Machine:
    """The core of an ISA's first timing section."""
    return _machine(target, roles.compute, roles.load, roles.spread, roles.store, roles.zero)


@remembered
def _machine(target: Isa, *names: str) -> Machine:
    timing = next(iter(target.timings.values()), None)
    costs, constants = (timing.costs, timing.constants) if timing else ({}, {})
    used = [costs.get(name, _UNKNOWN) for name in names]
    dispatch = constants.get("decode") or constants.get("dispatch") or _DISPATCH
    rate = {level: float(constants.get(f"{level}_read", known)) for level, known in _READS.items()}
    caches = []
    for level, beyond in zip(_LEVELS, (*_LEVELS[1:], "memory"), strict=True):
        if f"{level}_bytes" in constants:
            caches.append((constants[f"{level}_bytes"] * _USABLE, rate[beyond]))
    steps, ends = Units(_rows(used[:3], dispatch)), Units(_rows(used[3:], dispatch))
    return Machine(steps, used[0].accumulate or used[0].latency, ends.cycles([1, 1]), tuple(caches))


def _rows(costs: Sequence[Cost], dispatch: int) -> tuple[tuple[float, ...], ...]:
    """A row for each set of units that can be the busiest, and one for the dispatch."""
    rows = [tuple(held(cost, units) / len(units) for cost in costs) for units in unit_sets(costs)]
    rows.append(tuple(sum(uop.count for uop in cost.uops) / dispatch for cost in costs))
    return tuple(row for row in dict.fromkeys(rows) if not any(row != o and all(map(le, row, o)) for o in rows))


@remembered
def invocation_cycles(target: Isa, name: str) -> float:
    """Cycles that one of many invocations of an instruction takes at least."""
    timing = next(iter(target.timings.values()), None)
    cost = timing.costs.get(name, _UNKNOWN) if timing else _UNKNOWN
    return Units(_rows([cost], _DISPATCH)).cycles([1])


def copy_cycles(size: int) -> float:
    """Cycles in which numpy brings so many bytes from one layout to another."""
    return _PACKING_START + _PACKING * size


def packing(feed: Feed, physical: Physical) -> Packing:
    """What is left to pack of a tensor that lies so where the user has it."""
    name, layout = physical.tensor.name, physical.name
    if feed.in_place:
        return Packing(name, layout, True)
    size = bits(physical.tensor.dtype)
    return Packing(name, layout, False, (physical.size + feed.size) * size // 8, round(copied(feed)))


def copied(feed: Feed) -> float:
    """Cycles of the copy of a tensor that the kernel does not read or write where the user has it."""
    if feed.in_place:
        return 0.0
    if feed.layout is None:
        return _bordering(feed)
    return copy_cycles(feed.size * bits(feed.physical.tensor.dtype) // 8)


def _bordering(feed: Feed) -> float:
    """Cycles of copying a tensor into a border."""
    tensor = feed.physical.tensor
    if feed.apart:
        return _BORDER["start"] + _BORDER["apart"] * tensor.size
    return _BORDER["start"] + _BORDER["run"] * tensor.size / feed.run + _BORDER["byte"] * tensor.bytes


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
        self.tensors = [_Reach(embedding, operand, found, owners) for operand, found in ways.items()]
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

    def _levels(self, schedule: Schedule, some: Sequence["_Reach"] | None = None) -> list[tuple[float, float]]:
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


class _Reach:
    """How many bytes of one operand's tensor some iterations of the loops touch."""

    def __init__(self, embedding: Embedding, operand: str, found: Way, owners: Mapping[str, TileLoop]) -> None:
        read, radix = embedding.accesses[embedding.binding.tensors[operand]], embedding.radix
        tensor = embedding.operator.main.tensor(read.tensor)
        loops = {dim: owners[dim] for dim in read.dims}
        self.size = bits(found.physical.tensor.dtype) // 8
        self.loops = frozenset([loop.name for loop in loops.values()])
        near = {} if isinstance(found, Packed) or not found.spread else found.point
        self.crowded = [name for name, step in near.items() if name in embedding.result_loops and step < _PAGE]
        self.packed = isinstance(found, Packed)
        self.word = self.size * prod([radix[name] for name in self.loops if name in radix])
        self.dims = []
        inside = _inside(embedding)
        for index, size in zip(read.index, tensor.shape, strict=True):
            steps = [(loops[dim].name, abs(step)) for dim, step in index.terms]
            start = 1 - sum([step for _, step in steps])
            points = [radix.get(loops[dim].name, 1) / inside.get(dim, 1) for dim, _ in index.terms]
            moved = [(name, step * count) for (name, step), count in zip(steps, points, strict=True)]
            self.dims.append((size, start, moved))

    def is_crowded(self, tiles: Mapping[str, int]) -> bool:
        """Whether the rows that a tile reads side by side lie several to a page."""
        return any(tiles[name] > 1 for name in self.crowded)

    def bytes(self, spans: Mapping[str, int]) -> float:
        """Bytes that `spans` iterations of each loop touch."""
        if self.packed:
            return float(self.word * prod([spans[name] for name in self.loops]))
        total = float(self.size)
        for size, start, steps in self.dims:
            reach = float(start)
            for name, step in steps:
                reach += step * spans[name]
            total *= min(size, reach)
        return total


def _inside(embedding: Embedding) -> dict[str, int]:
    """How many points of a digit pass before one of its dims moves, where that is not each."""
    found = {}
    for digit in embedding.digits:
        for place, dim in enumerate(digit.dims[1:], 1):
            found[dim] = prod([embedding.extents[inner] for inner in digit.dims[:place]])
    return found
