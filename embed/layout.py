"""Layouts: for each tensor the packed array of words that the instruction reads or writes, as a gather from the user's.

A word holds one operand of one invocation. Words are addressed along axes: the runs of a digit, an outer dim, or a
window (`2*y+r` of a convolution) whose overlapping positions share their words. Where the lanes leave a window
axis alone, its zero padding is not stored: the load unit supplies it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from math import prod
from types import MappingProxyType

from dataflow.affine import Affine
from dataflow.computation import Tensor
from dataflow.dtypes import numpy_dtype
from dataflow.expression import Read
from embed.embedding import Array, Digit, Embedding
from embed.packing import Gather, Lanes, Move, Run
from embed.window import Axis, window_axes


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
        """Gather the user's array (of the tensor's shape) into words of `dtype`; padding and idle lanes are zero."""
        return self.gather.pack(array, numpy_dtype(dtype or self.tensor.dtype))

    def unpack(self, packed: Array) -> Array:
        """Scatter packed words back into an array of the tensor's shape; elements that no lane holds are zero."""
        return self.gather.unpack(packed.reshape(self.shape))

    @cached_property
    def gather(self) -> Gather:
        radices: dict[Digit, int] = {}
        lanes = []
        for lane in self.word_lanes:
            digits = self.embedding.digits_of(lane)[::-1]
            for digit in digits:
                radices[digit] = len(radices)
            lanes.append(Lanes(self.embedding.lanes[lane], tuple(digit.radix for digit in digits)))
        runs = tuple(self._run(axis, radices) for axis in self.axes)
        return Gather(self.tensor.shape, tuple(_origin(self, i) for i in range(len(self.index))), runs, tuple(lanes))

    def _run(self, axis: Axis, places: Mapping[Digit, int]) -> Run:
        """An axis as moves through the tensor; `places` numbers the digits of a word."""
        if axis.digit is None:
            return Run((Move(axis.extent, axis.steps),), axis.extent)
        if axis.digit not in places:
            raise ValueError(f"{self.tensor.name} moves along {axis.digit}, whose lanes are not in its words")
        moves = [
            Move(self.embedding.extents[dim], tuple(index.coefficient(dim) for index in self.index))
            for dim in reversed(axis.digit.dims)
        ]
        return Run(tuple(moves), axis.extent, axis.digit.radix, places[axis.digit])

    def __str__(self) -> str:
        """The gather as index expressions, such as `inp'[c_o,h,w|i] = inp[0, 16*c_o+i, h, w]`."""
        where = ",".join(axis.name for axis in self.axes)
        lanes = ",".join(self._lane_names.values())
        name, sources = self.tensor.name, ", ".join(self._sources())
        return f"{name}'[{where}|{lanes}] = {name}[{sources}]"

    @cached_property
    def _lane_names(self) -> dict[str, str]:
        """The lanes of a word under names that no axis has."""
        taken = {axis.name for axis in self.axes}
        return {lane: f"{lane}_lane" if lane in taken else lane for lane in self.word_lanes}

    def _sources(self) -> Iterator[str]:
        values = self._dim_texts()
        for number, index in enumerate(self.index):
            terms = [
                _times(axis.steps[number], axis.name) for axis in self.axes if axis.digit is None and axis.steps[number]
            ]
            terms += [_times(c, values[dim]) for dim, c in index.terms if dim in values]
            start = _origin(self, number)
            text = "+".join(terms)
            yield (text + (f"{start:+d}" if start else "") if text else str(start)).replace("+-", "-")

    def _dim_texts(self) -> dict[str, str]:
        """Each digit's dims as expressions of its loop and lane."""
        texts = {}
        for digit in self.embedding.digits:
            lane = _lane_text(self.embedding, digit, self._lane_names) if digit.lane in self.word_lanes else "0"
            flat = f"{digit.radix}*{digit.loop}+{lane}" if self.embedding.steps(digit) > 1 else lane
            inner = 1
            for place, dim in enumerate(digit.dims):
                text = f"({flat})//{inner}" if inner > 1 else flat
                extent = self.embedding.extents[dim]
                texts[dim] = f"({text})%{extent}" if place < len(digit.dims) - 1 else text
                inner *= extent
        return texts


def derive(embedding: Embedding, extras: Mapping[str, Read] = MappingProxyType({})) -> dict[str, Layout]:
    """The layout of every access of the operator's main statement by name, then of the epilogue's `extras`."""
    accesses = embedding.accesses
    own = {name: derive_one(embedding, accesses[name], operand) for operand, name in embedding.binding.pairs}
    return own | {name: derive_extra(embedding, read) for name, read in extras.items()}


def derive_extra(embedding: Embedding, read: Read) -> Layout:
    """The layout of an input that the epilogue reads as `read` in the operator's dims, in words like the output's."""
    tensor = next(tensor for tensor in embedding.operator.inputs if tensor.name == read.tensor)
    return derive_one(embedding, read, embedding.pattern.output.tensor, tensor)


def counts(embedding: Embedding, extras: Mapping[str, Read] = MappingProxyType({})) -> dict[str, int]:
    """The words that `derive` stores of each access, by arithmetic alone."""
    accesses, result = embedding.accesses, embedding.pattern.output.tensor
    own = {name: words(embedding, accesses[name], operand) for operand, name in embedding.binding.pairs}
    tensors = {tensor.name: tensor for tensor in embedding.operator.inputs}
    return own | {name: words(embedding, read, result, tensors[read.tensor]) for name, read in extras.items()}


def derive_one(embedding: Embedding, read: Read, operand: str, tensor: Tensor | None = None) -> Layout:
    """The layout of one tensor read as `read` in the operator's dims, in words shaped like `operand`."""
    declared = tensor or embedding.operator.main.tensor(read.tensor)
    used = _used(read)
    axes: list[Axis] = []
    rank = len(read.index)
    for loop in embedding.loops:
        digit = next((digit for digit in embedding.digits if digit.loop == loop.name), None)
        if digit is not None and not used.isdisjoint(digit.dims):
            axes.append(Axis(loop.name, loop.extent, ((loop.name, 1),), (0,) * rank, digit))
    axes += _windows(embedding, read, declared, operand)
    layout = Layout(embedding, declared, read.index, word_lanes(embedding, operand), tuple(axes))
    return replace(layout, axes=_ordered(layout))


def words(embedding: Embedding, read: Read, operand: str, tensor: Tensor | None = None) -> int:
    """How many words the layout of one tensor stores."""
    used = _used(read)
    runs = [embedding.steps(digit) for digit in embedding.digits if not used.isdisjoint(digit.dims)]
    declared = tensor or embedding.operator.main.tensor(read.tensor)
    return prod(runs) * prod(axis.extent for axis in _windows(embedding, read, declared, operand))


@cache
def _used(read: Read) -> frozenset[str]:
    """The dims that move an access."""
    return frozenset(dim for index in read.index for dim in index.dims)


def word_lanes(embedding: Embedding, operand: str) -> tuple[str, ...]:
    """The lanes of an operand's word, outermost first."""
    return tuple([dim for index in embedding.pattern.accesses[operand].index for dim, _ in index.terms])


def _ordered(layout: Layout) -> tuple[Axis, ...]:
    """Axes in the order in which the tensor's own dimensions come, so that packing keeps what is contiguous."""

    def place(axis: Axis) -> tuple[int, int]:
        if axis.digit is None:
            return (next((i for i, step in enumerate(axis.steps) if step), 0), 1)
        found = [i for i, index in enumerate(layout.index) for dim in axis.digit.dims if index.coefficient(dim)]
        return (min(found, default=0), 0)

    return tuple(sorted(layout.axes, key=place))


def _windows(embedding: Embedding, read: Read, tensor: Tensor, operand: str) -> tuple[Axis, ...]:
    """The axes of the outer dims: what they depend on has few values, however many embeddings there are."""
    used, held = _used(read), {dim for digit in embedding.digits for dim in digit.dims}
    own = tuple([(dim, extent) for dim, extent in embedding.extents.items() if extent > 1 and dim in used])
    pads = embedding.instruction.pads.get(operand, 0)
    return window_axes(read, own, frozenset(used & held), embedding.operator.main.output_dims, tensor.shape, pads)


def _origin(layout: Layout, number: int) -> int:
    """The tensor index of the first stored word, along one dimension."""
    skipped = sum(axis.before * axis.steps[number] for axis in layout.axes)
    return layout.index[number].constant + skipped


def _times(factor: int, text: str) -> str:
    if abs(factor) == 1:
        sign = "-" if factor < 0 else ""
        return f"{sign}{text}" if not sign or text.isidentifier() else f"-({text})"
    return f"{factor}*{text}" if text.isidentifier() else f"{factor}*({text})"


def _lane_text(embedding: Embedding, digit: Digit, names: Mapping[str, str]) -> str:
    inner = 1
    digits = embedding.digits_of(digit.lane)
    for other in digits:
        if other == digit:
            break
        inner *= other.radix
    name = names[digit.lane]
    text = f"{name}//{inner}" if inner > 1 else name
    return f"{text}%{digit.radix}" if digit != digits[-1] else text
