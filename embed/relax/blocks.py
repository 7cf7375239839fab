"""Block-diagonal: a dim that every tensor uses (groups, channels of a depthwise convolution, a batch) in the lanes.

Some neighbouring g stand in the lanes twice, as the rows `g0` and the columns `g2` of a block: one input moves along
g2, the output along g0, and the other input along both, zero off the diagonal, for there its index leaves the tensor.
Price: of a block's lanes only those on its diagonal count, and the words of that input hold the zeros.
"""

from collections.abc import Iterator

from dataflow.affine import Affine
from dataflow.computation import Computation, Dim
from dataflow.expression import Read
from embed.binding import named_accesses
from embed.relax.rewritten import Refused, Relaxation, Rewritten, Step, new_names


def sites(main: Computation) -> Iterator[tuple[str, str]]:
    """Dims that every tensor of a product of two uses, each with both inputs: the one that has the zeros."""
    for dim, extent in main.extents.items():
        for name in tuple(named_accesses(main))[1:]:
            if extent > 1 and _refusal(main, dim, name) is None:
                yield dim, name


def rewrite(known: Rewritten, dims: tuple[str, ...], factor: int) -> Rewritten:
    """`factor` neighbours along `dims[0]` in a block; the access named `dims[1]` has the zeros. Raises Refused."""
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
        if read == output:
            return read
        return Read(read.tensor, tuple(index.replaced({row: Affine(((column, 1),))}) for index in read.index))

    place = {dim: Affine.of([(outer, factor), (row, 1)])}
    output = Read(main.output.tensor, tuple(index.replaced(place) for index in main.output.index))
    step = Step("blocks", dims, factor)
    return known.changed(step, {dim: box}, place, reads=access, zeros=(off_diagonal,), held=(row, column))


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
    if masked not in tuple(accesses)[1:]:
        return f"there is no input '{masked}'; there are: {', '.join(tuple(accesses)[1:])}"
    lacking = [str(read) for read in accesses.values() if not any(index.coefficient(dim) for index in read.index)]
    return f"{' and '.join(lacking)} does not use {dim}" if lacking else None


BLOCKS = Relaxation("blocks", "a dim and the input that has the zeros", 2, 1, sites, rewrite)
