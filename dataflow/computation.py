"""A computation: an iteration box, tensors read and written through affine indices, and a scalar body.

An operator that a user wants and an instruction that hardware offers are both of this kind.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod

from dataflow.dtypes import bits
from dataflow.expression import Expression, Read, map_reads, reads, render


@dataclass(frozen=True, slots=True)
class Dim:
    """One axis of the iteration box: `0 <= name < extent`."""

    name: str
    extent: int


@dataclass(frozen=True, slots=True)
class Tensor:
    """A named array; an empty shape is a scalar."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of elements."""
        total = 1
        for extent in self.shape:
            total *= extent
        return total

    @property
    def bytes(self) -> int:
        """Bytes of a dense array of it."""
        return -(-self.size * bits(self.dtype) // 8)

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype}[{', '.join(map(str, self.shape))}]"


@dataclass(frozen=True)
class Computation:
    """For every point of the box, `output = body`, or `output += body` when it accumulates.

    `tensors` holds the output first, then the inputs in order of first use. What follows from these is worked out once.
    """

    dims: tuple[Dim, ...]
    tensors: tuple[Tensor, ...]
    output: Read
    accumulate: bool
    body: Expression

    @cached_property
    def extents(self) -> dict[str, int]:
        return {dim.name: dim.extent for dim in self.dims}

    @cached_property
    def points(self) -> int:
        """Number of iteration points, which is the number of multiply-accumulates of a contraction."""
        total = 1
        for dim in self.dims:
            total *= dim.extent
        return total

    def tensor(self, name: str) -> Tensor:
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, Tensor]:
        return {tensor.name: tensor for tensor in self.tensors}

    @cached_property
    def inputs(self) -> tuple[Tensor, ...]:
        return tuple([self.tensor(name) for name in dict.fromkeys([read.tensor for read in self.reads])])

    @cached_property
    def reads(self) -> tuple[Read, ...]:
        return reads(self.body)

    @cached_property
    def accesses(self) -> dict[str, Read]:
        """The access of each tensor; of one read twice, the first."""
        found: dict[str, Read] = {}
        for read in (self.output, *self.reads):
            found.setdefault(read.tensor, read)
        return found

    @cached_property
    def output_dims(self) -> tuple[str, ...]:
        """Dims that the output's index uses, in the order of the box."""
        used = self.output.dims
        return tuple([dim.name for dim in self.dims if dim.name in used])

    @cached_property
    def reduction_dims(self) -> tuple[str, ...]:
        """Dims that the output's index does not use, in the order of the box."""
        kept = self.output_dims
        return tuple(dim.name for dim in self.dims if dim.name not in kept)

    @property
    def is_whole(self) -> bool:
        """Whether sums of their own, one for each point of the output's dims, are all of the output's elements."""
        return prod(self.extents[dim] for dim in self.output_dims) == self.tensors[0].size

    def restricted(self, ranges: Mapping[str, range]) -> "Computation":
        """The part of the box in `ranges`; input indices keep their place, output indices start with the part."""
        origin = {name: span.start for name, span in ranges.items()}
        dims = tuple(Dim(d.name, len(ranges[d.name]) if d.name in ranges else d.extent) for d in self.dims)
        body = map_reads(self.body, lambda read: Read(read.tensor, tuple(i.shifted(origin) for i in read.index)))
        extents = {dim.name: dim.extent for dim in dims}
        shape = tuple(index.bounds(extents)[1] + 1 for index in self.output.index)
        part = replace(self.tensors[0], shape=shape)
        return replace(self, dims=dims, body=body, tensors=(part, *self.tensors[1:]))

    def __str__(self) -> str:
        return f"{self.output} {'+=' if self.accumulate else '='} {render(self.body)}"
