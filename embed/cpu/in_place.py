"""Tensors that a kernel reads where they lie, if need be inside a border of zeros.

The lanes of an operand must be neighbours in memory, or all hold one element.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from dataflow.dtypes import bits
from dataflow.expression import Read
from embed.cpu.feed import Feed
from embed.cpu.streams import Stream, moving_digits, steps
from embed.embedding import Digit, Embedding
from embed.layout import word_lanes
from embed.nest.schedule import Schedule
from embed.physical import Physical


@dataclass(frozen=True)
class InPlace:
    """A tensor in the user's array: `point` bytes per iteration of each loop, in words of `bytes`.

    The first word lies `start` bytes into the array. `spread`: a word is one group of elements sent to all lanes.
    """

    feed: Feed
    point: Mapping[str, int]
    bytes: int
    spread: bool
    start: int = 0

    @property
    def tensor(self) -> str:
        return self.feed.physical.tensor.name

    def stream(self, schedule: Schedule) -> Stream:
        tile = {name: stride * schedule.tiles[name] for name, stride in self.point.items()}
        return Stream(self.tensor, self.point, tile, self.bytes, self.spread, self.feed, start=self.start)


def in_place(embedding: Embedding, operand: str, read: Read, physical: Physical, masked: bool) -> InPlace | None:
    """A tensor read as `read` in words like those of `operand`, with or without `masked` moves of parts of words.

    None where lanes are not neighbours in memory, some digit is fused, does not fill its last run, or shares its lanes
    with one that does not move the tensor, or only some dimensions of a matrix of results are in use.
    Idle lanes of a sum, and without masks all idle lanes, are read and written: they must not lie where other words
    do, as those of a group would, or past the end of the array.
    """
    digits = moving_digits(embedding, operand, read)
    lanes, results, filled = word_lanes(embedding, operand), embedding.pattern.output_dims, embedding.lanes
    groups = [lane for lane in lanes if lane not in results]
    held = {digit.lane for digit in digits}
    unheld = [lane for lane in lanes if lane not in held and filled[lane] > 1]
    spread = held.isdisjoint(results)
    if any(digit.lane in held and digit not in digits for digit in embedding.digits):
        return None
    if not spread and any(lane in results for lane in unheld):
        return None
    if _spills(embedding, read, [digit for digit in digits if digit.lane in groups or not masked]):
        return None
    rounding = _rounding(embedding, read, [digit for digit in digits if digit.lane in (groups if masked else lanes)])
    plain = physical.plain
    for lane in unheld:
        if lane in groups:
            if not plain.order or plain.tensor.shape[plain.order[-1]] != 1:
                return None
            rounding[plain.order[-1]] = filled[lane]
    before, shape = _border(embedding, read, physical, rounding)
    size = bits(physical.tensor.dtype) // 8
    strides = plain.strides(shape or None)
    per_dim = {dim: size * step for dim, step in steps(read, strides).items()}
    if not _are_neighbours(embedding, digits, lanes, groups, per_dim, size):
        return None
    word = size * prod([filled[lane] for lane in (groups if spread else lanes)])
    start = size * _first(read, before, strides)
    return InPlace(Feed(physical, before, shape), _loop_bytes(embedding, per_dim), word, spread, start)


def _are_neighbours(
    embedding: Embedding,
    digits: Sequence[Digit],
    lanes: Sequence[str],
    groups: Collection[str],
    per_dim: Mapping[str, int],
    size: int,
) -> bool:
    """Whether a word's elements of `size` bytes are neighbours, and groups whole unless there is only one."""
    expected = size
    for lane in reversed(lanes):
        extent = embedding.lanes[lane]
        own = [digit for digit in digits if digit.lane == lane]
        if len(own) > 1 or any(len(digit.dims) > 1 or per_dim.get(digit.dims[0], 0) != expected for digit in own):
            return False
        if own and lane in groups and own[0].radix != extent and embedding.steps(own[0]) > 1:
            return False
        expected *= extent
    return True


def _loop_bytes(embedding: Embedding, per_dim: Mapping[str, int]) -> dict[str, int]:
    """Bytes for each tile loop that moves the tensor: a digit's run moves `radix` points."""
    radix = embedding.radix
    moved = [loop for loop in embedding.loops if len(loop.dims) == 1 and per_dim.get(loop.dims[0])]
    return {loop.name: per_dim[loop.dims[0]] * radix.get(loop.name, 1) for loop in moved}


def _rounding(embedding: Embedding, read: Read, digits: Sequence[Digit]) -> dict[int, int]:
    """The tensor dimensions that digits run along, with how many lanes there are: zeros fill them up to that."""
    return {
        number: embedding.lanes[digit.lane]
        for digit in digits
        for number, index in enumerate(read.index)
        if index.coefficient(digit.dims[0])
    }


def _spills(embedding: Embedding, read: Read, digits: Sequence[Digit]) -> bool:
    """Whether the idle lanes of a loop's last word lie where another word of the same loop nest does."""
    uneven = {digit.dims[0] for digit in digits if embedding.size(digit) % embedding.lanes[digit.lane]}
    if not uneven:
        return False
    shared = [{dim for dim in index.dims if embedding.extents[dim] > 1} for index in read.index]
    return any(dims & uneven and len(dims) > 1 for dims in shared)


def _first(read: Read, before: Sequence[int], strides: Sequence[int]) -> int:
    """Where the element of the first iteration stands in the bordered array."""
    places = zip(read.index, before or (0,) * len(strides), strides, strict=True)
    return sum(stride * (index.constant + border) for index, border, stride in places)


def _border(
    embedding: Embedding, read: Read, physical: Physical, rounding: Mapping[int, int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Zeros before each dimension and the bordered shape; empty where neither lanes nor the access reach outside.

    Words start at the first index that is read.
    """
    before, shape = [], []
    for number, (index, size) in enumerate(zip(read.index, physical.tensor.shape, strict=True)):
        low, high = index.bounds(embedding.extents)
        before.append(max(0, -low))
        reach = before[number] + max(size, high + 1)
        shape.append(reach + (max(0, low) - reach) % rounding.get(number, 1))
    if not any(before) and tuple(shape) == physical.tensor.shape:
        return (), ()
    return tuple(before), tuple(shape)
