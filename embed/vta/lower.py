"""From the loop nest to VTA's instruction stream: walk the tiles, place them in scratchpads, issue what they need."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product

from embed.epilogue import Pass as EpiloguePass
from embed.layout import Layout
from embed.nest.ir import (
    Compute,
    Drain,
    Fill,
    Nest,
    Node,
    Pass,
    Points,
    Ranges,
    Reset,
    Tail,
    Tiles,
    box,
    pieces,
    tail_pieces,
)
from embed.nest.schedule import Schedule
from embed.vta.dma import dense, transfers
from embed.vta.kernels import Kernel, Limits, TileLoop, kernel
from embed.vta.machine import Machine
from embed.vta.memory import Place, Plan
from embed.vta.roles import OPERANDS, Job, Scratchpad
from embed.vta.stream import Draft, Stream, Uop
from embed.vta.tokens import InputTokens, ResultTiles
from isa.model import Isa

_LONGEST_INPUT_LOAD = 2047
"""A LOAD INP of 2048 elements overflows a counter of the Chisel core's burst engine (found in RTL simulation)."""

_TRIPS = (1 << 14) - 1
_LONGEST_UOPS = 1024


def lower(nest: Nest, schedule: Schedule, target: Isa, plan: Plan, ranges: Ranges) -> Stream:
    """Issue the program over `ranges` of the tile loops; addresses are those of `plan`."""
    machine = Machine.of(target)
    lowering = _Lowering(nest, schedule, machine, plan, Stream(target, machine))
    lowering.walk(nest.body, ranges)
    finish = lowering.stream.issue(machine.roles.name(Job.FINISH))
    lowering.results.finish(finish)
    return lowering.stream


@dataclass(slots=True)
class _Slot:
    """A box of a tensor in a scratchpad: its first word, which load brought it, which kernel read it last."""

    box: tuple[range, ...]
    base: int
    load: int
    kernel: int = -1


@dataclass(slots=True)
class _Residents:
    """The tiles of a tensor in its scratchpad: the newest replaces the oldest. `used` is the one at hand."""

    count: int
    slots: list[_Slot] = field(default_factory=list)
    loads: int = 0
    used: _Slot | None = None

    def find(self, wanted: tuple[range, ...]) -> bool:
        """Whether the box is there; if so it is the one at hand."""
        found = next((slot for slot in self.slots if slot.box == wanted), None)
        self.used = found or self.used
        return found is not None

    def evict(self) -> int:
        """Make room for one tile; returns the last kernel that read what was there, -1 if nothing was."""
        self.loads += 1
        return self.slots.pop(0).kernel if len(self.slots) == self.count else -1

    def add(self, slot: _Slot) -> None:
        self.slots.append(slot)
        self.used = slot

    @property
    def at_hand(self) -> _Slot:
        assert self.used is not None
        return self.used


@dataclass
class _Lowering:
    """The state of one walk."""

    nest: Nest
    schedule: Schedule
    machine: Machine
    plan: Plan
    stream: Stream
    results: ResultTiles = field(init=False)
    inputs: InputTokens = field(default_factory=InputTokens)
    resident: dict[str, _Residents] = field(default_factory=dict)
    tile: int = 0
    tile_box: tuple[range, ...] = ()
    compute: Draft | None = None

    def __post_init__(self) -> None:
        self.resident = {name: _Residents(place.buffers) for name, place in self.plan.places.items()}
        self.results = ResultTiles(self.schedule.result_buffers)

    def walk(self, body: tuple[Node, ...], ranges: Mapping[str, range]) -> None:
        for node in body:
            match node:
                case Tiles(loop, tile, inner):
                    for piece in pieces(ranges[loop], tile):
                        self.walk(inner, {**ranges, loop: piece})
                case Tail(loop, _, inner):
                    for piece in tail_pieces(self.nest, node, ranges):
                        self.walk(inner, {**ranges, loop: piece})
                case Reset():
                    self.reset(ranges)
                case Fill(tensor) if self.plan.places[tensor].memory == self.plan.places[self.nest.output].memory:
                    self.fill_extra(tensor, ranges)
                case Fill(tensor):
                    self.fill(tensor, ranges)
                case Points():
                    self.kernel(node, ranges)
                case Compute():
                    self.kernel(node, ranges)
                case Pass(EpiloguePass() as step):
                    self.alu(step, ranges)
                case Drain(plane):
                    self.drain(plane, ranges)

    def fill(self, tensor: str, ranges: Mapping[str, range]) -> None:
        """Load an input tile unless it is there already."""
        layout, place = self.nest.layouts[tensor], self.plan.places[tensor]
        wanted = box(layout, ranges)
        held = self.resident[tensor]
        if held.find(wanted) and not self.schedule.reload:
            return
        base = place.buffer(held.loads)
        overwritten = held.evict()
        longest = _LONGEST_INPUT_LOAD if place.memory is Scratchpad.INP else self.machine.depths[place.memory]
        drafts = self.load(layout, place, wanted, base, longest)
        held.add(_Slot(wanted, base, self.inputs.load(drafts[0], drafts[-1], overwritten)))

    def fill_extra(self, tensor: str, ranges: Mapping[str, range]) -> None:
        """Load an epilogue tensor's tile into accumulators; the compute unit does it itself, in order."""
        layout, place = self.nest.layouts[tensor], self.plan.places[tensor]
        wanted = box(layout, ranges)
        held = self.resident[tensor]
        if not held.find(wanted):
            held.evict()
            held.add(_Slot(wanted, place.buffer(0), -1))
            self.load(layout, place, wanted, place.buffer(0), self.machine.depths[place.memory])

    def load(self, layout: Layout, place: Place, wanted: tuple[range, ...], base: int, longest: int) -> list[Draft]:
        name = self.machine.roles.name(Job.LOAD, place.memory)
        return [
            self.stream.issue(name, sram_base=base + move.local, dram_base=place.word + move.external, **move.fields)
            for move in transfers(layout, wanted, longest)
        ]

    def reset(self, ranges: Mapping[str, range]) -> None:
        layout = self.nest.layouts[self.nest.output]
        self.tile_box = box(layout, ranges)
        loops = [TileLoop(len(span), (stride, stride)) for span, stride in self._axes(self.tile_box, self.tile_box)]
        found = kernel(loops, self._alu_limits())
        base = self.plan.places[self.nest.output].buffer(self.results.count % self.results.buffers)
        drafts = self.issue(self.machine.roles.name(Job.RESET), found, (base, 0), {}, copies=(0,))
        self.tile = self.plan.places[self.nest.output].buffer(self.results.begin(drafts[0]))

    def kernel(self, node: Node, ranges: Mapping[str, range]) -> None:
        """The multiply-accumulates of a tile."""
        names = _point_loops(node)
        tensors = [tensor for _, tensor in self.nest.embedding.binding.pairs]
        memories = {self.plan.places[tensor].memory: tensor for tensor in tensors}
        order = [memories[memory] for memory in OPERANDS]
        read = [self.resident[tensor].at_hand for tensor in order[1:]]
        held = [self.tile_box, *(slot.box for slot in read)]
        strides = [self._strides(tensor, tile) for tensor, tile in zip(order, held, strict=True)]
        loops = [TileLoop(len(ranges[name]), tuple(found.get(name, 0) for found in strides)) for name in names]
        found = kernel(loops, self._gemm_limits())
        drafts = self.issue(self.nest.embedding.name, found, (self.tile, *(slot.base for slot in read)), {})
        for slot in read:
            slot.kernel = self.inputs.next_kernel
        self.inputs.compute(drafts[0], drafts[-1], max(slot.load for slot in read))

    def alu(self, step: EpiloguePass, ranges: Mapping[str, range]) -> None:
        output = self.nest.layouts[self.nest.output]
        reached = box(output, ranges)
        first = self.tile + _offset(self.tile_box, reached)
        if step.operand is None:
            loops = [TileLoop(len(span), (stride, stride)) for span, stride in self._axes(self.tile_box, reached)]
            found = kernel(loops, self._alu_limits())
            drafts = self.issue(step.instruction, found, (first, first), {"imm": step.immediate})
        else:
            names = [loop.name for loop in self.nest.embedding.loops]
            other = self.resident[step.access].at_hand
            second = other.base + _offset(other.box, box(self.nest.layouts[step.access], ranges))
            strides = [self._strides(self.nest.output, self.tile_box), self._strides(step.access, other.box)]
            loops = [
                TileLoop(len(ranges[name]), (strides[0][name], strides[1].get(name, 0)))
                for name in names
                if name in strides[0]
            ]
            found = kernel(loops, self._alu_limits())
            drafts = self.issue(step.instruction, found, (first, second), {})
        self.results.change(drafts[0])

    def drain(self, plane: int, ranges: Mapping[str, range]) -> None:
        layout, place = self.nest.layouts[self.nest.output], self.plan.result
        assert self.compute is not None
        first, longest = place.word + plane * layout.words, self.machine.depths[place.memory]
        name = self.machine.roles.name(Job.STORE, place.memory)
        drafts = []
        for part in _dense_parts(self.tile_box, box(layout, ranges)):
            base = self.tile + _offset(self.tile_box, part)
            for move in transfers(layout, part, longest):
                fields = {"sram_base": base + move.local, "dram_base": first + move.external, **move.fields}
                drafts.append(self.stream.issue(name, **fields))
        self.results.store(self.compute, drafts[0], drafts[-1], plane < self.nest.planes - 1)

    def issue(
        self, name: str, found: Kernel, bases: tuple[int, ...], fields: dict[str, int], copies: tuple[int, ...] = (0, 1)
    ) -> list[Draft]:
        """Issue a kernel at every repeat; `copies` says which columns of a two-operand kernel the micro-ops carry."""
        drafts = []
        outer, inner = found.hardware
        loops = {"iter_out": outer.extent, "iter_in": inner.extent}
        for column, operand in zip(range(len(bases)), ("dst", "src", "wgt"), strict=False):
            if len(bases) == 3 or column in copies:
                loops |= {f"{operand}_factor_out": outer.strides[column], f"{operand}_factor_in": inner.strides[column]}
        for repeat in found.repeats:
            uops = tuple(self._uop(bases, repeat, uop, copies) for uop in found.uops)
            drafts.append(self.stream.with_uops(name, uops, {**loops, **fields}))
        self.compute = drafts[-1]
        return drafts

    def _uop(
        self, bases: tuple[int, ...], repeat: tuple[int, ...], uop: tuple[int, ...], copies: tuple[int, ...]
    ) -> Uop:
        values = [b + r + u for b, r, u in zip(bases, repeat, uop, strict=True)]
        if len(values) == 3:
            return values[0], values[1], values[2]
        return values[0], values[1] if 1 in copies else 0, 0

    def _axes(self, tile: tuple[range, ...], part: tuple[range, ...]) -> list[tuple[range, int]]:
        """Spans of a part of a tile with the tile's word strides."""
        return list(zip(part, dense([len(span) for span in tile]), strict=True))

    def _strides(self, tensor: str, tile: tuple[range, ...]) -> dict[str, int]:
        """Words from one iteration of each loop to the next, in a tile of the tensor."""
        layout = self.nest.layouts[tensor]
        strides: dict[str, int] = {}
        for axis, (_, stride) in zip(layout.axes, self._axes(tile, tile), strict=True):
            for loop, factor in axis.loops:
                strides[loop] = strides.get(loop, 0) + factor * stride
        return strides

    def _gemm_limits(self) -> Limits:
        factors = tuple(self.machine.depths[pad] - 1 for pad in OPERANDS)
        return Limits(_TRIPS, factors, min(_LONGEST_UOPS, self.stream.capacity))

    def _alu_limits(self) -> Limits:
        acc, inp = self.machine.depths[Scratchpad.ACC], self.machine.depths[Scratchpad.INP]
        return Limits(_TRIPS, (acc - 1, min(acc, inp) - 1), min(_LONGEST_UOPS, self.stream.capacity))


def _offset(tile: tuple[range, ...], part: tuple[range, ...]) -> int:
    """Words from the start of a tile to the start of a part of it."""
    strides = dense([len(span) for span in tile])
    starts = (inner.start - outer.start for outer, inner in zip(tile, part, strict=True))
    return sum(start * stride for start, stride in zip(starts, strides, strict=True))


def _dense_parts(tile: tuple[range, ...], part: tuple[range, ...]) -> Iterator[tuple[range, ...]]:
    """A part of a tile, cut into boxes that lie in one piece in the tile."""
    inner = len(tile)
    while inner and part[inner - 1] == tile[inner - 1]:
        inner -= 1
    for place in product(*part[: max(inner - 1, 0)]):
        yield (*(range(at, at + 1) for at in place), *part[max(inner - 1, 0) :])


def _point_loops(node: Node) -> list[str]:
    """Names of the point loops around an invocation, outermost first."""
    names = []
    while isinstance(node, Points):
        names.append(node.loop)
        node = node.body[0]
    return names
