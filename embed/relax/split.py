"""Split: a dim as two, `c = f*c1 + c0`, so that lanes may be f apart, or stand in two lane dimensions.

With the outer part `c1` in the lanes and c0 a loop, neighbouring lanes are f apart, and windows along the dim stay
windows; with both parts in lanes, one dim fills two lane dimensions. Price: what f does not divide is padded.
"""

from collections.abc import Iterator

from dataflow.affine import Affine
from dataflow.computation import Computation, Dim
from embed.relax.rewritten import Relaxation, Rewritten, Step, new_names


def sites(main: Computation) -> Iterator[tuple[str]]:
    """Every dim of several points."""
    yield from ((dim,) for dim, extent in main.extents.items() if extent > 1)


def rewrite(known: Rewritten, dims: tuple[str, ...], factor: int) -> Rewritten:
    """The dim as an outer one and an inner one of `factor` points. Raises Refused."""
    main = known.operator.main
    (dim,) = dims
    outer, inner = new_names(main, f"{dim}1", f"{dim}0")
    box = (Dim(outer, -(-main.extents[dim] // factor)), Dim(inner, factor))
    place = Affine.of([(outer, factor), (inner, 1)])
    step = Step("split", dims, factor)
    return known.changed(step, {dim: box}, {dim: place}, held=(outer,), apart=((outer, inner),))


SPLIT = Relaxation("split", "one dim", 1, 1, sites, rewrite)
