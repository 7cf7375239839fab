"""Block-diagonal: a dim that every tensor uses (groups, channels of a depthwise convolution, a batch) in the lanes.

Some neighbouring g stand in the lanes twice, as the rows `g0` and the columns `g2` of a block. Of the three tensors one
moves along both; off the diagonal its index leaves the tensor, so that an input is zero there and an output is dropped.
Of the others the first moves along g0, the second along g2. Where the first is the output, g2 may be a loop: then one
word of the output still holds several g. Price: of a block's lanes only those on its diagonal count, and the words of
the tensor that moves along both hold the rest of the block too.
"""

from collections.abc import Iterator

from dataflow.affine import Affine
from dataflow.computation import Computation, Dim
from dataflow.expression import Read
from embed.binding import named_accesses
from embed.relax.rewritten import Refused, Relaxation, Rewritten, Step, new_names


def sites(main: Computation) -> Iterator[tuple[str, str]]:
    """Dims that every tensor of a product of two uses, with each of the three that may move along both parts."""
    for dim, extent in main.extents.items():
        for name in named_accesses(main):
            if extent > 1 and _refusal(main, dim, name) is None:
                yield dim, name


def rewrite(known: Rewritten, dims: tuple[str, ...], factor: int) -> Rewritten:
    """`factor` neighbours along `dims[0]` in a block; the access named `dims[1]` moves along both. Raises Refused."""
    main = known.operator.main
    dim, masked = dims
    reason = _refusal(main, dim, masked)
    if reason is not None:
        raise Refused(reason)
    outer, row, column = new_names(main, f"{dim}1", f"{dim}0", f"{dim}2")
    box = (Dim(outer, -(-main.extents[dim] // factor)), Dim(row, factor), Dim(column, factor))
    extents = {**main.extents, **{new.name: new.extent for new in box}}
    off_diagonal = Affine.of([(row, 1), (column, -1)])

    def access(name: str, read: Read) -> Read:
        if name == masked:
            return _masked(read, main.tensor(read.tensor).shape, extents, off_diagonal)
        if name == rows:
            return read
        return Read(read.tensor, tuple(index.replaced({row: Affine(((column, 1),))}) for index in read.index))

    rows = next(name for name in named_accesses(main) if name != masked)
    place = {dim: Affine.of([(outer, factor), (row, 1)])}
    step, pair = Step("blocks", dims, factor), (row, column)
    held = pair if masked == main.output.tensor else pair[:1]
    return known.changed(step, {dim: box}, place, reads=access, zeros=(off_diagonal,), held=held, apart=(pair,))


def _masked(read: Read, shape: tuple[int, ...], extents: dict[str, int], off_diagonal: Affine) -> Read:
    """The read whose index leaves the tensor, along the axis where that takes least, unless `off_diagonal` is zero."""
    leaps = []
    for index, size in zip(read.index, shape, strict=True):
        low, high = index.bounds(extents)
        leaps.append(max(size - low, high + 1))
    axis = min(range(len(shape)), key=lambda place: (leaps[place] / shape[place], shape[place]))
    leap = [(dim, leaps[axis] * sign) for dim, sign in off_diagonal.terms]
    changed = Affine.of([*read.index[axis].terms, *leap], read.index[axis].constant)
    return Read(read.tensor, (*read.index[:axis], changed, *read.index[axis + 1 :]))


def _refusal(main: Computation, dim: str, masked: str) -> str | None:
    """Why a dim makes no blocks, None if it does."""
    accesses = named_accesses(main)
    if len(accesses) != 3:
        return f"`{main}` is no product of two"
    if masked not in accesses:
        return f"there is no tensor '{masked}'; there are: {', '.join(accesses)}"
    lacking = [str(read) for read in accesses.values() if not any(index.coefficient(dim) for index in read.index)]
    return f"{' and '.join(lacking)} does not use {dim}" if lacking else None


BLOCKS = Relaxation("blocks", "a dim and the tensor with the diagonal", 2, 1, sites, rewrite)
