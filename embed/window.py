"""Axes of a packed array: runs of digits, outer dims, and windows whose overlapping positions share their words."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import gcd, prod

from dataflow.affine import Affine
from dataflow.expression import Read
from embed.embedding import Digit


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
        """The window over `own`, dims of an index into the first dimension of `shape`; None to keep them apart.

        These dims have extents above 1.

        Dims that all move along the output share nothing unless they overlap, and tiles of each are denser apart.
        Padding of up to `pads` words is left out in the last two dimensions, where lanes do not move along the
        dimension and every output's window holds some data; `results` are the operator's output dims.
        """
        moves = {dim: index.coefficient(dim) for dim in own}
        if any(move < 0 for move in moves.values()):
            return None
        step = gcd(*moves.values())
        span = _reach(moves, extents, step)
        sums = {dim: move for dim, move in moves.items() if dim not in results}
        apart = prod(extents[dim] for dim in own)
        if span > apart or (span == apart and not sums):
            return None
        before, after = padding(index.constant, step, span, shape[0])
        lanes = any(extents.get(dim, 1) > 1 and dim not in moves for dim in index.dims)
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


@lru_cache(maxsize=1 << 14)
def window_axes(
    read: Read,
    sizes: tuple[tuple[str, int], ...],
    held: frozenset[str],
    results: tuple[str, ...],
    shape: tuple[int, ...],
    pads: int,
) -> tuple[Axis, ...]:
    """One shared window for each tensor dimension where that stores less, else an axis a dim.

    `sizes` are the extents of the dims that move the access, as far as they are more than 1; digits hold those of
    `held`.
    """
    extents = dict(sizes)
    outer = [dim for dim in extents if dim not in held]
    uses = {dim: sum(1 for index in read.index if index.coefficient(dim)) for dim in outer}
    axes: list[Axis] = []
    for number, index in enumerate(read.index):
        own = [dim for dim in index.dims if uses.get(dim) == 1]
        if own:
            unit = tuple(int(place == number) for place in range(len(shape)))
            window = Window.of(index, own, extents, results, shape[number:], pads)
            axes += _dimension_axes(index, own, extents, unit, window)
    for dim, count in uses.items():
        if count > 1:
            steps = tuple(index.coefficient(dim) for index in read.index)
            axes.append(Axis(dim, extents[dim], ((dim, 1),), steps))
    return tuple(axes)


def _dimension_axes(
    index: Affine, own: list[str], extents: Mapping[str, int], unit: tuple[int, ...], window: Window | None
) -> list[Axis]:
    """The axes of one tensor dimension whose outer dims are `own`."""
    coefficients = {dim: index.coefficient(dim) for dim in own}
    if window is None:
        order = sorted(coefficients, key=lambda dim: -abs(coefficients[dim]))
        return [Axis(dim, extents[dim], ((dim, 1),), tuple(coefficients[dim] * u for u in unit)) for dim in order]
    loops = tuple((dim, c // window.step) for dim, c in coefficients.items())
    steps = tuple(window.step * u for u in unit)
    return [Axis("".join(own), window.stored, loops, steps, before=window.before, after=window.after)]
