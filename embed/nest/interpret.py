"""The loop nest run in numpy on packed arrays: the meaning of a schedule, whatever machine it is lowered to.

Inside a tile, all invocations together are one more computation, over the tile's loops and the instruction's lanes; the
reference interpreter evaluates it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from dataflow.affine import Affine
from dataflow.computation import Computation, Dim, Tensor
from dataflow.dtypes import bits, numpy_dtype
from dataflow.expression import Expression, Read, map_reads
from dataflow.reference import evaluate
from embed.embedding import Array
from embed.epilogue import Fused
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
from embed.nest.planes import Planes

_RESULT = "result"


def interpret(nest: Nest, arrays: Mapping[str, Array]) -> Array:
    """Run the nest on packed inputs by access name; returns the packed output in its dtype, of shape (*axes, *word)."""
    state = _State(nest, arrays)
    state.walk(nest.body, nest.whole)
    return state.planes.joined()


@dataclass
class _State:
    """The packed arrays, the tiles at hand and where in their arrays they lie, and the output so far."""

    nest: Nest
    arrays: Mapping[str, Array]
    tiles: dict[str, Array] = field(default_factory=dict)
    places: dict[str, tuple[range, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.planes = Planes(self.nest)

    def walk(self, body: tuple[Node, ...], ranges: Ranges) -> None:
        for node in body:
            match node:
                case Tiles(loop, tile, inner):
                    for piece in pieces(ranges[loop], tile):
                        self.walk(inner, {**ranges, loop: piece})
                case Tail(loop, _, inner):
                    whole = self.tiles[self.nest.output]
                    for piece in tail_pieces(self.nest, node, ranges):
                        self.narrow(whole, ranges, {**ranges, loop: piece})
                        self.walk(inner, {**ranges, loop: piece})
                case Fill(tensor):
                    layout = self.nest.layouts[tensor]
                    self.places[tensor] = box(layout, ranges)
                    self.tiles[tensor] = _taken(layout, self.arrays[tensor], self.places[tensor])
                case Reset():
                    self.reset(ranges)
                case Points() | Compute():
                    self.compute(ranges)
                case Pass(step):
                    self.apply(step, ranges)
                case Drain(plane):
                    self.drain(plane, ranges)

    def reset(self, ranges: Ranges) -> None:
        layout = self.nest.layouts[self.nest.output]
        dtype = numpy_dtype(self.nest.embedding.pattern.tensors[0].dtype)
        shape = (*(len(span) for span in box(layout, ranges)), *layout.word_shape)
        self.tiles[self.nest.output] = np.zeros(shape, dtype)
        self.places[self.nest.output] = box(layout, ranges)

    def narrow(self, whole: Array, ranges: Ranges, part: Ranges) -> None:
        """Go on with the part of an output tile that some of its ranges reach."""
        layout = self.nest.layouts[self.nest.output]
        self.places[self.nest.output] = box(layout, part)
        pairs = zip(box(layout, ranges), self.places[self.nest.output], strict=True)
        cut = tuple(slice(inner.start - outer.start, inner.stop - outer.start) for outer, inner in pairs)
        self.tiles[self.nest.output] = whole[cut]

    def compute(self, ranges: Ranges) -> None:
        embedding = self.nest.embedding
        names = embedding.binding.tensors
        pattern = embedding.pattern
        body = map_reads(pattern.body, lambda read: self._word(names[read.tensor], ranges))
        tiles = [self.nest.output, *(names[tensor.name] for tensor in pattern.inputs)]
        self._run(body, True, ranges, [self._tile(name) for name in dict.fromkeys(tiles)])

    def apply(self, step: EpiloguePass | Fused, ranges: Ranges) -> None:
        """One operation of the epilogue in the accumulators' type, or all of it, to the output's type."""
        output = self.nest.output
        sums = self.nest.embedding.operator.main.output
        accesses = {read: name for name, read in step.operands.items()}
        body = map_reads(step.body(sums), lambda read: self._word(accesses.get(read, output), ranges))
        tiles = [self._tile(output), *(self._tile(name, isinstance(step, Fused)) for name in step.operands)]
        result = self.nest.embedding.operator.output.dtype if isinstance(step, Fused) else tiles[0].dtype
        self._run(body, False, ranges, [replace(tiles[0], name=_RESULT, dtype=result), *tiles])

    def _run(self, body: Expression, accumulate: bool, ranges: Ranges, tensors: list[Tensor]) -> None:
        """Evaluate one statement over the tile's loops and the lanes its output has, or all lanes when it sums.

        It writes the first tensor, which becomes the output's tile.
        """
        embedding, output = self.nest.embedding, self.nest.output
        lanes = embedding.lanes if accumulate else {n: embedding.lanes[n] for n in self.nest.layouts[output].word_lanes}
        loops = {name: len(span) for name, span in ranges.items() if len(span) > 1}
        if not accumulate:
            kept = {loop for axis in self.nest.layouts[output].axes for loop, _ in axis.loops}
            loops = {name: extent for name, extent in loops.items() if name in kept}
        dims = [
            *(Dim(name, extent) for name, extent in loops.items()),
            *(Dim(f"lane {n}", e) for n, e in lanes.items()),
        ]
        written = Read(tensors[0].name, self._word(output, ranges).index)
        statement = Computation(tuple(dims), tuple(tensors), written, accumulate, body)
        self.tiles[output] = evaluate(statement, self.tiles)

    def _tile(self, name: str, own: bool = False) -> Tensor:
        """A tile as a tensor, of the type of the instruction's operand or the `own` one of what it is a part of."""
        if own:
            return Tensor(name, self.nest.layouts[name].tensor.dtype, self.tiles[name].shape)
        embedding = self.nest.embedding
        return Tensor(name, embedding.pattern.tensor(embedding.operand(name)).dtype, self.tiles[name].shape)

    def _word(self, name: str, ranges: Ranges) -> Read:
        """The access to a tile: its axes' words, then the lanes of a word."""
        layout = self.nest.layouts[name]
        starts = [reach.start - held.start for reach, held in zip(box(layout, ranges), self.places[name], strict=True)]
        axes = tuple(
            Affine.of(((loop, factor) for loop, factor in axis.loops if len(ranges[loop]) > 1), start)
            for axis, start in zip(layout.axes, starts, strict=True)
        )
        return Read(name, (*axes, *(Affine.of([(f"lane {lane}", 1)]) for lane in layout.word_lanes)))

    def drain(self, plane: int, ranges: Ranges) -> None:
        sums = self.nest.embedding.pattern.tensors[0]
        if bits(self.planes.dtype) > bits(sums.dtype):
            raise ValueError(f"cannot store {self.planes.dtype} from {sums}")
        self.planes.write(plane, box(self.nest.layouts[self.nest.output], ranges), self.tiles[self.nest.output])


def _taken(layout: Layout, array: Array, spans: tuple[range, ...]) -> Array:
    """A copy of the words in a box, with zeros where it reaches into padding."""
    tile = np.zeros((*(len(span) for span in spans), *layout.word_shape), array.dtype)
    source, target = [], []
    for axis, span in zip(layout.axes, spans, strict=True):
        first, last = max(span.start - axis.before, 0), min(span.stop - axis.before, axis.extent)
        source.append(slice(first, max(first, last)))
        start = first + axis.before - span.start
        target.append(slice(start, start + max(0, last - first)))
    tile[tuple(target)] = array[tuple(source)]
    return tile
