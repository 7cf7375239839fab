"""From the loop nest to a register machine's program: tile loops become loops, tiles become straight-line code.

Accumulators stay in registers from `Reset` to `Drain`. Every address is a pointer and a constant: sizes are known, so
only whole tiles move pointers.
"""

from collections.abc import Mapping
from dataclasses import dataclass

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
from embed.cpu.sums import FIRST_POINTER, Registers, Span, Spans, Sums
from embed.errors import NoEmbedding
from embed.nest.ir import Compute, Drain, Fill, Nest, Node, Pass, Points, Reset, Tiles

_TENSORS, _BEGIN, _END = 0, 1, 2
_LIMIT = _TENSORS
"""Once the pointers are read, their array's register holds where whole tiles end."""


def lower(
    nest: Nest, roles: Roles, slots: Mapping[str, Slots], streams: Mapping[str, Stream], registers: Registers
) -> list[Item]:
    """The program of `void kernel(void **tensors, int64_t begin, int64_t end)` over the outermost tile loop.

    `streams` are by operand; tensors come in their order. `registers.partial` maps the loop whose last word has idle
    lanes to the lanes that are in use.
    """
    return _Lowering(nest, roles, slots, streams, registers).program()


@dataclass
class _Lowering(Sums):
    labels: int = 0
    depth: int = 0

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
        pointer = FIRST_POINTER + len(self.streams)
        read = LoadPointer(pointer, _TENSORS, 8 * len(self.streams))
        return [read, self.vector(self.roles.load, self.registers.mask, pointer)]

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
                self.items.append(AddImmediate(self.pointer(name), self.pointer(name), step))

    def drain(self, spans: Spans) -> None:
        found = self.streams[self.output]
        for point, register in self.accumulators.items():
            masked = self.is_partial(found, point, spans)
            whole = self.roles.part_stores.get(found.bytes, self.roles.store)
            name = self.roles.store_masked if masked else whole
            self.items.append(self.vector(name, register, self.pointer(self.output), self.disp(found, point), masked))
