"""How a register machine reaches each tensor: the bytes from one iteration of a loop to the next."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from dataflow.expression import Read
from embed.cpu.arrays.feed import Feed
from embed.embedding import Digit, Embedding
from embed.layout import word_lanes
from embed.nest.schedule import Schedule


@dataclass(frozen=True)
class Stream:
    """The addresses of one operand: `point` bytes per iteration inside a tile, `tile` bytes per tile, for each loop.

    The first word lies `start` bytes into the array. A word has `bytes`; `spread` says that it is one group of
    elements sent to all lanes. `feed` makes the array that the kernel reads from the user's. Where the instruction
    picks a lane itself, a register holds up to `lanes` words: neighbours in memory, one for each iteration of the loop
    `along`.
    """

    tensor: str
    point: Mapping[str, int]
    tile: Mapping[str, int]
    bytes: int
    spread: bool
    feed: Feed
    lanes: int = 1
    along: str = ""
    start: int = 0


def linear(schedule: Schedule, streams: Sequence[Stream]) -> set[str]:
    """Loops inside the outermost along which tensors move from tile to tile as they do from point to point."""
    _, *inner = schedule.order
    return {
        loop
        for loop in inner
        if all(found.tile.get(loop, 0) == schedule.tiles[loop] * found.point.get(loop, 0) for found in streams)
    }


def gathered(found: Stream, lanes: int, along: str) -> Stream:
    """The stream of an operand of which the instruction picks one of `lanes`, neighbours along a loop, if any."""
    return replace(found, spread=False, lanes=lanes if along else 1, along=along)


def moving_digits(embedding: Embedding, operand: str, read: Read) -> list[Digit]:
    """Digits on the operand's lanes whose dims the tensor uses; the other lanes all hold one value."""
    lanes, used = word_lanes(embedding, operand), read.dims
    return [digit for digit in embedding.digits if digit.lane in lanes and not used.isdisjoint(digit.dims)]


def steps(read: Read, strides: Sequence[int]) -> dict[str, int]:
    """Elements from one iteration to the next of every dim that an access uses, of a tensor with these strides."""
    found: dict[str, int] = {}
    for index, stride in zip(read.index, strides, strict=True):
        for dim, coefficient in index.terms:
            found[dim] = found.get(dim, 0) + coefficient * stride
    return found
