"""Blocked tensors as tensors of more dimensions: the operator over the arrays themselves, its indices still affine.

`inp[n,c,y,x]` in NCHW16c is `inp[n,c_o,y,x,c_i]` once `c` is cut into `16*c_o+c_i`. Where 16 does not divide C, the box
grows to whole blocks: an output gets its zeros there, and an input is multiplied by what lies past the end of the
other, which is zero.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from math import inf
from operator import mul

from dataflow.affine import Affine
from dataflow.computation import Computation, Dim, Tensor
from dataflow.expression import Read, map_reads
from dataflow.operator import Operator
from embed.physical import Physical

Blocked = Mapping[str, Physical]


class _Apart(Exception):
    """Blocks that no cut of the dims gives."""


@dataclass(frozen=True, slots=True)
class _Part:
    """A dim that counts in steps of `step`."""

    name: str
    step: int
    extent: int


@dataclass(frozen=True, slots=True)
class _Cut:
    """A dim of `extent` cut at `points`, each a multiple of the one before: 4 and 16 make `16*o + 4*m + i`."""

    points: tuple[int, ...]
    extent: int

    def merged(self, other: "_Cut") -> "_Cut":
        points = tuple(sorted({*self.points, *other.points}))
        if any(outer % inner for inner, outer in pairwise(points)):
            raise _Apart
        extent = max(self.extent, other.extent)
        return _Cut(points, extent + -extent % (points[-1] if points else 1))

    def parts(self, dim: str, taken: Collection[str]) -> tuple[_Part, ...]:
        """The dims that take its place, the outermost first."""
        edges = (1, *self.points)
        ends = [*(f"_m{number}" for number in range(len(self.points) - 1, 0, -1)), "_i"]
        names = [f"{dim}{end}" for end in ["_o", *ends]] if self.points else [dim]
        while self.points and set(names) & set(taken):
            names = [f"{name}_" for name in names]
        extents = [outer // inner for inner, outer in pairwise((*edges, self.extent))]
        return tuple(map(_Part, names, reversed(edges), reversed(extents)))


def in_blocks(operator: Operator, physical: Blocked, widths: Collection[int]) -> tuple[Operator, dict[str, Physical]]:
    """The operator over the arrays of blocked tensors, and how these arrays lie: row-major.

    Tensors whose blocks no cut of dims gives (groups that straddle blocks, blocks of an output narrower than any of
    the `widths` that results come in) stay as they are: they will be copied. Those that `physical` lacks stay, too.
    """
    found, accepted = operator, dict[str, Physical]()
    tensors = (operator.output, *operator.inputs) if not operator.epilogue else ()
    for name in (tensor.name for tensor in tensors if tensor.name in physical and physical[tensor.name].blocks):
        blocked = {**accepted, name: physical[name]}
        try:
            found = replace(operator, statements=(_rewritten(operator.main, blocked, widths),))
        except _Apart:
            continue
        accepted = blocked
    return found, {name: Physical.of(found.main.tensor(name)) for name in accepted}


def _rewritten(main: Computation, blocked: Blocked, widths: Collection[int]) -> Computation:
    cuts = _cuts(main, blocked)
    lanes = [dim for index in main.output.index for dim, factor in index.terms if factor == 1]
    if any(cuts[dim].points and all(cuts[dim].points[0] % width for width in widths) for dim in lanes):
        raise _Apart
    parts = {dim: cut.parts(dim, main.extents) for dim, cut in cuts.items()}
    dims = tuple(Dim(part.name, part.extent) for own in parts.values() for part in own)
    tensors = tuple(replace(t, shape=blocked[t.name].shape) if t.name in blocked else t for t in main.tensors)
    extents = {dim.name: dim.extent for dim in dims}

    def changed(read: Read) -> Read:
        index = tuple(_over_parts(each, parts) for each in read.index)
        return Read(read.tensor, _blocks(index, blocked[read.tensor], extents) if read.tensor in blocked else index)

    output = changed(main.output)
    _check_inside(output, tensors[0], extents)
    return replace(main, dims=dims, tensors=tensors, output=output, body=map_reads(main.body, changed))


def _over_parts(index: Affine, parts: Mapping[str, tuple[_Part, ...]]) -> Affine:
    terms = [(part.name, factor * part.step) for dim, factor in index.terms for part in parts[dim]]
    return Affine.of(terms, index.constant)


def _cuts(main: Computation, blocked: Blocked) -> dict[str, _Cut]:
    """How each dim is cut, so that every index of a blocked tensor falls apart into its blocks."""
    found = {dim: _Cut((), extent) for dim, extent in main.extents.items()}
    for name, physical in blocked.items():
        if sum(read.tensor == name for read in (main.output, *main.reads)) != 1:
            raise _Apart
        for dimension in dict(physical.blocks):
            index, bounds = main.accesses[name].index[dimension], _bounds(physical, dimension)
            for dim, cut in _index_cuts(index, bounds, main.extents, name == main.output.tensor).items():
                found[dim] = found[dim].merged(cut)
    return found


def _bounds(physical: Physical, dimension: int) -> tuple[int, ...]:
    """Elements in the innermost block of a dimension, in the next one, and so on."""
    return tuple(accumulate((size for other, size in reversed(physical.blocks) if other == dimension), mul))


def _index_cuts(index: Affine, bounds: tuple[int, ...], extents: Mapping[str, int], whole: bool) -> dict[str, _Cut]:
    """The cuts that one index asks for; `whole` blocks are covered, even if they hold less."""
    terms = sorted((factor, dim) for dim, factor in index.terms if extents[dim] > 1) or [
        (factor, dim) for dim, factor in index.terms[:1]
    ]
    if index.constant or not terms or terms[0][0] < 1:
        raise _Apart
    ends = [factor * extents[dim] for factor, dim in terms]
    if whole:
        ends[-1] += -ends[-1] % bounds[-1]
    found = {}
    for (factor, dim), end in zip(terms, ends, strict=True):
        inner = [bound for bound in bounds if factor < bound < end]
        if end % factor or any(bound % factor for bound in inner):
            raise _Apart
        found[dim] = _Cut((), extents[dim]).merged(_Cut(tuple(bound // factor for bound in inner), end // factor))
    return found


def _blocks(index: tuple[Affine, ...], physical: Physical, extents: Mapping[str, int]) -> tuple[Affine, ...]:
    """The index into the array: what lies outside all blocks of each dimension, then what lies in each block."""
    bounds = {dimension: [1, *_bounds(physical, dimension)] for dimension, _ in physical.blocks}
    found = []
    for dimension in physical.order:
        own = bounds.get(dimension)
        found.append(_between(index[dimension], own[-1], inf, extents) if own else index[dimension])
    for dimension, size in physical.blocks:
        high = bounds[dimension].pop()
        part = _between(index[dimension], bounds[dimension][-1], high, extents)
        if part.bounds(extents)[1] >= size:
            raise _Apart
        found.append(part)
    return tuple(found)


def _between(index: Affine, low: int, high: float, extents: Mapping[str, int]) -> Affine:
    """The terms of an index that move by `low` or more and less than `high`, counted in steps of `low`."""
    terms = [(dim, factor) for dim, factor in index.terms if low <= factor < high]
    if any(factor % low and extents[dim] > 1 for dim, factor in terms):
        raise _Apart
    return Affine.of((dim, factor // low) for dim, factor in terms)


def _check_inside(output: Read, tensor: Tensor, extents: Mapping[str, int]) -> None:
    """Raise unless every element that is written exists."""
    for index, size in zip(output.index, tensor.shape, strict=True):
        if not 0 <= index.bounds(extents)[0] <= index.bounds(extents)[1] < size:
            raise _Apart
