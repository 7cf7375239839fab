"""From the loop nest to VTA's instruction stream: walk the tiles, place them in scratchpads, issue what they need."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from embed.epilogue import Pass as EpiloguePass
from embed.layout import Layout
from embed.nest.ir import Compute, Drain, Fill, Nest, Node, Pass, Points, Ranges, Reset, Tiles, box, pieces
from embed.nest.schedule import Schedule
from embed.vta.dma import dense, transfers
from embed.vta.kernels import Kernel, Limits, TileLoop, kernel
from embed.vta.memory import Place, Plan
from embed.vta.stream import Draft, Stream, Uop
from embed.vta.tokens import InputGroups, ResultTiles
from isa.model import Isa

_LONGEST_INPUT_LOAD = 2047
"""A LOAD INP of 2048 elements overflows a counter of the Chisel core's burst engine (found in RTL simulation)."""

_TRIPS = (1 << 14) - 1
_LONGEST_UOPS = 1024


def lower(nest: Nest, schedule: Schedule, target: Isa, plan: Plan, ranges: Ranges) -> Stream:
    """Issue the program over `ranges` of the tile loops; addresses are those of `plan`."""
    lowering = _Lowering(nest, schedule, target, plan)
    lowering.walk(nest.body, ranges)
    finish = lowering.stream.issue("finish")
    lowering.results.finish(finish)
    return lowering.stream


@dataclass(slots=True)
class _Resident:
    """What a tensor's buffers hold: the box in use, and where it starts."""

    box: tuple[range, ...] | None = None
    base: int = 0
    loads: int = 0


@dataclass
class _Lowering:
    """The state of one walk."""

    nest: Nest
    schedule: Schedule
    target: Isa
    plan: Plan
    results: ResultTiles = field(init=False)
    inputs: InputGroups = field(init=False)
    stream: Stream = field(init=False)
    resident: dict[str, _Resident] = field(default_factory=dict)
    tile: int = 0
    compute: Draft | None = None

    def __post_init__(self) -> None:
        self.stream = Stream(self.target)
        self.inputs = InputGroups(self.schedule.buffers)
        self.results = ResultTiles(self.schedule.result_buffers)

    def walk(self, body: tuple[Node, ...], ranges: Mapping[str, range]) -> None:
        for node in body:
            match node:
                case Tiles(loop, tile, inner):
                    for piece in pieces(ranges[loop], tile):
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
                case Pass(step):
                    self.alu(step, ranges)
                case Drain(plane):
                    self.drain(plane, ranges)

    def fill(self, tensor: str, ranges: Mapping[str, range]) -> None:
        """Load an input tile unless it is there already."""
        layout, place = self.nest.layouts[tensor], self.plan.places[tensor]
        wanted = box(layout, ranges)
        held = self.resident.setdefault(tensor, _Resident())
        if held.box == wanted:
            return
        held.base = place.buffer(held.loads)
        held.box = wanted
        held.loads += 1
        longest = _LONGEST_INPUT_LOAD if place.memory == "inp" else self.target.memories[place.memory].count or 1
        for draft in self.load(layout, place, wanted, held.base, longest):
            self.inputs.load(draft)

    def fill_extra(self, tensor: str, ranges: Mapping[str, range]) -> None:
        """Load an epilogue tensor's tile into accumulators; the compute unit does it itself, in order."""
        layout, place = self.nest.layouts[tensor], self.plan.places[tensor]
        wanted = box(layout, ranges)
        held = self.resident.setdefault(tensor, _Resident(base=place.buffer(0)))
        if held.box != wanted:
            held.box = wanted
            self.load(layout, place, wanted, held.base, self.target.memories["acc"].count or 1)

    def load(self, layout: Layout, place: Place, wanted: tuple[range, ...], base: int, longest: int) -> list[Draft]:
        return [
            self.stream.issue(
                f"load_{place.memory}",
                sram_base=base + move.local,
                dram_base=place.word + move.external,
                **move.fields,
            )
            for move in transfers(layout, wanted, longest)
        ]

    def reset(self, ranges: Mapping[str, range]) -> None:
        layout = self.nest.layouts[self.nest.output]
        loops = [TileLoop(len(span), (stride, stride)) for span, stride in self._axes(layout, ranges)]
        found = kernel(loops, self._alu_limits())
        base = self.plan.places[self.nest.output].buffer(self.results.count % self.results.buffers)
        drafts = self.issue("gemm_reset", found, (base, 0), {}, copies=(0,))
        self.tile = self.plan.places[self.nest.output].buffer(self.results.begin(drafts[0]))

    def kernel(self, node: Node, ranges: Mapping[str, range]) -> None:
        """The multiply-accumulates of a tile."""
        names = _point_loops(node)
        tensors = [tensor for _, tensor in self.nest.embedding.binding.pairs]
        memories = {self.plan.places[tensor].memory: tensor for tensor in tensors}
        order = [memories[memory] for memory in ("acc", "inp", "wgt")]
        strides = [self._strides(tensor, ranges) for tensor in order]
        loops = [TileLoop(len(ranges[name]), tuple(found.get(name, 0) for found in strides)) for name in names]
        found = kernel(loops, self._gemm_limits())
        bases = (self.tile, self.resident[order[1]].base, self.resident[order[2]].base)
        drafts = self.issue("gemm", found, bases, {})
        self.inputs.compute(drafts[0], drafts[-1])

    def alu(self, step: EpiloguePass, ranges: Mapping[str, range]) -> None:
        output = self.nest.layouts[self.nest.output]
        if step.operand is None:
            loops = [TileLoop(len(span), (stride, stride)) for span, stride in self._axes(output, ranges)]
            found = kernel(loops, self._alu_limits())
            drafts = self.issue(step.instruction, found, (self.tile, self.tile), {"imm": step.immediate})
        else:
            names = [loop.name for loop in self.nest.embedding.loops]
            strides = [self._strides(tensor, ranges) for tensor in (self.nest.output, step.access)]
            loops = [
                TileLoop(len(ranges[name]), (strides[0][name], strides[1].get(name, 0)))
                for name in names
                if name in strides[0]
            ]
            found = kernel(loops, self._alu_limits())
            drafts = self.issue(step.instruction, found, (self.tile, self.resident[step.access].base), {})
        self.results.overwrite(drafts[0])

    def drain(self, plane: int, ranges: Mapping[str, range]) -> None:
        layout, place = self.nest.layouts[self.nest.output], self.plan.result
        assert self.compute is not None
        moves = transfers(layout, box(layout, ranges), self.target.memories["acc"].count or 1)
        first = place.word + plane * layout.words
        drafts = [
            self.stream.issue("store", sram_base=self.tile + move.local, dram_base=first + move.external, **move.fields)
            for move in moves
        ]
        self.results.store(self.compute, drafts[0], drafts[-1])
        if plane == self.nest.planes - 1:
            self.results.end()

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

    def _axes(self, layout: Layout, ranges: Mapping[str, range]) -> list[tuple[range, int]]:
        """Spans of a tile's axes with their word strides."""
        spans = box(layout, ranges)
        return list(zip(spans, dense([len(span) for span in spans]), strict=True))

    def _strides(self, tensor: str, ranges: Mapping[str, range]) -> dict[str, int]:
        """Words from one iteration of each loop to the next, in the tensor's tile."""
        layout = self.nest.layouts[tensor]
        strides: dict[str, int] = {}
        for axis, (_, stride) in zip(layout.axes, self._axes(layout, ranges), strict=True):
            for loop, factor in axis.loops:
                strides[loop] = strides.get(loop, 0) + factor * stride
        return strides

    def _gemm_limits(self) -> Limits:
        memories = self.target.memories
        factors = tuple((memories[name].count or 1) - 1 for name in ("acc", "inp", "wgt"))
        return Limits(_TRIPS, factors, min(_LONGEST_UOPS, self.stream.capacity))

    def _alu_limits(self) -> Limits:
        memories = self.target.memories
        factor = min(memories["acc"].count or 1, memories["inp"].count or 1) - 1
        return Limits(_TRIPS, ((memories["acc"].count or 1) - 1, factor), min(_LONGEST_UOPS, self.stream.capacity))


def _point_loops(node: Node) -> list[str]:
    """Names of the point loops around an invocation, outermost first."""
    names = []
    while isinstance(node, Points):
        names.append(node.loop)
        node = node.body[0]
    return names
