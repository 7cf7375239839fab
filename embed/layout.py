"""Layouts: for each tensor the packed array of words that the instruction reads or writes, as a gather from the user's.

A word holds one operand of one invocation. Words are addressed along axes: the runs of a digit, an outer dim, or a
window (`2*y+r` of a convolution) whose overlapping positions share their words. Where the lanes leave a window
axis alone, its zero padding is not stored: the load unit supplies it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import gcd, prod
from typing import Any

import numpy as np
import numpy.typing as npt

from dataflow.affine import Affine
from dataflow.computation import Tensor
from dataflow.dtypes import numpy_dtype
from dataflow.expression import Read
from embed.embedding import Array, Digit, Embedding

_CHUNK_ELEMENTS = 1 << 22


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of a packed array.

    `extent` counts stored words; `before` and `after` count zero words that exist only in a scratchpad.
    `loops` gives the words moved per iteration of each tile loop; `steps` the tensor elements moved per word, for each
    tensor dimension (a digit's axis moves through its digit instead).
    """

    name: str
    extent: int
    loops: tuple[tuple[str, int], ...]
    steps: tuple[int, ...]
    digit: Digit | None = None
    before: int = 0
    after: int = 0

    @property
    def span(self) -> int:
        """Words along the axis, padding included."""
        return self.before + self.extent + self.after


@dataclass(frozen=True)
class Layout:
    """The packed form of one operator tensor in the role of one instruction operand."""

    embedding: Embedding
    tensor: Tensor
    index: tuple[Affine, ...]
    word_lanes: tuple[str, ...]
    axes: tuple[Axis, ...]

    @property
    def word_shape(self) -> tuple[int, ...]:
        return tuple(self.embedding.lanes[lane] for lane in self.word_lanes)

    @property
    def words(self) -> int:
        """Stored words."""
        return prod(axis.extent for axis in self.axes)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the packed array: the axes, then the lanes of a word."""
        return (*(axis.extent for axis in self.axes), *self.word_shape)

    def pack(self, array: Array, dtype: str | None = None) -> Array:
        """Gather the user's array (shape of the tensor) into packed words of `dtype`; padding and idle lanes are zero."""
        packed = np.zeros((self.words, *self.word_shape), numpy_dtype(dtype or self.tensor.dtype))
        gather = self._gather
        flat = gather.padded(array).reshape(-1)
        for rows, offsets, idle in gather.chunks():
            values = flat[offsets]
            if idle is not None:
                values = np.where(idle, 0, values)
            packed[rows] = values
        return packed.reshape(self.shape)

    def unpack(self, packed: Array) -> Array:
        """Scatter packed words back into an array of the tensor's shape; elements that no lane holds are zero."""
        gather = self._gather
        flat = np.zeros(prod(gather.padded_shape), packed.dtype)
        words = packed.reshape(self.words, *self.word_shape)
        for rows, offsets, idle in gather.chunks():
            values = words[rows]
            if idle is None:
                flat[offsets] = values
            else:
                busy = ~np.broadcast_to(idle, values.shape)
                flat[np.broadcast_to(offsets, values.shape)[busy]] = values[busy]
        return gather.inner(flat.reshape(gather.padded_shape))

    @cached_property
    def _gather(self) -> "_Gather":
        return _Gather.of(self)

    def __str__(self) -> str:
        """The gather as index expressions, such as `inp'[c_o,h,w|i] = inp[0, 16*c_o+i, h, w]`."""
        where = ",".join(axis.name for axis in self.axes)
        return f"{self.tensor.name}'[{where}|{','.join(self.word_lanes)}] = {self.tensor.name}[{', '.join(self._sources())}]"

    def _sources(self) -> Iterator[str]:
        values = self._dim_texts()
        for number, index in enumerate(self.index):
            terms = [_times(axis.steps[number], axis.name) for axis in self.axes if axis.digit is None and axis.steps[number]]
            terms += [_times(c, values[dim]) for dim, c in index.terms if dim in values]
            start = _origin(self, number)
            text = "+".join(terms)
            yield (text + (f"{start:+d}" if start else "") if text else str(start)).replace("+-", "-")

    def _dim_texts(self) -> dict[str, str]:
        """Each digit's dims as expressions of its loop and lane."""
        texts = {}
        for digit in self.embedding.digits:
            lane = _lane_text(self.embedding, digit) if digit.lane in self.word_lanes else "0"
            flat = f"{digit.radix}*{digit.loop}+{lane}" if self.embedding.steps(digit) > 1 else lane
            inner = 1
            for place, dim in enumerate(digit.dims):
                text = f"({flat})//{inner}" if inner > 1 else flat
                extent = self.embedding.extents[dim]
                texts[dim] = f"({text})%{extent}" if place < len(digit.dims) - 1 else text
                inner *= extent
        return texts


def derive(embedding: Embedding) -> dict[str, Layout]:
    """The layout of every tensor of the operator's main statement, by tensor name."""
    operands = embedding.binding.operands
    accesses = embedding.operator.main.accesses
    return {tensor: derive_one(embedding, accesses[tensor], operand) for tensor, operand in operands.items()}


def derive_one(embedding: Embedding, read: Read, operand: str, tensor: Tensor | None = None) -> Layout:
    """The layout of one tensor read as `read` in the operator's dims, in words shaped like `operand`."""
    lanes = tuple(dim for index in embedding.pattern.accesses[operand].index for dim in index.dims)
    declared = tensor or embedding.operator.main.tensor(read.tensor)
    used = {dim for index in read.index for dim in index.dims}
    axes: list[Axis] = []
    rank = len(read.index)
    for loop in embedding.loops:
        digit = next((digit for digit in embedding.digits if digit.loop == loop.name), None)
        if digit is not None and used & set(digit.dims):
            axes.append(Axis(loop.name, loop.extent, ((loop.name, 1),), (0,) * rank, digit))
    axes += window_axes(embedding, read, declared.shape, embedding.instruction.pads.get(operand, 0))
    layout = Layout(embedding, declared, read.index, lanes, tuple(axes))
    return replace(layout, axes=_ordered(layout))


def _ordered(layout: Layout) -> tuple[Axis, ...]:
    """Axes in the order in which the tensor's own dimensions come, so that packing keeps what is contiguous."""
    def place(axis: Axis) -> tuple[int, int]:
        if axis.digit is None:
            return (next((i for i, step in enumerate(axis.steps) if step), 0), 1)
        found = [i for i, index in enumerate(layout.index) for dim in axis.digit.dims if index.coefficient(dim)]
        return (min(found, default=0), 0)

    return tuple(sorted(layout.axes, key=place))


def window_axes(embedding: Embedding, read: Read, shape: tuple[int, ...], pads: int) -> list[Axis]:
    """Axes of the outer dims: one shared window for each tensor dimension where that stores less, else one a dim."""
    outer = [dim for dim in embedding.outer_dims if embedding.extents[dim] > 1]
    uses = {dim: sum(1 for index in read.index if index.coefficient(dim)) for dim in outer}
    axes: list[Axis] = []
    for number, index in enumerate(read.index):
        own = [dim for dim in index.dims if uses.get(dim) == 1]
        if own:
            unit = tuple(int(place == number) for place in range(len(shape)))
            window = Window.of(index, own, embedding.extents, embedding.operator.main.output_dims, shape[number:], pads)
            axes += _dimension_axes(index, own, embedding.extents, unit, window)
    for dim, count in uses.items():
        if count > 1:
            steps = tuple(index.coefficient(dim) for index in read.index)
            axes.append(Axis(dim, embedding.extents[dim], ((dim, 1),), steps))
    return axes


def _dimension_axes(
    index: Affine, own: list[str], extents: Mapping[str, int], unit: tuple[int, ...], window: "Window | None"
) -> list[Axis]:
    """The axes of one tensor dimension whose outer dims are `own`."""
    coefficients = {dim: index.coefficient(dim) for dim in own}
    if window is None:
        return [Axis(dim, extents[dim], ((dim, 1),), tuple(c * u for u in unit)) for dim, c in coefficients.items()]
    loops = tuple((dim, c // window.step) for dim, c in coefficients.items())
    steps = tuple(window.step * u for u in unit)
    return [Axis("".join(own), window.stored, loops, steps, before=window.before, after=window.after)]


@dataclass(frozen=True, slots=True)
class Window:
    """One axis shared by the outer dims of a tensor dimension: `stored` words between zeros that need no storage."""

    step: int
    stored: int
    before: int
    after: int

    @classmethod
    def of(
        cls,
        index: Affine,
        own: list[str],
        extents: Mapping[str, int],
        results: tuple[str, ...],
        shape: tuple[int, ...],
        pads: int,
    ) -> "Window | None":
        """The window over `own`, dims of extent > 1 of an index into the first dimension of `shape`; None to keep them apart.

        Padding of up to `pads` words is left out in the last two dimensions, where lanes do not move along the
        dimension and every output's window holds some data; `results` are the operator's output dims.
        """
        moves = {dim: index.coefficient(dim) for dim in own}
        if any(move < 0 for move in moves.values()):
            return None
        step = gcd(*moves.values())
        span = _reach(moves, extents, step)
        if span > prod(extents[dim] for dim in own):
            return None
        before, after = padding(index.constant, step, span, shape[0])
        sums = {dim: move for dim, move in moves.items() if dim not in results}
        lanes = any(extents[dim] > 1 and dim not in moves for dim in index.dims)
        if lanes or len(shape) > 2 or max(before, after) > min(_reach(sums, extents, step) - 1, pads):
            return cls(step, span, 0, 0)
        return cls(step, span - before - after, before, after)


def _reach(moves: Mapping[str, int], extents: Mapping[str, int], step: int) -> int:
    """Positions from the first to the last that these dims reach."""
    return sum(move // step * (extents[dim] - 1) for dim, move in moves.items()) + 1


def padding(start: int, step: int, span: int, size: int) -> tuple[int, int]:
    """Positions at either end of `start + step*a`, a < span, that lie outside `0 <= index < size`."""
    before = min(span, max(0, -(start // step)))
    last = (size - 1 - start) // step
    return before, max(0, span - 1 - last)


def _origin(layout: Layout, number: int) -> int:
    """The tensor index of the first stored word, along one dimension."""
    skipped = sum(axis.before * axis.steps[number] for axis in layout.axes)
    return layout.index[number].constant + skipped


def _times(factor: int, text: str) -> str:
    if factor == 1:
        return text
    return f"{factor}*({text})" if "+" in text else f"{factor}*{text}"


def _lane_text(embedding: Embedding, digit: Digit) -> str:
    inner = 1
    digits = embedding.digits_of(digit.lane)
    for other in digits:
        if other == digit:
            break
        inner *= other.radix
    text = f"{digit.lane}//{inner}" if inner > 1 else digit.lane
    return f"{text}%{digit.radix}" if digit != digits[-1] else text


@dataclass(frozen=True)
class _Gather:
    """Flat offsets into the zero-padded tensor as a sum of one small array for each group of axes and lanes."""

    layout: Layout
    before: tuple[int, ...]
    padded_shape: tuple[int, ...]
    start: int
    offsets: tuple[Array, ...]
    idle: tuple[Array, ...]

    @classmethod
    def of(cls, layout: Layout) -> "_Gather":
        parts, idle = _contributions(layout)
        before, padded_shape = _surround(layout, parts)
        strides = [prod(padded_shape[number + 1 :]) for number in range(len(padded_shape))]
        starts = [_origin(layout, number) + before[number] for number in range(len(strides))]
        start = sum(origin * stride for origin, stride in zip(starts, strides, strict=True))
        offsets = tuple(sum((p * s for p, s in zip(part, strides, strict=True)), np.asarray(0)) for part in parts)
        return cls(layout, tuple(before), tuple(padded_shape), start, offsets, tuple(idle))

    def padded(self, array: Array) -> Array:
        shape = array.shape
        if self.padded_shape == shape:
            return np.ascontiguousarray(array)
        widths = [(b, p - b - n) for b, p, n in zip(self.before, self.padded_shape, shape, strict=True)]
        return np.pad(array, widths)

    def inner(self, padded: Array) -> Array:
        shape = self.layout.tensor.shape
        return np.ascontiguousarray(padded[tuple(slice(b, b + n) for b, n in zip(self.before, shape, strict=True))])

    def chunks(self) -> Iterator[tuple[slice, Array, Array | None]]:
        """Word ranges with their offsets and idle masks, each of shape (words, *word)."""
        axes = tuple(axis.extent for axis in self.layout.axes)
        word = self.layout.word_shape
        lead = next((i for i in range(len(axes)) if prod(axes[i + 1 :]) * prod(word) <= _CHUNK_ELEMENTS), len(axes))
        inner = prod(axes[lead + 1 :])
        rows = max(1, _CHUNK_ELEMENTS // max(1, inner * prod(word)))
        position = 0
        for outer in np.ndindex(*axes[:lead]):
            for first in range(0, axes[lead] if lead < len(axes) else 1, rows):
                last = min(first + rows, axes[lead]) if lead < len(axes) else 1
                count = (last - first) * inner
                cut = (*(slice(i, i + 1) for i in outer), slice(first, last))
                yield slice(position, position + count), *self._piece(cut[: len(axes)], (count, *word))
                position += count

    def _piece(self, cut: tuple[slice, ...], shape: tuple[int, ...]) -> tuple[Array, Array | None]:
        total: Array = np.asarray(self.start)
        for part in self.offsets:
            total = total + _cut(part, cut)
        full = self._full(cut)
        idle: Array | None = None
        for mask in self.idle:
            idle = _cut(mask, cut) if idle is None else idle | _cut(mask, cut)
        offsets = np.broadcast_to(total, full).reshape(shape)
        return offsets, None if idle is None else np.broadcast_to(idle, full).reshape(shape)

    def _full(self, cut: tuple[slice, ...]) -> tuple[int, ...]:
        axes = [axis.extent for axis in self.layout.axes]
        for number, part in enumerate(cut):
            axes[number] = part.stop - part.start
        return (*axes, *self.layout.word_shape)


def _cut(part: Array, cut: tuple[slice, ...]) -> Array:
    """The piece of a broadcast array along its leading axes."""
    return part[tuple(piece if size > 1 else slice(None) for piece, size in zip(cut, part.shape, strict=False))]


def _contributions(layout: Layout) -> tuple[list[list[Array]], list[Array]]:
    """For each axis and digit, what it adds to the tensor index in each dimension; and the idle masks."""
    embedding = layout.embedding
    rank = len(layout.axes) + len(layout.word_lanes)
    parts, idle = [], []
    for place, axis in enumerate(layout.axes):
        if axis.digit is None:
            along = _along(np.arange(axis.extent), place, rank)
            parts.append([step * along for step in axis.steps])
    for digit in embedding.digits:
        place = next((i for i, axis in enumerate(layout.axes) if axis.digit == digit), None)
        run = _along(np.arange(embedding.steps(digit)), place, rank) if place is not None else np.zeros((1,) * rank, int)
        value = _lane_values(layout, digit, rank)
        coordinates, past = embedding.unflatten(digit, run * digit.radix + value)
        if place is None:
            coordinates, past = {}, np.zeros((1,) * rank, bool)
        parts.append([_weighted(index, coordinates, rank) for index in layout.index])
        if past.any():
            idle.append(past)
    for number, lane in enumerate(layout.word_lanes):
        _, beyond = embedding.lane_digits(lane, np.arange(embedding.lanes[lane]))
        if beyond.any():
            idle.append(_along(beyond, len(layout.axes) + number, rank))
    return [[np.broadcast_to(p, np.broadcast_shapes(*(q.shape for q in part))) for p in part] for part in parts if part], idle


def _lane_values(layout: Layout, digit: Digit, rank: int) -> Array:
    if digit.lane not in layout.word_lanes:
        return np.zeros((1,) * rank, int)
    lanes = np.arange(layout.embedding.lanes[digit.lane])
    values, _ = layout.embedding.lane_digits(digit.lane, lanes)
    return _along(values[digit], len(layout.axes) + layout.word_lanes.index(digit.lane), rank)


def _weighted(index: Affine, coordinates: dict[str, Array], rank: int) -> Array:
    total: Array = np.zeros((1,) * rank, int)
    for dim, coefficient in index.terms:
        if dim in coordinates:
            total = total + coefficient * coordinates[dim]
    return total


def _along(values: Array, place: int, rank: int) -> Array:
    return values.reshape([-1 if axis == place else 1 for axis in range(rank)])


def _surround(layout: Layout, parts: list[list[Array]]) -> tuple[list[int], list[int]]:
    """Zeros before each tensor dimension, and the padded extents, that keep every gathered index inside."""
    before, extents = [], []
    for number, size in enumerate(layout.tensor.shape):
        low = high = _origin(layout, number)
        for part in parts:
            low += int(part[number].min())
            high += int(part[number].max())
        before.append(max(0, -low))
        extents.append(before[-1] + max(size, high + 1))
    return before, extents
