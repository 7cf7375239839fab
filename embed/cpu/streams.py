"""How a register machine reaches each tensor: the bytes from one iteration of a loop to the next.

A tensor is read in place where the lanes of its operand lie next to each other in memory, or all hold one element; else
it is packed, words in the order in which the kernel reads them.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

from dataflow.dtypes import bits
from dataflow.expression import Read
from embed.cpu.feed import Feed
from embed.embedding import Digit, Embedding
from embed.layout import Axis, Layout, word_lanes
from embed.nest.schedule import Schedule
from embed.physical import Physical


@dataclass(frozen=True)
class Stream:
    """The addresses of one operand: `point` bytes per iteration inside a tile, `tile` bytes per tile, for each loop.

    A word has `bytes`; `spread` says that it is one group of elements sent to all lanes. `feed` makes the array that
    the kernel reads from the user's. Where the instruction picks a lane itself, a register holds up to `lanes` words:
    neighbours in memory, one for each iteration of the loop `along`.
    """

    tensor: str
    point: Mapping[str, int]
    tile: Mapping[str, int]
    bytes: int
    spread: bool
    feed: Feed
    lanes: int = 1
    along: str = ""


def stream(
    embedding: Embedding,
    operand: str,
    read: Read,
    schedule: Schedule,
    physical: Physical,
    element: str,
    constant: bool,
    masked: bool,
) -> Stream:
    """The stream of a tensor read as `read` in words like those of `operand`, its scalars of type `element`.

    Packed if constant, else in place if lanes allow. Without `masked` moves a tensor is filled up to whole words.
    """
    size = bits(element) // 8
    found = None if constant else _in_place(embedding, operand, read, physical, size, schedule, masked)
    return found if found is not None else _packed(embedding, operand, read, physical, size, schedule)


def neighbours(embedding: Embedding, found: Stream) -> str:
    """The loop along which words lie next to each other: of several, one of a sum, and of these the longest."""
    extents = {loop.name: loop.extent for loop in embedding.loops if loop.extent > 1}
    if found.feed.layout is not None:
        return next((axis.name for axis in found.feed.layout.axes[::-1] if _is_result(embedding, axis.name)), "")
    near = [name for name in extents if found.point.get(name) == found.bytes]
    return min(near, key=lambda name: (_is_result(embedding, name), -extents[name]), default="")


def gathered(found: Stream, lanes: int, along: str) -> Stream:
    """The stream of an operand of which the instruction picks one of `lanes`, neighbours along a loop, if any."""
    return replace(found, spread=False, lanes=lanes if along else 1, along=along)


def moving_digits(embedding: Embedding, operand: str, read: Read) -> list[Digit]:
    """Digits on the operand's lanes whose dims the tensor uses; the other lanes all hold one value."""
    lanes = word_lanes(embedding, operand)
    used = {dim for index in read.index for dim in index.dims}
    return [digit for digit in embedding.digits if digit.lane in lanes and used & set(digit.dims)]


def steps(read: Read, strides: Sequence[int]) -> dict[str, int]:
    """Elements from one iteration to the next of every dim that an access uses, of a tensor with these strides."""
    found: dict[str, int] = {}
    for index, stride in zip(read.index, strides, strict=True):
        for dim, coefficient in index.terms:
            found[dim] = found.get(dim, 0) + coefficient * stride
    return found


def _in_place(
    embedding: Embedding,
    operand: str,
    read: Read,
    physical: Physical,
    size: int,
    schedule: Schedule,
    masked: bool,
) -> Stream | None:
    """None where lanes are not neighbours in memory, some digit is fused, does not fill its last run, or shares its
    lanes with one that does not move the tensor, or only some dimensions of a matrix of results are in use.

    Idle lanes of a sum, and without masks all idle lanes, are read and written: they must not lie where other words
    do, as those of a group would, or past the end of the array.
    """
    digits = moving_digits(embedding, operand, read)
    lanes = word_lanes(embedding, operand)
    results = {lane for index in embedding.pattern.output.index for lane in index.dims}
    groups = [lane for lane in lanes if lane not in results]
    spread = not any(digit.lane in results for digit in digits)
    held = {digit.lane for digit in digits}
    if any(digit.lane in held and digit not in digits for digit in embedding.digits):
        return None
    if not spread and any(embedding.lanes[lane] > 1 for lane in lanes if lane in results - held):
        return None
    if _spills(embedding, read, [digit for digit in digits if digit.lane in groups or not masked]):
        return None
    rounding = _rounding(embedding, read, digits, groups if masked else lanes)
    plain = physical.plain
    spare = plain.order[-1] if plain.order and plain.tensor.shape[plain.order[-1]] == 1 else None
    for lane in groups:
        if embedding.lanes[lane] > 1 and lane not in held:
            if spare is None:
                return None
            rounding[spare] = embedding.lanes[lane]
    before, shape = _border(embedding, read, physical, rounding)
    strides = plain.strides(shape or None)
    per_dim = dict.fromkeys(embedding.extents, 0) | {dim: size * step for dim, step in steps(read, strides).items()}
    if not _are_neighbours(embedding, digits, lanes, groups, per_dim, size):
        return None
    word = size * prod(embedding.lanes[lane] for lane in (groups if spread else lanes))
    points = _loop_bytes(embedding, per_dim)
    tiles = {name: stride * schedule.tiles[name] for name, stride in points.items()}
    return Stream(physical.tensor.name, points, tiles, word, spread, Feed(physical, before, shape))


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
        if len(own) > 1 or any(len(digit.dims) > 1 or per_dim[digit.dims[0]] != expected for digit in own):
            return False
        if own and lane in groups and own[0].radix != extent and embedding.steps(own[0]) > 1:
            return False
        expected *= extent
    return True


def _loop_bytes(embedding: Embedding, per_dim: Mapping[str, int]) -> dict[str, int]:
    """Bytes for each tile loop: a digit's run moves `radix` points."""
    radix = {digit.loop: digit.radix for digit in embedding.digits}
    found = {}
    for loop in embedding.loops:
        if len(loop.dims) == 1:
            found[loop.name] = per_dim[loop.dims[0]] * radix.get(loop.name, 1)
        else:
            found[loop.name] = 0
    return {name: stride for name, stride in found.items() if stride}


def _rounding(embedding: Embedding, read: Read, digits: list[Digit], lanes: Sequence[str]) -> dict[int, int]:
    """The tensor dimensions that `lanes` run along, with how many lanes there are: zeros fill them up to that."""
    found = {}
    for digit in digits:
        if digit.lane in lanes:
            for number, index in enumerate(read.index):
                if index.coefficient(digit.dims[0]):
                    found[number] = embedding.lanes[digit.lane]
    return found


def _spills(embedding: Embedding, read: Read, digits: list[Digit]) -> bool:
    """Whether the idle lanes of a loop's last word lie where another word of the same loop nest does."""
    uneven = {digit.dims[0] for digit in digits if embedding.size(digit) % embedding.lanes[digit.lane]}
    shared = [{dim for dim in index.dims if embedding.extents[dim] > 1} for index in read.index]
    return any(dims & uneven and len(dims) > 1 for dims in shared)


def _border(
    embedding: Embedding, read: Read, physical: Physical, rounding: Mapping[int, int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Zeros before each dimension and the bordered shape; empty where neither lanes nor the access reach outside."""
    bounds = [index.bounds(embedding.extents) for index in read.index]
    before = tuple(max(0, -low) for low, _ in bounds)
    shape = []
    for number, ((_, high), size) in enumerate(zip(bounds, physical.tensor.shape, strict=True)):
        reach = before[number] + max(size, high + 1)
        shape.append(reach + -reach % rounding.get(number, 1))
    if not any(before) and tuple(shape) == physical.tensor.shape:
        return (), ()
    return before, tuple(shape)


def _packed(
    embedding: Embedding, operand: str, read: Read, physical: Physical, size: int, schedule: Schedule
) -> Stream:
    """Words in the order of the schedule: whole tiles outermost, then what is summed, then the words of one tile."""
    axes = _separate(embedding, read)
    plain = Layout(embedding, physical.tensor, read.index, word_lanes(embedding, operand), axes)
    extents = {axis.name: axis.extent for axis in plain.axes}
    blocks = tuple((n, schedule.tiles[n]) for n in schedule.order if n in extents and _is_result(embedding, n))
    sums = tuple(name for name in schedule.order if name in extents and name not in dict(blocks))
    word = prod(plain.word_shape) * size
    point, tile = {}, {}
    step = word
    for axis in reversed(plain.axes):
        if axis.name in dict(blocks):
            point[axis.name] = step
            step *= dict(blocks)[axis.name]
    for name in reversed(sums):
        point[name], tile[name] = step, step * schedule.tiles[name]
        step *= extents[name]
    for name, count in reversed(blocks):
        tile[name] = step
        step *= -(-extents[name] // count)
    order = (*(name for name, _ in blocks), *sums)
    return Stream(
        physical.tensor.name, point, tile, word, False, Feed(physical, layout=plain, blocks=blocks, order=order)
    )


def _is_result(embedding: Embedding, loop: str) -> bool:
    results = embedding.operator.main.output_dims
    return any(found.name == loop and any(dim in results for dim in found.dims) for found in embedding.loops)


def _separate(embedding: Embedding, read: Read) -> tuple[Axis, ...]:
    """One axis for each loop: windows are not shared, so that every loop has a stride of its own."""
    used = {dim for index in read.index for dim in index.dims}
    digits = {digit.loop: digit for digit in embedding.digits}
    axes = []
    for loop in embedding.loops:
        if loop.extent > 1 and used & set(loop.dims):
            steps = tuple(index.coefficient(loop.name) for index in read.index)
            moves = (0,) * len(steps) if loop.name in digits else steps
            axes.append(Axis(loop.name, loop.extent, ((loop.name, 1),), moves, digits.get(loop.name)))
        elif loop.name in digits and used & set(loop.dims):
            axes.append(Axis(loop.name, 1, ((loop.name, 1),), (0,) * len(read.index), digits[loop.name]))
    return tuple(axes)
