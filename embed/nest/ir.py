"""The loop-nest IR: loops over tiles and over the points of a tile, and what is done in them.

A range is known for every loop at every place of the tree: the whole loop, narrowed by each `Tiles` around it. The
leaves act on the words of a tensor's packed array that those ranges reach.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from dataflow.expression import Read
from embed.embedding import Embedding
from embed.epilogue import Fused
from embed.epilogue import Pass as EpiloguePass
from embed.layout import Layout, derive
from embed.window import Axis

Ranges = Mapping[str, range]


@dataclass(frozen=True, slots=True)
class Tiles:
    """Run `body` for each run of `tile` iterations of `loop` within its range; the last run may be shorter."""

    loop: str
    tile: int
    body: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Tail:
    """In the last output tile, run `body` for each run of `tile` iterations of `loop`; in others once, uncut."""

    loop: str
    tile: int
    body: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Points:
    """Run `body` for each single iteration of `loop` within its range."""

    loop: str
    body: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Fill:
    """Bring the reached words of a tensor next to the compute unit, zeros for its padding."""

    tensor: str


@dataclass(frozen=True, slots=True)
class Reset:
    """Set the reached words of the output to zero."""


@dataclass(frozen=True, slots=True)
class Compute:
    """One invocation of the embedded instruction, on one word of each operand."""


@dataclass(frozen=True, slots=True)
class Pass:
    """One epilogue operation, or all of them, on every reached word of the output."""

    step: EpiloguePass | Fused


@dataclass(frozen=True, slots=True)
class Drain:
    """Write byte plane `plane` of the reached words of the output to external memory."""

    plane: int


Node = Tiles | Tail | Points | Fill | Reset | Compute | Pass | Drain


@dataclass(frozen=True)
class Nest:
    """A whole program: the tree, and what the epilogue reads besides the sums, by access name."""

    embedding: Embedding
    body: tuple[Node, ...]
    planes: int
    extras: Mapping[str, Read] = field(default_factory=dict)

    @cached_property
    def layouts(self) -> dict[str, Layout]:
        """The layouts of the tensors that it moves, by access name."""
        return derive(self.embedding, self.extras)

    @property
    def whole(self) -> dict[str, range]:
        """The range of every loop outside all tiles."""
        return {loop.name: range(loop.extent) for loop in self.embedding.loops}

    @property
    def output(self) -> str:
        """Name of the tensor that accumulates."""
        return self.embedding.operator.main.output.tensor

    def __str__(self) -> str:
        return "\n".join(line for node in self.body for line in _lines(self, node, 0))


def box(layout: Layout, ranges: Ranges) -> tuple[range, ...]:
    """The words along each axis (padding counted) that some ranges of the loops reach."""
    return tuple(_reached(axis, ranges) for axis in layout.axes)


def _reached(axis: Axis, ranges: Ranges) -> range:
    first = sum(factor * ranges[loop].start for loop, factor in axis.loops)
    length = sum(factor * (len(ranges[loop]) - 1) for loop, factor in axis.loops)
    return range(first, first + length + 1)


def pieces(span: range, tile: int) -> list[range]:
    """A range cut into runs of `tile`."""
    return [range(start, min(start + tile, span.stop)) for start in range(span.start, span.stop, tile)]


def tail_pieces(nest: Nest, node: Tail, ranges: Ranges) -> list[range]:
    """The pieces of a tail's loop: several where all loops are at their ends."""
    last = all(ranges[name].stop == span.stop for name, span in nest.whole.items())
    span = ranges[node.loop]
    return pieces(span, node.tile if last else len(span))


def _lines(nest: Nest, node: Node, depth: int) -> list[str]:
    pad = "  " * depth
    match node:
        case Tiles(loop, tile, body):
            extent = len(nest.whole[loop])
            head = [f"{pad}for {loop} in 0..{extent} by {tile}:"]
            return head + [line for inner in body for line in _lines(nest, inner, depth + 1)]
        case Tail(loop, tile, body):
            head = [f"{pad}for {loop} by {tile} in the last tile:"]
            return head + [line for inner in body for line in _lines(nest, inner, depth + 1)]
        case Points(loop, body):
            head = [f"{pad}for each {loop}:"]
            return head + [line for inner in body for line in _lines(nest, inner, depth + 1)]
        case Fill(tensor):
            return [f"{pad}load {_place(nest.layouts[tensor])}"]
        case Reset():
            return [f"{pad}reset {_place(nest.layouts[nest.output])}"]
        case Compute():
            operands = [f"{operand}={_place(nest.layouts[t])}" for operand, t in nest.embedding.binding.pairs]
            return [f"{pad}{nest.embedding.name} {' '.join(operands)}"]
        case Pass(step):
            name, _, rest = str(step).partition(" ")
            return [f"{pad}{name} {_place(nest.layouts[nest.output])} {rest}"]
        case Drain(plane):
            return [f"{pad}store {_place(nest.layouts[nest.output])}" + (f" byte {plane}" if nest.planes > 1 else "")]


def _place(layout: Layout) -> str:
    """The word a tensor's layout addresses, as affine expressions of the loops."""
    parts = []
    for axis in layout.axes:
        terms = "+".join(loop if factor == 1 else f"{factor}*{loop}" for loop, factor in axis.loops)
        parts.append(f"{terms}-{axis.before}" if axis.before else terms)
    return f"{layout.tensor.name}[{', '.join(parts)}]"
