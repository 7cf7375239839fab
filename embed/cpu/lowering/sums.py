"""The steps of a sum inside one tile: which words are loaded into which registers, and the multiply-accumulates.

Of the two inputs one is held: its words stay in registers for a whole step, or for several where the instruction picks
a lane itself. The words of the other pass through the registers that are left.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

from embed.cpu.arrays.streams import Stream
from embed.cpu.assembler.bases import offsets
from embed.cpu.assembler.program import Filled, Part, Repeat, Run, Slots, fields_of, instruction, short
from embed.cpu.lowering.indexed import piece
from embed.cpu.lowering.loads import Loads, Place, Word, moved
from embed.cpu.lowering.roles import Roles
from embed.cpu.lowering.steps import Steps, Taker
from embed.nest.ir import Nest
from isa.model import Isa

FIRST_POINTER = 3
"""The pointer registers before it are the function's arguments."""

_MASK = 1

Point = tuple[int, ...]


@dataclass(slots=True)  # as items of a program
class Span:
    """How many iterations of a loop the code at hand covers, whether the loop's last one is among them, and the first.

    Only sums start elsewhere than where pointers stand.
    """

    count: int
    last: bool
    start: int = 0


Spans = Mapping[str, Span]


@dataclass(frozen=True, slots=True)
class Registers:
    """The vector registers of the machine, and the lanes in use of the last word of each loop that does not fill it.

    Where no loop runs along the lanes, every word is partial, and the loop's name is empty.
    `vector_mask` says that masks are vectors, not registers of their own: the last vector register then holds one,
    read from the array behind the tensors. `reach` is how many registers an input operand can name, if not all.
    `pointers` is how many pointer registers there are, `passed` how many vector registers hold what one instruction of
    a sequence leaves to the next.
    """

    count: int
    partial: Mapping[str, int]
    vector_mask: bool = False
    reach: Mapping[str, int] = field(default_factory=dict)
    pointers: int = 0
    passed: int = 0

    @property
    def free(self) -> int:
        """Vector registers for data."""
        return self.count - (1 if self.tables else 0) - self.passed

    @property
    def scratch(self) -> range:
        """The registers behind them that no loop keeps."""
        return range(self.free, self.free + self.passed)

    @property
    def tables(self) -> int:
        """Masks that are read from arrays."""
        return len(self.partial) if self.vector_mask else 0

    @property
    def mask(self) -> int:
        """The register that holds the mask."""
        return self.count - 1 if self.vector_mask else _MASK


@dataclass
class Sums:
    """The operands of a kernel, and the items that sum one tile."""

    target: Isa
    nest: Nest
    roles: Roles
    slots: Mapping[str, Slots]
    streams: Mapping[str, Stream]
    registers: Registers
    items: list[Part] = field(default_factory=list)
    accumulators: dict[Point, int] = field(default_factory=dict)
    zeros: dict[int, Run] = field(default_factory=dict)
    summed: dict[tuple[tuple[int, bool], ...], Run | Repeat] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.output = self.nest.embedding.pattern.output.tensor
        self.result_names = self.nest.embedding.result_loops
        mask = self.registers.mask
        self.loads = {
            name: Loads(found, self.roles, self.slots, mask, [(number, 0)])
            for number, (name, found) in enumerate(self.streams.items(), FIRST_POINTER)
        }

    def plan(self, spans: Spans, first: int, end: int) -> None:
        """Give inputs whose tile reaches far a base or more, of the pointer registers from `first` up to `end`."""
        if not any(self.slots[name].disps for name in self.roles.moves):
            return
        self.accumulators = dict.fromkeys(self.results(spans), 0)
        sums = [name for name in spans if name not in self.result_names]
        steps = list(product(*(range(spans[name].count) for name in sums)))
        for operand, loads in self.loads.items():
            if operand == self.output:
                continue
            moves = {move for move, _ in self.gathered(loads.found, sums, steps, spans)}
            words = {moved(word, move) for word in {word for word, _ in self.at(operand, spans)} for move in moves}
            pair = self.slots[self.roles.pair] if loads.paired_bytes and loads.found.lanes == 1 else None
            wanted = [((pair or loads.entry(groups, masked)).disps, disp) for disp, groups, masked in words]
            for offset in offsets(wanted, end - first)[1:]:
                loads.bases.append((first, offset))
                first += 1

    def pointer(self, name: str) -> int:
        return self.loads[name].bases[0][0]

    def results(self, spans: Spans) -> list[Point]:
        """Every point of the tile along the output's loops."""
        return list(product(*(range(spans[name].count) for name in self.result_names)))

    def reset(self, spans: Spans) -> None:
        """Accumulators come first, unless an input can only name the first registers."""
        points = self.results(spans)
        first = self.registers.free - len(points) if self.registers.reach else 0
        self.accumulators = {point: register for register, point in enumerate(points, first)}
        if len(points) not in self.zeros:
            zero = self.slots[self.roles.zero]
            self.zeros[len(points)] = [zero.alone(register) for register in self.accumulators.values()]
        self.items.append(self.zeros[len(points)])

    @property
    def left(self) -> list[int]:
        """The registers that are no accumulators."""
        taken = set(self.accumulators.values())
        return [register for register in range(self.registers.free) if register not in taken]

    def compute(self, spans: Spans) -> None:
        """The steps of the sum; where tiles are alike, so are their instructions."""
        shape = tuple([(span.count, span.last) for span in spans.values()])
        if shape not in self.summed:
            self.summed[shape] = self.steps(spans)
        self.items.append(self.summed[shape])

    def steps(self, spans: Spans) -> Run | Repeat:
        """One step of the sum after another."""
        used = {operand: self.at(operand, spans) for operand in self.streams if operand != self.output}
        held, passed = self.order(used)
        places = {word: place for place, word in enumerate(dict.fromkeys(word for word, _ in used[held]))}
        keep, free = self.shares(passed, len(places))
        uses = self.uses(used[held], used[passed], places)
        choice = (self.roles.indexed.choice,) if self.roles.indexed is not None else ()
        fields = fields_of(self.target, self.roles.compute, (self.output, held, passed, *choice))
        expand = self.expanded if self.roles.sequence is not None else None
        steps = Steps(self.roles, fields, self.loads[held], self.loads[passed], tuple(places), keep, uses, free, expand)
        sums = [name for name in spans if name not in self.result_names]
        at = list(product(*(range(spans[name].count) for name in sums)))
        return steps.all(*(self.gathered(self.streams[operand], sums, at, spans) for operand in (held, passed)))

    def expanded(self, filled: Filled) -> list[Filled]:
        """The instructions that a multiply-accumulate stands for."""
        assert self.roles.sequence is not None
        parts = self.roles.sequence.expanded(instruction(filled).fields, self.registers.scratch)
        return [short(self.target, part) for part in parts]

    def order(self, used: Mapping[str, list[Place]]) -> list[str]:
        """The input that is held and the one that passes."""
        words = {operand: len({word for word, _ in places}) for operand, places in used.items()}
        return sorted(used, key=lambda operand: (self.streams[operand].lanes == 1, words[operand]))

    def shares(self, passed: str, held: int) -> tuple[list[int], list[int]]:
        """Registers for the held words, and those left for the passing ones."""
        left = self.left
        if passed in self.registers.reach:
            return left[len(left) - held :], left[: len(left) - held][: self.registers.reach[passed]]
        return left[:held], left[held:]

    def uses(self, held: list[Place], passed: list[Place], places: Mapping[Word, int]) -> dict[Word, list[Taker]]:
        """The passing words of one step, each with what it is multiplied with and added to."""
        found: dict[Word, list[Taker]] = {}
        for register, (word, _), (other, lane) in zip(self.accumulators.values(), passed, held, strict=True):
            found.setdefault(word, []).append((register, places[other], lane))
        return found

    def at(self, operand: str, spans: Spans) -> list[Place]:
        """The word of an operand that each accumulator uses at the first step, and which of its groups."""
        found = self.streams[operand]
        used = self.gathered(found, self.result_names, self.accumulators, spans)
        if self.is_indexed(operand) or found.spread or not found.feed.in_place:
            return used
        partial = self.partial(found, spans)
        if not partial:
            return used
        places = zip(self.accumulators, used, strict=True)
        return [((disp, groups, point in partial), lane) for point, ((disp, groups, _), lane) in places]

    def gathered(self, found: Stream, names: Sequence[str], places: Collection[Point], spans: Spans) -> list[Place]:
        """For each place along some loops, the word with what lies there, and where in the word it is."""
        if not found.along:
            return [((disp, 1, False), 0) for disp in distances(found, names, spans)]
        return [self.picked(found, names, place, spans) for place in places]

    def picked(self, found: Stream, names: Sequence[str], place: Point, spans: Spans) -> Place:
        """The same of one place, where a word is picked from a register of several."""
        disp, groups, lane = 0, 1, 0
        for name, i in zip(names, place, strict=True):
            if name == found.along:
                start, groups = piece(i, spans[name].count, found.lanes)
                i, lane = start, i - start
            disp += found.point.get(name, 0) * i
        return (disp, groups, False), lane

    def is_indexed(self, operand: str) -> bool:
        return self.roles.indexed is not None and self.roles.indexed.operand == operand

    def partial(self, found: Stream, spans: Spans) -> Collection[Point]:
        """The accumulators whose word is the last of a loop whose lanes it does not fill."""
        if "" in self.registers.partial:
            return self.accumulators
        ends = [
            (place, spans[name].count - 1)
            for place, name in enumerate(self.result_names)
            if name in self.registers.partial and name in found.point and spans[name].last
        ]
        return {point for place, last in ends for point in self.accumulators if point[place] == last}


def distances(found: Stream, names: Sequence[str], spans: Spans) -> list[int]:
    """Bytes from where a stream's pointer stands to its word at each place along some loops, the last one fastest."""
    disps = [0]
    for name in names:
        count, step = spans[name].count, found.point.get(name, 0)
        if count != 1:
            disps = [disp + step * i for disp in disps for i in range(count)]
    return disps
