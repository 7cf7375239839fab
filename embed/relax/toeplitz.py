"""Toeplitz: outputs along a sliding window beside the window's pixels, the weights repeated along diagonals.

Of `inp[a*x+b*s]` some neighbouring x, `x0`, keep to themselves the lanes of outputs and weights, and `xs` counts the
pixels that all their windows span, in lanes or one after the other: the weight is `wgt[xs-a/b*x0]`, zero outside the
filter. Price: of the pixels times outputs only those on the diagonals count, and the weights take as many words as
there are outputs side by side.
"""

from collections.abc import Iterator
from math import gcd

from dataflow.affine import Affine
from dataflow.computation import Computation, Dim
from dataflow.expression import Read
from embed.relax.rewritten import Refused, Relaxation, Rewritten, Step, new_names


def sites(main: Computation) -> Iterator[tuple[str, str]]:
    """Pairs (x, s) of an output dim and a summed dim that slide along one axis of an input and that it applies to."""
    for x in main.output_dims:
        for s in main.reduction_dims:
            if _refusal(main, x, s) is None and main.extents[x] > 1 and main.extents[s] > 1:
                yield x, s


def rewrite(known: Rewritten, dims: tuple[str, ...], factor: int) -> Rewritten:
    """`factor` neighbouring outputs along the first dim share the pixels of their windows along the second.

    With a dilation that does not divide the stride, neighbours are outputs whose windows meet. Raises Refused.
    """
    main = known.operator.main
    x, s = dims
    reason = _refusal(main, x, s)
    if reason is not None:
        raise Refused(reason)
    slid = _slid(main, x, s)[0]
    stride, dilation = slid.coefficient(x), slid.coefficient(s)
    apart = abs(dilation) // gcd(stride, dilation)
    step = stride * apart // dilation
    outer, inner, rest, pixels = new_names(main, f"{x}1", f"{x}0", f"{x}2", x + s)
    steps = -(-main.extents[x] // (factor * apart))
    span = main.extents[s] + abs(step) * (factor - 1)
    start = min(0, step) * (factor - 1)
    place = Affine.of([(outer, factor * apart), (inner, apart), *([(rest, 1)] if apart > 1 else [])])
    box = (Dim(outer, steps), Dim(inner, factor), *([Dim(rest, apart)] if apart > 1 else []))
    tap = Affine.of([(pixels, 1), (inner, -step)], start)
    return known.changed(
        Step("toeplitz", dims, factor), {x: box, s: (Dim(pixels, span),)}, {x: place, s: tap}, held=(inner,)
    )


def _slid(main: Computation, x: str, s: str) -> list[Affine]:
    """Indices along which both dims move."""
    return [index for read in main.reads for index in read.index if index.coefficient(x) and index.coefficient(s)]


def _refusal(main: Computation, x: str, s: str) -> str | None:
    """Why two dims do not slide, None if they do."""
    if x not in main.output_dims or s not in main.reduction_dims:
        return f"{x} is no dim of the output, or {s} none of the sum"
    slid = _slid(main, x, s)
    if len(slid) != 1:
        return f"{x} and {s} slide along {len(slid)} axes of inputs, not along one"
    if sum(_uses(read, x) or _uses(read, s) for read in main.reads) < 2:
        return f"no other input is moved along by {s}"
    for read in main.reads:
        if slid[0] not in read.index and _uses(read, x):
            return f"{read} moves along {x} too"
    return None


def _uses(read: Read, dim: str) -> bool:
    return any(index.coefficient(dim) for index in read.index)


TOEPLITZ = Relaxation("toeplitz", "an output dim and a summed dim", 2, 2, sites, rewrite)
