"""Tensors packed for a kernel: words in the order in which a schedule reads them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from dataflow.dtypes import bits
from dataflow.expression import Read
from embed.cpu.arrays.feed import Feed
from embed.cpu.arrays.streams import Stream
from embed.embedding import Embedding
from embed.layout import Layout, word_lanes
from embed.nest.schedule import Schedule
from embed.physical import Physical
from embed.window import Axis


@dataclass(frozen=True)
class Packed:
    """The words of a tensor, of `bytes` each: so many along each loop, of which `results` move along the output."""

    physical: Physical
    layout: Layout
    bytes: int
    words: Mapping[str, int]
    results: Sequence[str]
    spread: bool = False

    @property
    def tensor(self) -> str:
        return self.physical.tensor.name

    def stream(self, schedule: Schedule) -> Stream:
        """Whole tiles outermost, then what is summed, then the words of one tile."""
        blocks = {name: schedule.tiles[name] for name in schedule.order if name in self.results}
        sums = tuple([name for name in schedule.order if name in self.words and name not in blocks])
        point, tile = {}, {}
        step = self.bytes
        for name in reversed(self.results):
            point[name] = step
            step *= blocks[name]
        for name in reversed(sums):
            point[name], tile[name] = step, step * schedule.tiles[name]
            step *= self.words[name]
        for name, count in reversed(blocks.items()):
            tile[name] = step
            step *= -(-self.words[name] // count)
        feed = Feed(self.physical, layout=self.layout, blocks=tuple(blocks.items()), order=(*blocks, *sums))
        return Stream(self.tensor, point, tile, self.bytes, False, feed)


def packed(embedding: Embedding, operand: str, read: Read, physical: Physical) -> Packed:
    """A tensor read as `read`, in words like those of `operand`."""
    layout = Layout(embedding, physical.tensor, read.index, word_lanes(embedding, operand), _separate(embedding, read))
    size = prod(layout.word_shape) * (bits(physical.tensor.dtype) // 8)
    words = {axis.name: axis.extent for axis in layout.axes}
    return Packed(physical, layout, size, words, [name for name in embedding.result_loops if name in words])


def _separate(embedding: Embedding, read: Read) -> tuple[Axis, ...]:
    """One axis for each loop: windows are not shared, so that every loop has a stride of its own."""
    digits = {digit.loop: digit for digit in embedding.digits}
    axes = []
    for loop in embedding.loops:
        digit = digits.get(loop.name)
        if (digit or loop.extent > 1) and not read.dims.isdisjoint(loop.dims):
            moves = [0 if digit else index.coefficient(loop.name) for index in read.index]
            axes.append(Axis(loop.name, loop.extent, ((loop.name, 1),), tuple(moves), digit))
    return tuple(axes)
