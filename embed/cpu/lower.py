"""From the loop nest to a register machine's program: tile loops become loops, tiles become straight-line code.

Accumulators stay in registers from `Reset` to `Drain`. Every address is a pointer and a constant: sizes are known, so
only whole tiles move pointers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product

from embed.cpu.control import (
    Add,
    AddImmediate,
    Branch,
    BranchIfLess,
    Item,
    Label,
    LoadPointer,
    Loop,
    Move,
    MultiplyImmediate,
    Return,
    SetImmediate,
    SetMask,
)
from embed.cpu.roles import Roles, Slots
from embed.cpu.streams import Stream
from embed.errors import NoEmbedding
from embed.nest.build import result_loops
from embed.nest.ir import Compute, Drain, Fill, Nest, Node, Pass, Points, Reset, Tiles
from isa.machine import MachineInstruction

_TENSORS, _BEGIN, _END = 0, 1, 2
_MASK = 1
_LIMIT = _TENSORS
"""Once the pointers are read, their array's register holds where whole tiles end."""

Point = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Span:
    """How many iterations of a loop the code at hand covers, and whether the loop's last one is among them."""

    count: int
    last: bool


Spans = Mapping[str, Span]


@dataclass(frozen=True, slots=True)
class Registers:
    """The vector registers of the machine, and the lanes in use of the last word of each loop that does not fill it.

    Where no loop runs along the lanes, every word is partial, and the loop's name is empty.
    `vector_mask` says that masks are vectors, not registers of their own: the last vector register then holds one,
    read from the array behind the tensors.
    """

    count: int
    partial: Mapping[str, int]
    vector_mask: bool = False

    @property
    def free(self) -> int:
        """Vector registers for data."""
        return self.count - 1 if self.partial and self.vector_mask else self.count

    @property
    def mask(self) -> int:
        """The register that holds the mask."""
        return self.count - 1 if self.vector_mask else _MASK


def lower(
    nest: Nest, roles: Roles, slots: Mapping[str, Slots], streams: Mapping[str, Stream], registers: Registers
) -> list[Item]:
    """The program of `void kernel(void **tensors, int64_t begin, int64_t end)` over the outermost tile loop.

    `streams` are by operand; tensors come in their order. `registers.partial` maps the loop whose last word has idle
    lanes to the lanes that are in use.
    """
    return _Lowering(nest, roles, slots, streams, registers).program()


@dataclass(frozen=True, slots=True)
class _Move:
    """A word on its way into a register, and the instructions that then use it."""

    word: Point
    register: int
    disp: int
    masked: bool
    uses: tuple[MachineInstruction, ...] = ()


@dataclass
class _Lowering:
    nest: Nest
    roles: Roles
    slots: Mapping[str, Slots]
    streams: Mapping[str, Stream]
    registers: Registers
    items: list[Item] = field(default_factory=list)
    accumulators: dict[Point, int] = field(default_factory=dict)
    labels: int = 0
    depth: int = 0

    def __post_init__(self) -> None:
        self.output = self.nest.embedding.pattern.output.tensor
        self.result_names = result_loops(self.nest.embedding)

    def program(self) -> list[Item]:
        for place, name in enumerate(self.streams):
            self.items.append(LoadPointer(self.pointer(name), _TENSORS, 8 * place))
        for lanes in self.registers.partial.values():
            self.items += self.set_mask(lanes)
        spans = {loop.name: Span(loop.extent, True) for loop in self.nest.embedding.loops}
        (node,) = self.nest.body
        assert isinstance(node, Tiles)
        self.outermost(node, spans)
        self.items.append(Return())
        return self.items

    def set_mask(self, lanes: int) -> list[Item]:
        """Make the mask of the partial word."""
        if not self.registers.vector_mask:
            return [SetMask(self.registers.mask, (1 << lanes) - 1, _TENSORS)]
        pointer = _END + 1 + len(self.streams)
        read = LoadPointer(pointer, _TENSORS, 8 * len(self.streams))
        return [read, self.vector(self.roles.load, self.registers.mask, pointer)]

    def pointer(self, name: str) -> int:
        return _END + 1 + list(self.streams).index(name)

    def fresh_label(self) -> str:
        self.labels += 1
        return f"l{self.labels}"

    def outermost(self, node: Tiles, spans: Spans) -> None:
        """Tiles `begin` to `end` of the outermost loop; the last tile may be shorter than the others."""
        full, rest = self.split(node, spans)
        self.skip(node)
        tail, done = self.fresh_label(), self.fresh_label()
        if full:
            work, keep, head = self.fresh_label(), self.fresh_label(), self.fresh_label()
            self.items += [SetImmediate(_LIMIT, full), BranchIfLess(_BEGIN, _LIMIT, work), Branch(tail), Label(work)]
            self.items += [BranchIfLess(_LIMIT, _END, keep), Move(_LIMIT, _END), Label(keep), Label(head)]
            self.emit(node.body, {**spans, node.loop: Span(node.tile, False)})
            self.advance(node, 1)
            self.items += [AddImmediate(_BEGIN, _BEGIN, 1), BranchIfLess(_BEGIN, _LIMIT, head)]
        self.items.append(Label(tail))
        if rest:
            work = self.fresh_label()
            self.items += [BranchIfLess(_BEGIN, _END, work), Branch(done), Label(work)]
            self.emit(node.body, {**spans, node.loop: Span(rest, spans[node.loop].last)})
        self.items.append(Label(done))

    def skip(self, node: Tiles) -> None:
        """Move every pointer to the tile `begin`."""
        for name, found in self.streams.items():
            step = found.tile.get(node.loop, 0)
            if step:
                self.items += [
                    Move(_LIMIT, _BEGIN),
                    MultiplyImmediate(_LIMIT, _LIMIT, step),
                    Add(self.pointer(name), _LIMIT),
                ]

    def split(self, node: Tiles, spans: Spans) -> tuple[int, int]:
        """Whole tiles, and iterations in the last one if it is shorter or holds the partial word."""
        span = spans[node.loop]
        full, rest = divmod(span.count, node.tile)
        if span.last and not rest and node.loop in self.registers.partial:
            return full - 1, node.tile
        return full, rest

    def emit(self, body: tuple[Node, ...], spans: Spans) -> None:
        for node in body:
            match node:
                case Tiles():
                    self.tiles(node, spans)
                case Reset():
                    self.reset(spans)
                case Points() | Compute():
                    self.compute(spans)
                case Drain():
                    self.drain(spans)
                case Fill():
                    pass
                case Pass(step):
                    raise NoEmbedding(f"register kernels have no epilogue pass '{step.operation}'")

    def tiles(self, node: Tiles, spans: Spans) -> None:
        full, rest = self.split(node, spans)
        whole = {**spans, node.loop: Span(node.tile, False)}
        if full == 1:
            self.emit(node.body, whole)
            self.advance(node, 1 if rest else 0)
        elif full > 1:
            self.repeat(node, whole, full)
        if rest:
            self.emit(node.body, {**spans, node.loop: Span(rest, spans[node.loop].last)})
        self.advance(node, -(full if full > 1 or rest else 0))

    def repeat(self, node: Tiles, spans: Spans, count: int) -> None:
        counter, head = _END + 1 + len(self.streams) + self.depth, self.fresh_label()
        self.depth += 1
        self.items += [SetImmediate(counter, count), Label(head)]
        self.emit(node.body, spans)
        self.advance(node, 1)
        self.items.append(Loop(counter, head))
        self.depth -= 1

    def advance(self, node: Tiles, runs: int) -> None:
        """Move every pointer by some runs of a loop."""
        for name, found in self.streams.items():
            step = found.tile.get(node.loop, 0) * runs
            if step:
                self.items.append(AddImmediate(self.pointer(name), self.pointer(name), step))

    def results(self, spans: Spans) -> list[Point]:
        """Every point of the tile along the output's loops."""
        return list(product(*(range(spans[name].count) for name in self.result_names)))

    def reset(self, spans: Spans) -> None:
        self.accumulators = {point: register for register, point in enumerate(self.results(spans))}
        for register in self.accumulators.values():
            self.items.append(self.vector(self.roles.zero, register))

    def compute(self, spans: Spans) -> None:
        """One step of the sum after another: hold the words of one operand, pass those of the other through."""
        inputs = [operand for operand in self.streams if operand != self.output]
        held, passed = sorted(inputs, key=lambda operand: len(set(self.words(operand))))
        kept = self.held(held, spans)
        through = self.passing(passed, held, {move.word: move.register for move in kept}, spans)
        sums = [name for name in spans if name not in self.result_names]
        for step in product(*(range(spans[name].count) for name in sums)):
            self.items += [self.load(held, move, self.offset(held, sums, step)) for move in kept]
            offset = self.offset(passed, sums, step)
            for move in through:
                self.items.append(self.load(passed, move, offset))
                self.items += move.uses

    def held(self, operand: str, spans: Spans) -> list[_Move]:
        """A register for each word of the operand that stays for a whole step."""
        words = list(dict.fromkeys(self.words(operand)))
        return [self.move(operand, word, len(self.accumulators) + place, spans) for place, word in enumerate(words)]

    def passing(self, operand: str, held: str, kept: Mapping[Point, int], spans: Spans) -> list[_Move]:
        """The words of the other operand, each with the multiply-accumulates that use it, in the registers left."""
        users: dict[Point, list[tuple[int, int]]] = {}
        for register, word, other in zip(
            self.accumulators.values(), self.words(operand), self.words(held), strict=True
        ):
            users.setdefault(word, []).append((register, kept[other]))
        free = range(len(self.accumulators) + len(kept), self.registers.free)
        found = []
        for turn, (word, pairs) in enumerate(users.items()):
            register = free[turn % len(free)]
            uses = [
                MachineInstruction(self.roles.compute, {self.output: accumulator, held: other, operand: register})
                for accumulator, other in pairs
            ]
            found.append(replace(self.move(operand, word, register, spans), uses=tuple(uses)))
        return found

    def words(self, operand: str) -> list[Point]:
        """The word of an operand that each accumulator uses, by its coordinates along the loops that move it."""
        moves = [name in self.streams[operand].point for name in self.result_names]
        return [tuple(i if m else 0 for i, m in zip(point, moves, strict=True)) for point in self.accumulators]

    def move(self, operand: str, word: Point, register: int, spans: Spans) -> _Move:
        found = self.streams[operand]
        masked = not found.spread and found.feed.in_place and self.is_partial(found, word, spans)
        return _Move(word, register, self.disp(found, word), masked)

    def offset(self, operand: str, sums: Sequence[str], step: Point) -> int:
        """Bytes from the first step of a tile to another."""
        point = self.streams[operand].point
        return sum(point.get(name, 0) * i for name, i in zip(sums, step, strict=True))

    def load(self, operand: str, move: _Move, offset: int) -> MachineInstruction:
        base, disp = self.pointer(operand), move.disp + offset
        if self.streams[operand].spread:
            return self.vector(self.roles.spread, move.register, base, disp)
        if move.masked:
            return self.vector(self.roles.load_masked, move.register, base, disp, mask=True)
        return self.vector(self.roles.load, move.register, base, disp)

    def drain(self, spans: Spans) -> None:
        found = self.streams[self.output]
        for point, register in self.accumulators.items():
            masked = self.is_partial(found, point, spans)
            name = self.roles.store_masked if masked else self.roles.store
            self.items.append(self.vector(name, register, self.pointer(self.output), self.disp(found, point), masked))

    def disp(self, found: Stream, point: Point) -> int:
        return sum(found.point.get(name, 0) * i for name, i in zip(self.result_names, point, strict=True))

    def is_partial(self, found: Stream, point: Point, spans: Spans) -> bool:
        """Whether a word is the last of a loop whose lanes it does not fill."""
        if "" in self.registers.partial:
            return True
        return any(
            name in self.registers.partial and name in found.point and spans[name].last and i == spans[name].count - 1
            for name, i in zip(self.result_names, point, strict=True)
        )

    def vector(self, name: str, register: int, base: int = 0, disp: int = 0, mask: bool = False) -> MachineInstruction:
        """A move between a register and memory (or a register alone), its fields named as its entry names them."""
        slots = self.slots[name]
        fields = {slots.register: register}
        if slots.memory:
            fields |= {f"{slots.memory}.base": base, f"{slots.memory}.disp": disp}
        if mask:
            fields[slots.mask] = self.registers.mask
        return MachineInstruction(name, fields)
