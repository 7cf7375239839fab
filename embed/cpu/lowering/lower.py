"""From the loop nest to a register machine's program: tile loops become loops, tiles become straight-line code.

Accumulators stay in registers from `Reset` to `Drain`. Every address is a pointer and a constant: sizes are known, so
only whole tiles move pointers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from embed.cpu.arrays.streams import Stream
from embed.cpu.assembler.control import (
    STACK,
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
    StorePointer,
)
from embed.cpu.assembler.program import Part, Slots
from embed.cpu.epilogue.finish import Drain as Draining
from embed.cpu.epilogue.finish import Finish, Word
from embed.cpu.lowering.regions import Region
from embed.cpu.lowering.roles import Roles
from embed.cpu.lowering.sums import FIRST_POINTER, Point, Registers, Span, Spans, Sums, distances
from embed.nest.ir import Compute, Drain, Nest, Node, Points, Reset, Tiles
from isa.model import Isa

_TENSORS, _BEGIN, _END = 0, 1, 2
_LIMIT = _TENSORS
"""Once the pointers are read, their array's register holds where whole tiles end."""

_FAR = 1 << 31
"""Bytes that a pointer moves by at once."""


def lower(
    target: Isa,
    nest: Nest,
    roles: Roles,
    slots: Mapping[str, Slots],
    streams: Mapping[str, Stream],
    registers: Registers,
    finish: Finish,
    regions: Mapping[str, tuple[Region, ...]],
) -> list[Part]:
    """The program of `void kernel(void **tensors, int64_t begin, int64_t end)` over the outermost tile loop.

    `streams` are by operand; tensors come in their order, then those of `finish`, the mask and the literals.
    `registers.partial` maps the loop whose last word has idle lanes to the lanes that are in use. The tiles of a loop
    in `regions` are those given there.
    """
    return _Lowering(target, nest, roles, slots, streams, registers, finish=finish, regions=regions).program()


@dataclass
class _Lowering(Sums):
    finish: Finish = field(kw_only=True)
    regions: Mapping[str, tuple[Region, ...]] = field(default_factory=dict)
    labels: int = 0
    depth: int = 0
    sizes: Mapping[str, int] = field(default_factory=dict)

    def program(self) -> list[Part]:
        for place, (name, found) in enumerate(self.streams.items()):
            self.items += self.fetched(self.pointer(name), place, found)
        self.keep()
        for lanes in self.registers.partial.values():
            self.items += self.set_mask(lanes)
        spans = {loop.name: Span(loop.extent, True) for loop in self.nest.embedding.loops}
        (node,) = self.nest.body
        assert isinstance(node, Tiles)
        self.sizes = _tiles(node)
        tile = {loop: Span(min(size, spans[loop].count), False) for loop, size in self.sizes.items()}
        taken = FIRST_POINTER + len(self.streams) + _depth(node) + len(self.finish.extras) + 1
        self.plan({name: tile[name] for name in spans}, taken, self.registers.pointers)
        self.outermost(node, spans)
        self.items.append(Return())
        return self.items

    def set_mask(self, lanes: int) -> list[Part]:
        """Make the mask of the partial word."""
        if not self.registers.vector_mask:
            return [SetMask(self.registers.mask, (1 << lanes) - 1, _TENSORS)]
        pointer = FIRST_POINTER + len(self.streams)
        read = LoadPointer(pointer, _TENSORS, 8 * (len(self.streams) + len(self.finish.extras)))
        return [read, (self.slots[self.roles.load].fields, self.registers.mask, pointer, 0)]

    def keep(self) -> None:
        """Put the pointers that only the epilogue needs into the frame: to its tensors, then to the literals."""
        places: list[tuple[int, Stream | None]] = list(enumerate(self.finish.extras.values(), len(self.streams)))
        if self.finish.plan.literals:
            places.append((len(self.streams) + len(self.finish.extras) + self.registers.tables, None))
        for slot, (place, found) in enumerate(places):
            self.items += [*self.fetched(self.spare, place, found), StorePointer(self.spare, STACK, 8 * slot)]

    def fetched(self, pointer: int, place: int, found: Stream | None) -> list[Item]:
        """The pointer of an argument, at the first word that the kernel reads or writes."""
        moved = self.moved(pointer, found.start) if found and found.start else []
        return [LoadPointer(pointer, _TENSORS, 8 * place), *moved]

    @property
    def spare(self) -> int:
        """The first pointer register that no loop at hand uses."""
        return FIRST_POINTER + len(self.streams) + self.depth

    def fresh_label(self) -> str:
        self.labels += 1
        return f"l{self.labels}"

    def outermost(self, node: Tiles, spans: Spans) -> None:
        """Tiles `begin` to `end` of the outermost loop, one run of equal tiles after another."""
        self.skip(node.loop, node.tile // self.sizes[node.loop])
        until = 0
        for runs, inner in self.parts(node, spans):
            until += runs
            keep, head, done = self.fresh_label(), self.fresh_label(), self.fresh_label()
            self.items += [SetImmediate(_LIMIT, until), BranchIfLess(_LIMIT, _END, keep), Move(_LIMIT, _END)]
            self.items += [Label(keep), BranchIfLess(_BEGIN, _LIMIT, head), Branch(done), Label(head)]
            self.emit(node.body, inner)
            self.advance(node, node.tile)
            self.items += [AddImmediate(_BEGIN, _BEGIN, 1), BranchIfLess(_BEGIN, _LIMIT, head), Label(done)]

    def skip(self, loop: str, tiles: int) -> None:
        """Move every pointer to the run `begin` of so many tiles of a loop."""
        for name, found in self.streams.items():
            step = found.tile.get(loop, 0) * tiles
            if step:
                self.items += [
                    Move(_LIMIT, _BEGIN),
                    MultiplyImmediate(_LIMIT, _LIMIT, step),
                    Add(self.pointer(name), _LIMIT),
                ]
            own, *others = self.loads[name].bases
            self.items += [AddImmediate(register, own[0], offset) for register, offset in others]
        for slot, found in enumerate(self.finish.extras.values()):
            step = found.tile.get(loop, 0) * tiles
            if step:
                self.items += [
                    LoadPointer(self.spare, STACK, 8 * slot),
                    Move(_LIMIT, _BEGIN),
                    MultiplyImmediate(_LIMIT, _LIMIT, step),
                    Add(self.spare, _LIMIT),
                    StorePointer(self.spare, STACK, 8 * slot),
                ]

    def split(self, node: Tiles, spans: Spans) -> tuple[int, int]:
        """Whole tiles, and iterations in the last one if it is shorter or holds the partial word."""
        span = spans[node.loop]
        full, rest = divmod(span.count, node.tile)
        if span.last and not rest and node.loop in self.registers.partial:
            return full - 1, node.tile
        return full, rest

    def emit(self, body: tuple[Node, ...], spans: Spans) -> None:
        """The code of some nodes; words are loaded where they are used, and the epilogue is part of the drain."""
        for node in body:
            if isinstance(node, Tiles):
                self.tiles(node, spans)
            elif isinstance(node, Reset):
                self.reset(spans)
            elif isinstance(node, Points | Compute):
                self.compute(spans)
            elif isinstance(node, Drain):
                self.drain(spans)

    def parts(self, node: Tiles, spans: Spans) -> list[tuple[int, Spans]]:
        """The tiles of a loop: how many equal ones in a row, and what each covers."""
        if node.loop in self.regions:
            return [(region.runs, {**spans, **_covered(node.loop, region)}) for region in self.regions[node.loop]]
        full, rest = self.split(node, spans)
        found = [(full, Span(node.tile, False)), (int(rest > 0), Span(rest, spans[node.loop].last))]
        return [(runs, {**spans, node.loop: span}) for runs, span in found if runs]

    def tiles(self, node: Tiles, spans: Spans) -> None:
        sums = [span for name, span in spans.items() if name not in self.result_names]
        if node.loop not in self.result_names and not all(span.count for span in sums):
            return
        start, moved, parts = spans[node.loop].start, 0, self.parts(node, spans)
        self.shift(node.loop, start)
        for number, (runs, inner) in enumerate(parts, 1):
            if runs > 1:
                self.repeat(node, inner, runs)
            else:
                self.emit(node.body, inner)
            if runs == 1 and number < len(parts):
                self.advance(node, inner[node.loop].count)
            moved += runs * inner[node.loop].count if runs > 1 or number < len(parts) else 0
        self.advance(node, -moved)
        self.shift(node.loop, -start)

    def repeat(self, node: Tiles, spans: Spans, count: int) -> None:
        counter, head = FIRST_POINTER + len(self.streams) + self.depth, self.fresh_label()
        self.depth += 1
        self.items += [SetImmediate(counter, count), Label(head)]
        self.emit(node.body, spans)
        self.advance(node, spans[node.loop].count)
        self.items.append(Loop(counter, head))
        self.depth -= 1

    def shift(self, loop: str, iterations: int) -> None:
        """Move the pointers to the first iteration of a sum that is not zero."""
        if not iterations:
            return
        for name, found in self.streams.items():
            self.move(name, found.point.get(loop, 0) * iterations)

    def move(self, name: str, step: int) -> None:
        """Move the pointers of a stream by so many bytes."""
        if step:
            for register, _ in self.loads[name].bases:
                self.items += self.moved(register, step)

    def advance(self, node: Tiles, iterations: int) -> None:
        """Move every pointer by whole tiles of a loop, or by iterations where these lie as evenly as tiles do."""
        tiles, rest = divmod(iterations, self.sizes[node.loop])

        def step_of(found: Stream) -> int:
            return found.point.get(node.loop, 0) * iterations if rest else found.tile.get(node.loop, 0) * tiles

        for name, found in self.streams.items():
            self.move(name, step_of(found))
        for slot, found in enumerate(self.finish.extras.values()):
            step = step_of(found)
            if step:
                self.items += [
                    LoadPointer(self.spare, STACK, 8 * slot),
                    *self.moved(self.spare, step),
                    StorePointer(self.spare, STACK, 8 * slot),
                ]

    def moved(self, pointer: int, step: int) -> list[Item]:
        """Move a pointer; what an instruction does not hold goes through a register."""
        if -_FAR <= step < _FAR:
            return [AddImmediate(pointer, pointer, step)]
        return [SetImmediate(self.spare + 1, step), Add(pointer, self.spare + 1)]

    def drain(self, spans: Spans) -> None:
        """Every accumulator through the epilogue to memory."""
        extras = self.finish.extras
        pointers = {name: self.spare + place for place, name in enumerate(extras)}
        literals = Word(self.spare + len(extras), 0, False)
        slots = [*pointers.values(), *([literals.base] if self.finish.plan.literals else [])]
        self.items += [LoadPointer(register, STACK, 8 * slot) for slot, register in enumerate(slots)]
        output, masks = self.streams[self.output], bool(self.finish.plan.store_masked)
        words = {"": self.words(output, self.pointer(self.output), masks, spans)}
        words |= {name: self.words(found, pointers[name], not found.spread, spans) for name, found in extras.items()}
        mask, free = self.registers.mask, self.registers.free
        self.items.append(Draining(self.finish, self.accumulators, free, mask, words, literals).run())

    def words(self, found: Stream, base: int, masks: bool, spans: Spans) -> dict[Point, Word]:
        """Where each accumulator's word of a tensor is."""
        partial = self.partial(found, spans) if masks and found.feed.is_exact else ()
        disps = distances(found, self.result_names, spans)
        return {point: Word(base, disp, point in partial) for point, disp in zip(self.accumulators, disps, strict=True)}


def _tiles(node: Tiles) -> dict[str, int]:
    """The iterations in a tile of each loop of a nest."""
    inner = [found for each in node.body if isinstance(each, Tiles) for found in _tiles(each).items()]
    return {node.loop: node.tile, **dict(inner)}


def _depth(node: Tiles) -> int:
    """How many loops are inside each other."""
    return 1 + max((_depth(each) for each in node.body if isinstance(each, Tiles)), default=0)


def _covered(loop: str, region: Region) -> Spans:
    taps = {window: Span(len(inside), True, inside.start) for window, inside in region.taps.items()}
    return {loop: Span(region.size, False), **taps}
