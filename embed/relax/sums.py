"""Partial sums: a summed dim in two, `c = f*c1 + c0`, each c1 with an accumulator of its own, added up at the end.

The outer part `c1` is a dim of the output and may fill its lanes where it has few dims itself, as a product of a matrix
and a vector or a dot product has. Price: so many times the output's words, and the additions after unpacking, which
read all parts and write their sums; they come in another order than the loop's, which changes how floats round. So it
is tried only where it is asked for.
"""

from collections.abc import Iterator
from dataclasses import replace

from dataflow.affine import Affine
from dataflow.computation import Computation, Dim
from dataflow.dtypes import bits
from dataflow.expression import Read
from dataflow.operator import Operator
from embed.relax.rewritten import Refused, Relaxation, Rewritten, Step, new_names


def sites(main: Computation) -> Iterator[tuple[str]]:
    """Every dim of the sum."""
    yield from ((dim,) for dim in main.reduction_dims if main.extents[dim] > 1)


def rewrite(known: Rewritten, dims: tuple[str, ...], factor: int) -> Rewritten:
    """`factor` partial sums over a dim, along a first axis of the output. Raises Refused."""
    main = known.operator.main
    (dim,) = dims
    if dim not in main.reduction_dims:
        raise Refused(f"{dim} is none of the sum's dims")
    if known.operator.epilogue:
        raise Refused("what follows the sums would be done to the parts of them")
    outer, inner = new_names(main, f"{dim}1", f"{dim}0")
    each = -(-main.extents[dim] // factor)
    count = -(-main.extents[dim] // each)
    place = Affine.of([(outer, each), (inner, 1)])
    step = Step("sums", dims, factor)
    found = known.changed(step, {dim: (Dim(outer, count), Dim(inner, each))}, {dim: place}, held=(outer,))
    return replace(found, operator=_with_parts(found, outer, count), parts=(*found.parts, outer))


def added_bytes(relaxed: Rewritten | None) -> int:
    """Bytes that the final addition moves: it reads the partial sums and writes the sums; 0 where sums are whole."""
    if relaxed is None or not relaxed.parts:
        return 0
    parts, whole = relaxed.operator.output, relaxed.user.output
    return (parts.size + whole.size) * bits(whole.dtype) // 8


def _with_parts(found: Rewritten, outer: str, count: int) -> Operator:
    """The operator whose output has a first axis more."""
    main = found.operator.main
    output = Read(main.output.tensor, (Affine(((outer, 1),)), *main.output.index))
    first, *others = main.tensors
    wider = replace(first, shape=(count, *first.shape))
    return replace(found.operator, statements=(replace(main, output=output, tensors=(wider, *others)),))


SUMS = Relaxation("sums", "one dim of the sum", 1, 1, sites, rewrite)
