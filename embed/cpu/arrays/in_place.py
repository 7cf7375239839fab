"""Tensors that a kernel reads where they lie, if need be inside a border of zeros.

The lanes of an operand must be neighbours in memory, or all hold one element.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from dataflow.dtypes import bits
from dataflow.expression import Read
from embed.cpu.arrays.border import bordered, first, reaching
from embed.cpu.arrays.feed import Feed
from embed.cpu.arrays.streams import Stream, moving_digits, steps
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
    def physical(self) -> Physical:
        """How the user has it: an output as the epilogue leaves it."""
        return self.feed.physical

    @property
    def tensor(self) -> str:
        return self.physical.tensor.name

    def stream(self, schedule: Schedule) -> Stream:
        tile = {name: stride * schedule.tiles[name] for name, stride in self.point.items()}
        return Stream(self.tensor, self.point, tile, self.bytes, self.spread, self.feed, start=self.start)


def in_place(
    embedding: Embedding,
    operand: str,
    read: Read,
    physical: Physical,
    masked: bool,
    quiet: bool = False,
    inside: Collection[int] = (),
) -> InPlace | None:
    """A tensor read as `read` in words like those of `operand`, with or without `masked` moves of parts of words.

    None where lanes are not neighbours in memory, some digit shares its lanes with one that does not move the tensor,
    or only some dimensions of a matrix of results are in use. Idle lanes of a sum, and without masks all idle lanes,
    are read and written: they must not lie where other words do, as those of a group would, and a border fills them
    with zeros. Of a group in `quiet` lanes what idle ones read does not matter, if only it lies in the array.
    Beyond the dimensions `inside` nothing is read, whatever the indices say.
    """
    digits = moving_digits(embedding, operand, read)
    lanes, results, filled = word_lanes(embedding, operand), embedding.pattern.output_dims, embedding.lanes
    groups = [lane for lane in lanes if lane not in results]
    held = {digit.lane for digit in digits}
    spread = held.isdisjoint(results)
    if any(digit.lane in {*held, *groups} and digit not in digits for digit in embedding.digits):
        return None
    if not spread and any(lane in results and lane not in held and filled[lane] > 1 for lane in lanes):
        return None
    plain = physical.plain
    quiet = quiet and spread and bool(plain.order)
    rounding = {} if quiet else _rounded(embedding, read, plain, digits, groups if masked else lanes, groups)
    if rounding is None:
        return None
    before, shape = bordered(embedding, read, physical, rounding, inside)
    words = prod([filled[lane] for lane in (groups if spread else lanes)])
    if quiet:
        shape = reaching(embedding, read, plain, before, shape, words)
    size = bits(physical.tensor.dtype) // 8
    strides = plain.strides(shape or None)
    per_dim = {dim: size * step for dim, step in steps(read, strides).items()}
    if not _are_neighbours(embedding, digits, lanes, groups, per_dim, size):
        return None
    start = size * first(read, before, strides)
    return InPlace(Feed(physical, before, shape), _loop_bytes(embedding, per_dim), size * words, spread, start)


def _are_neighbours(
    embedding: Embedding,
    digits: Sequence[Digit],
    lanes: Sequence[str],
    groups: Collection[str],
    per_dim: Mapping[str, int],
    size: int,
) -> bool:
    """Whether a word's elements of `size` bytes are neighbours, with idle lanes; a result's lanes have one digit."""
    expected = size
    for lane in reversed(lanes):
        step = expected
        own = [digit for digit in digits if digit.lane == lane]
        if len(own) > 1 and lane not in groups:
            return False
        for digit in own:
            inside = step
            for dim in digit.dims:
                if per_dim.get(dim, 0) != inside:
                    return False
                inside *= embedding.extents[dim]
            step *= digit.radix
        expected *= embedding.lanes[lane]
    return True


def _loop_bytes(embedding: Embedding, per_dim: Mapping[str, int]) -> dict[str, int]:
    """Bytes for each tile loop that moves the tensor: a digit's run moves `radix` points."""
    radix = embedding.radix
    moved = [loop for loop in embedding.loops if per_dim.get(loop.dims[0])]
    return {loop.name: per_dim[loop.dims[0]] * radix.get(loop.name, 1) for loop in moved}


def _rounded(
    embedding: Embedding,
    read: Read,
    plain: Physical,
    digits: Sequence[Digit],
    moved: Collection[str],
    groups: Collection[str],
) -> dict[int, int] | None:
    """The tensor dimensions that a border of zeros must fill up, and to multiples of what.

    None where that does not make idle lanes of `moved` read zeros: other words lie there, or their digits have several
    dims or share a lane.
    """
    lanes = embedding.lanes
    uneven = [digit for digit in digits if digit.lane in moved and not _is_exact(embedding, digit)]
    for digit in uneven:
        single = len(digit.dims) == 1 and len(embedding.digits_of(digit.lane)) == 1
        if not single or (digit.radix != lanes[digit.lane] and embedding.steps(digit) > 1):
            return None
    if _spills(embedding, read, uneven):
        return None
    found = {n: lanes[d.lane] for d in uneven for n, index in enumerate(read.index) if index.coefficient(d.dims[0])}
    for lane in groups:
        if lanes[lane] > 1 and not embedding.digits_of(lane):
            if not plain.order or plain.tensor.shape[plain.order[-1]] != 1:
                return None
            found[plain.order[-1]] = lanes[lane]
    return found


def _is_exact(embedding: Embedding, digit: Digit) -> bool:
    """Whether its lanes are all in use, in every run."""
    taken = prod([other.radix for other in embedding.digits_of(digit.lane)])
    return taken == embedding.lanes[digit.lane] and embedding.size(digit) % digit.radix == 0


def _spills(embedding: Embedding, read: Read, digits: Sequence[Digit]) -> bool:
    """Whether the idle lanes of a loop's last word lie where another word of the same loop nest does."""
    uneven = {digit.dims[0] for digit in digits if embedding.size(digit) % embedding.lanes[digit.lane]}
    if not uneven:
        return False
    shared = [{dim for dim in index.dims if embedding.extents[dim] > 1} for index in read.index]
    return any(dims & uneven and len(dims) > 1 for dims in shared)
