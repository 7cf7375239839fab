"""From the user's arrays to those that a kernel reads, and from what it writes back to the user's."""

from dataclasses import dataclass, field
from functools import cached_property
from math import prod

import numpy as np

from dataflow.dtypes import numpy_dtype
from embed.layout import Layout
from embed.physical import Array, Physical, aligned_zeros

_SHORT = 8
"""Elements in a row that take numpy longer to copy than as many that lie apart."""


@dataclass(frozen=True)
class Feed:
    """A tensor as it is, inside a border of zeros (`before` each dimension, `shape` in all), or packed by `layout`.

    Of a blocked array the kernel reads a copy without blocks, `physical.plain`.
    Packed words lie whole tiles of the loops `blocks` outermost, then what is summed, then the words of one tile;
    `order` names the loops of the first two.
    """

    physical: Physical
    before: tuple[int, ...] = ()
    shape: tuple[int, ...] = ()
    layout: Layout | None = None
    blocks: tuple[tuple[str, int], ...] = ()
    order: tuple[str, ...] = ()
    spare: list[Array] = field(default_factory=list, compare=False, repr=False)

    @property
    def in_place(self) -> bool:
        return self.is_exact and not self.physical.blocks

    @property
    def is_exact(self) -> bool:
        """Whether the kernel's array holds the tensor's elements and nothing else: no border, no words filled up."""
        return self.layout is None and not self.shape

    @property
    def size(self) -> int:
        """Elements of the array that the kernel reads."""
        if self.layout is None:
            return prod(self.shape or self.physical.tensor.shape)
        return prod(self._moved(self.layout))

    def __call__(self, array: Array) -> Array:
        """The array to hand to the kernel."""
        if self.in_place:
            return array
        room = self.room()
        self.fill(room, array)
        return room

    def room(self) -> Array:
        """An array for a kernel to write, or to fill; one that was released, or zeros."""
        try:
            return self.spare.pop()
        except IndexError:
            pass
        if self.layout is None:
            return self.physical.plain.empty(self.shape)
        return aligned_zeros(prod(self._moved(self.layout)), numpy_dtype(self.physical.tensor.dtype))

    def fill(self, room: Array, array: Array) -> None:
        """Copy the user's array into a room, whose border stays as it is."""
        tensor = self.physical.unpack(array)
        if self.layout is not None:
            self._pack(self.layout, tensor, room)
        elif self.apart:
            last = self.physical.plain.order[-1]
            inside, source = np.moveaxis(room[self._inside], last, 0), np.moveaxis(tensor, last, 0)
            for place, values in enumerate(source):
                inside[place] = values
        else:
            room[self._inside] = tensor

    @cached_property
    def run(self) -> int:
        """Elements that are neighbours both in the tensor and inside its border."""
        shape, found = self.shape or self.physical.tensor.shape, 1
        for number in reversed(self.physical.plain.order):
            found *= self.physical.tensor.shape[number]
            if shape[number] != self.physical.tensor.shape[number]:
                break
        return found

    @property
    def apart(self) -> bool:
        """Whether runs are so short that their elements are better copied one from each run at a time."""
        shape, order = self.physical.tensor.shape, self.physical.plain.order
        return bool(order) and self.run == shape[order[-1]] < _SHORT

    def restore(self, array: Array) -> Array:
        """The user's array, from what a kernel wrote into `room`."""
        return self.physical.lying(self._tensor(array))

    def _tensor(self, array: Array) -> Array:
        """The tensor in its own shape."""
        if self.layout is None:
            return array[self._inside]
        split, axes = self._split(self.layout)
        moved = array.reshape(self._moved(self.layout)).transpose(np.argsort(axes))
        words = tuple(tiles * tile for tiles, tile in zip(split[::2], split[1::2], strict=False))
        count = len(self.layout.axes)
        padded = moved.reshape(*words[:count], *self.layout.word_shape)
        return self.layout.unpack(np.ascontiguousarray(padded[tuple(slice(axis.extent) for axis in self.layout.axes)]))

    def release(self, room: Array) -> None:
        """Take back a room that a kernel has read or written, for the next call."""
        self.spare.append(room)

    @cached_property
    def _inside(self) -> tuple[slice, ...]:
        shape = self.physical.tensor.shape
        return tuple(slice(b, b + n) for b, n in zip(self.before or (0,) * len(shape), shape, strict=True))

    def _pack(self, layout: Layout, array: Array, room: Array) -> None:
        split, axes = self._split(layout)
        packed = layout.pack(array)
        rounding = [
            (0, tiles * tile - n) for tiles, tile, n in zip(split[::2], split[1::2], packed.shape, strict=False)
        ]
        around = [*rounding[: len(layout.axes)], *((0, 0) for _ in layout.word_shape)]
        padded = np.pad(packed, around) if around else packed
        room.reshape(self._moved(layout))[...] = padded.reshape((*split, *layout.word_shape)).transpose(axes)

    def _split(self, layout: Layout) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Tiles and words per tile of every axis in turn, and in which order these and the word's lanes lie."""
        tiles = dict(self.blocks)
        names = [axis.name for axis in layout.axes]
        sizes = [tiles.get(name, 1) for name in names]
        split = [n for axis, size in zip(layout.axes, sizes, strict=True) for n in (-(-axis.extent // size), size)]
        outer = [2 * names.index(name) for name in self.order]
        inner = [2 * place + 1 for place in range(len(names))]
        return tuple(split), (*outer, *inner, *range(2 * len(names), 2 * len(names) + len(layout.word_shape)))

    def _moved(self, layout: Layout) -> tuple[int, ...]:
        """The shape of the packed array as it lies."""
        split, axes = self._split(layout)
        shape = (*split, *layout.word_shape)
        return tuple(shape[axis] for axis in axes)
