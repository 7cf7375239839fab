"""C functions that do what feeds do: from the user's array to the one that a kernel reads, and back."""

from collections.abc import Iterator, Sequence
from math import prod

from dataflow.dtypes import bits, is_integer, is_signed
from embed.cpu.arrays.feed import Feed
from embed.packing import Gather, Run
from embed.physical import Physical

_FLOATS = {"f32": "float", "f64": "double"}


def c_type(dtype: str) -> str:
    """The C type of a scalar; 16-bit floats travel as their bits."""
    if dtype in _FLOATS:
        return _FLOATS[dtype]
    return f"{'' if is_integer(dtype) and is_signed(dtype) else 'u'}int{bits(dtype)}_t"


def pack_function(name: str, feed: Feed) -> str:
    """A function of that name which fills `to` from the user's array `from`."""
    zeros = f"for (int64_t i = 0; i < {feed.size}; ++i) to[i] = 0;"
    return _function(name, feed, [zeros, *_moved(feed, "to[{inner}] = from[{outer}];")])


def unpack_function(name: str, feed: Feed) -> str:
    """A function of that name which fills the user's array `to` from the one that the kernel wrote."""
    zeros = f"for (int64_t i = 0; i < {feed.physical.size}; ++i) to[i] = 0;"
    moved = _moved(feed, "to[{outer}] = from[{inner}];")
    return _function(name, feed, [zeros, *moved] if feed.physical.blocks else moved)


def _moved(feed: Feed, statement: str) -> list[str]:
    """The statement for every element of the user's array, at `outer`, and its place `inner` in the kernel's."""
    return _border(feed, statement) if feed.layout is None else ["int64_t at = 0;", *_packed(feed, statement)]


def _function(name: str, feed: Feed, lines: Sequence[str]) -> str:
    kind = c_type(feed.physical.tensor.dtype)
    head = f"static inline void {name}(const {kind} *from, {kind} *to) {{"
    return "\n".join([head, *(f"    {line}" for line in lines), "}"])


def _border(feed: Feed, statement: str) -> list[str]:
    physical = feed.physical
    places = [f"i{number}" for number in range(len(physical.tensor.shape))]
    inside = [f"({place} + {before})" for place, before in zip(places, feed.before or [0] * len(places), strict=True)]
    outer, inner = place_of(places, physical), _sum(inside, physical.plain.strides(feed.shape or None))
    loops = [(places[number], physical.tensor.shape[number]) for number in physical.plain.order]
    return nested(loops, [statement.format(outer=outer, inner=inner)])


def _packed(feed: Feed, statement: str) -> list[str]:
    """Whole tiles outermost, then the words of one tile, then lanes, as `Feed` lays them."""
    assert feed.layout is not None
    axes = feed.layout.axes
    tiles = [dict(feed.blocks).get(axis.name, 1) for axis in axes]
    numbers = [[axis.name for axis in axes].index(name) for name in feed.order]
    outer = [(f"t{number}", -(-axes[number].extent // tiles[number])) for number in numbers]
    inner = [(f"i{number}", tile) for number, tile in enumerate(tiles)]
    lanes = [(f"l{number}", extent) for number, extent in enumerate(feed.layout.word_shape)]
    words = [f"(t{number} * {tile} + i{number})" for number, tile in enumerate(tiles)]
    body = list(_element(feed.layout.gather, words, feed.physical, statement))
    return nested([*outer, *inner, *lanes], body)


def _element(gather: Gather, words: Sequence[str], physical: Physical, statement: str) -> Iterator[str]:
    """The code for one element of the words, which lie at the positions `words` along the runs."""
    digits, used = _digits(gather)
    sums = [[str(start)] for start in gather.origin]
    for number, (run, word) in enumerate(zip(gather.runs, words, strict=True)):
        lane = f" + {digits[run.digit]}" if run.digit is not None else ""
        yield f"const int64_t p{number} = {word} * {run.radix}{lane};"
        used.append(f"p{number} < {run.size}")
        for place, steps in _moves(run, f"p{number}"):
            for total, step in zip(sums, steps, strict=True):
                total += [f"{place} * {step}"] if step else []
    for number, (total, extent) in enumerate(zip(sums, gather.shape, strict=True)):
        yield f"const int64_t x{number} = {' + '.join(total)};"
        used.append(f"x{number} >= 0 && x{number} < {extent}")
    source = place_of([f"x{number}" for number in range(len(sums))], physical)
    yield f"if ({' && '.join(used) or '1'}) {statement.format(outer=source, inner='at')}"
    yield "++at;"


def _digits(gather: Gather) -> tuple[list[str], list[str]]:
    """The value of every digit of a word, and what holds of lanes that are not idle."""
    values, used = [], []
    for number, lane in enumerate(gather.lanes):
        below = prod(lane.radices)
        if below < lane.extent:
            used.append(f"l{number} < {below}")
        for radix in lane.radices:
            below //= radix
            values.append(f"l{number} / {below} % {radix}")
    return values, used


def _moves(run: Run, position: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The coordinate along each of a run's moves, the outermost first, and its steps."""
    below = run.size
    for move in run.moves:
        below //= move.extent
        yield f"{position} / {below} % {move.extent}", move.steps


def place_of(coordinates: Sequence[str], physical: Physical) -> str:
    """Where the element of a tensor at these coordinates lies in the user's array."""
    if not physical.blocks:
        return _sum(coordinates, physical.strides())
    parts = [f"{coordinates[dimension]} / {physical.block(dimension)}" for dimension in physical.order]
    below = {dimension: physical.block(dimension) for dimension, _ in physical.blocks}
    for dimension, size in physical.blocks:
        below[dimension] //= size
        parts.append(f"{coordinates[dimension]} / {below[dimension]} % {size}")
    return _sum(parts, physical.strides())


def _sum(places: Sequence[str], strides: Sequence[int]) -> str:
    return " + ".join(f"{place} * {stride}" for place, stride in zip(places, strides, strict=True)) or "0"


def nested(loops: Sequence[tuple[str, int]], body: Sequence[str]) -> list[str]:
    """The statements inside loops; of one iteration there is only its number."""
    heads = [f"for (int64_t {name} = 0; {name} < {extent}; ++{name})" for name, extent in loops]
    return [*heads, "{", *(f"    {line}" for line in body), "}"]
