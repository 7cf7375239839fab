"""From the loop nest to a register machine's program: tile loops become loops, tiles become straight-line code.

Accumulators stay in registers from `Reset` to `Drain`. Every address is a pointer and a constant: sizes are known, so
only whole tiles move pointers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from embed.cpu.control import (
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
from embed.cpu.finish import Drain as Draining
from embed.cpu.finish import Finish, Word
from embed.cpu.roles import Roles, Slots
from embed.cpu.streams import Stream
from embed.cpu.sums import FIRST_POINTER, Point, Registers, Span, Spans, Sums
from embed.nest.ir import Compute, Drain, Fill, Nest, Node, Pass, Points, Reset, Tiles

_TENSORS, _BEGIN, _END = 0, 1, 2
_LIMIT = _TENSORS
"""Once the pointers are read, their array's register holds where whole tiles end."""


def lower(
    nest: Nest,
    roles: Roles,
    slots: Mapping[str, Slots],
    streams: Mapping[str, Stream],
    registers: Registers,
    finish: Finish,
) -> list[Item]:
    """The program of `void kernel(void **tensors, int64_t begin, int64_t end)` over the outermost tile loop.

    `streams` are by operand; tensors come in their order, then those of `finish`, the mask and the literals.
    `registers.partial` maps the loop whose last word has idle lanes to the lanes that are in use.
    """
    return _Lowering(nest, roles, slots, streams, registers, finish=finish).program()


@dataclass
class _Lowering(Sums):
    finish: Finish = field(kw_only=True)
    labels: int = 0
    depth: int = 0

    def program(self) -> list[Item]:
        for place, name in enumerate(self.streams):
            self.items.append(LoadPointer(self.pointer(name), _TENSORS, 8 * place))
        self.keep()
        for lanes in self.registers.partial.values():
            self.items += self.set_mask(lanes)
        spans = {loop.name: Span(loop.extent, True) for loop in self.nest.embedding.loops}
        (node,) = self.nest.body
        assert isinstance(node, Tiles)
        tile = {loop: Span(min(size, spans[loop].count), False) for loop, size in _tiles(node).items()}
        taken = FIRST_POINTER + len(self.streams) + len(tile) + len(self.finish.extras) + 1
        self.plan({name: tile[name] for name in spans}, taken, self.registers.pointers)
        self.outermost(node, spans)
        self.items.append(Return())
        return self.items

    def set_mask(self, lanes: int) -> list[Item]:
        """Make the mask of the partial word."""
        if not self.registers.vector_mask:
            return [SetMask(self.registers.mask, (1 << lanes) - 1, _TENSORS)]
        pointer = FIRST_POINTER + len(self.streams)
        read = LoadPointer(pointer, _TENSORS, 8 * (len(self.streams) + len(self.finish.extras)))
        return [read, self.vector(self.roles.load, self.registers.mask, pointer)]

    def keep(self) -> None:
        """Put the pointers that only the epilogue needs into the frame: to its tensors, then to the literals."""
        places = list(range(len(self.streams), len(self.streams) + len(self.finish.extras)))
        if self.finish.plan.literals:
            places.append(len(self.streams) + len(self.finish.extras) + self.registers.tables)
        for slot, place in enumerate(places):
            self.items += [LoadPointer(self.spare, _TENSORS, 8 * place), StorePointer(self.spare, STACK, 8 * slot)]

    @property
    def spare(self) -> int:
        """The first pointer register that no loop at hand uses."""
        return FIRST_POINTER + len(self.streams) + self.depth

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
            own, *others = self.bases[name]
            self.items += [AddImmediate(register, own[0], offset) for register, offset in others]
        for slot, found in enumerate(self.finish.extras.values()):
            step = found.tile.get(node.loop, 0)
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
                case Fill() | Pass():
                    pass  # words are loaded where they are used, and the epilogue is part of the drain

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
        counter, head = FIRST_POINTER + len(self.streams) + self.depth, self.fresh_label()
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
                self.items += [AddImmediate(register, register, step) for register, _ in self.bases[name]]
        for slot, found in enumerate(self.finish.extras.values()):
            step = found.tile.get(node.loop, 0) * runs
            if step:
                self.items += [
                    LoadPointer(self.spare, STACK, 8 * slot),
                    AddImmediate(self.spare, self.spare, step),
                    StorePointer(self.spare, STACK, 8 * slot),
                ]

    def drain(self, spans: Spans) -> None:
        """Every accumulator through the epilogue to memory."""
        extras = self.finish.extras
        pointers = {name: self.spare + place for place, name in enumerate(extras)}
        literals = Word(self.spare + len(extras), 0, False)
        slots = [*pointers.values(), *([literals.base] if self.finish.plan.literals else [])]
        self.items += [LoadPointer(register, STACK, 8 * slot) for slot, register in enumerate(slots)]

        def word(access: str, point: Point) -> Word:
            found = extras[access] if access else self.streams[self.output]
            base = pointers[access] if access else self.pointer(self.output)
            can = not found.spread if access else bool(self.finish.plan.store_masked)
            masked = can and found.feed.is_exact and self.is_partial(found, point, spans)
            return Word(base, self.disp(found, point), masked)

        mask, free = self.registers.mask, self.registers.free
        self.items += Draining(self.finish, self.accumulators, free, mask, word, literals).run()


def _tiles(node: Tiles) -> dict[str, int]:
    """The iterations in a tile of each loop of a nest."""
    inner = [found for each in node.body if isinstance(each, Tiles) for found in _tiles(each).items()]
    return {node.loop: node.tile, **dict(inner)}
