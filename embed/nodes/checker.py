"""The solver-free checker of placements and plans: the rules on single nodes, at whole invocations."""

from collections.abc import Iterator
from itertools import product
from math import prod

from dataflow.affine import Affine
from dataflow.expression import Const, Read
from dataflow.sums import Sums
from embed.checker import CheckError, sample_origins
from embed.embedding import Digit
from embed.nodes.labels import matches
from embed.nodes.placement import ADDENDS, Image, Placement, dims_of
from embed.nodes.zeros import adds_nothing

_Point = dict[str, int]
_Element = tuple[str, tuple[int, ...]]


def verify(placement: Placement) -> None:
    """Raise CheckError unless labels, sharing, accumulation, once, order and idle all hold."""
    sums = Sums(placement.operator.statements)
    _labels(placement, sums)
    _once(placement, sums)
    for origin in sample_origins(placement.frame):
        _invocation(placement, origin)


def _labels(placement: Placement, sums: Sums) -> None:
    if tuple(image.match.addend for image in placement.images) != placement.pattern.addends:
        raise CheckError("labels: an addend of the instruction has no image, or two")
    for image in placement.images:
        if image.match not in matches(sums, placement.pattern, image.match.addend):
            raise CheckError(f"labels: {image.match.addend} cannot do {image.match.image}")
    if not sums.together(placement.statements):
        raise CheckError("order: of two statements that are done together one needs the other")


def _once(placement: Placement, sums: Sums) -> None:
    """Every addend that is covered is done at every copy, and every dim of its statement stands in one place."""
    for addend in placement.covered:
        copies = sorted(image.copy for image in placement.images if image.match.image == addend)
        if copies != list(range(placement.copies)):
            raise CheckError(f"once: copies {copies} of an addend")
        if _extents(sums, addend.statement) != _extents(sums, placement.statements[0]):
            raise CheckError("once: statements that are done together have other dims")
    frame = placement.frame
    for lane, extent in frame.lanes.items():
        if prod(digit.radix for digit in frame.digits_of(lane)) > extent:
            raise CheckError(f"capacity: the digits of {lane} take more than {extent} lanes")
    held = [dim for digit in placement.digits for dim in digit.dims]
    if sorted([*held, *frame.outer_dims]) != sorted(frame.extents):
        raise CheckError(f"once: a dim stands in two digits: {held}")


def _extents(sums: Sums, number: int) -> dict[str, int]:
    return {dim: extent for dim, extent in sums.statements[number].extents.items() if extent > 1}


def _invocation(placement: Placement, origin: _Point) -> None:
    """The rules between the nodes of one invocation."""
    done: set[object] = set()
    held: dict[_Element, object] = {}
    written: dict[object, _Element] = {}
    busy: set[_Element] = set()
    idle: list[tuple[Image, _Point, Digit | None]] = []
    for image, lanes, point in _nodes(placement, origin):
        if not isinstance(point, dict):
            idle.append((image, lanes, point))
            continue
        node = (image.match.image, tuple(point.items()))
        if node in done:
            raise CheckError("once: two nodes do the same addend at one point")
        done.add(node)
        for own, value in _uses(placement, image, lanes, point):
            busy.add(own)
            if held.setdefault(own, value) != value:
                raise CheckError(f"sharing: {own} would hold {held[own]} and {value}")
        output = _element(placement.pattern.output(image.match.addend), lanes)
        if written.setdefault(held[output], output) != output:
            raise CheckError(f"accumulation: {output} and {written[held[output]]} hold one sum")
    for image, lanes, digit in idle:
        _adds_nothing(placement, image, lanes, digit, busy)


def _nodes(placement: Placement, origin: _Point) -> Iterator[tuple[Image, _Point, _Point | Digit | None]]:
    """Every addend at every lane, and its point; or the digit that is past its end there, None beyond all digits."""
    frame = placement.frame
    box = [range(extent) for extent in placement.pattern.extents.values()]
    for image in placement.images:
        for place in product(*box):
            lanes = dict(zip(placement.pattern.extents, place, strict=True))
            yield image, lanes, _point(placement, origin, {**lanes, ADDENDS: image.copy}, frame.extents)


def _point(placement: Placement, origin: _Point, lanes: _Point, extents: dict[str, int]) -> _Point | Digit | None:
    """The operator's point at a lane, worked out digit by digit."""
    point = {dim: origin[dim] for dim in placement.frame.outer_dims}
    for lane, position in lanes.items():
        rest = position
        for digit in placement.frame.digits_of(lane):
            rest, value = divmod(rest, digit.radix)
            flat = origin[digit.loop] * digit.radix + value
            for dim in digit.dims:
                flat, point[dim] = divmod(flat, extents[dim])
            if flat:
                return digit
        if rest:
            return None
    return {dim: point[dim] for dim in extents}


def _uses(
    placement: Placement, image: Image, lanes: _Point, point: _Point
) -> Iterator[tuple[_Element, tuple[object, ...]]]:
    """Each operand element that a node uses, and what it holds, the output first."""
    for own, held in placement.uses(image):
        yield _element(own, lanes), ("literal", held.value) if isinstance(held, Const) else _element(held, point)


def _element(read: Read, point: _Point) -> _Element:
    def value(index: Affine) -> int:
        return index.evaluate({**dict.fromkeys(index.dims, 0), **point})

    return read.tensor, tuple(map(value, read.index))


def _adds_nothing(placement: Placement, image: Image, lanes: _Point, digit: Digit | None, busy: set[_Element]) -> None:
    """An idle node whose output is in use reads zeros that no busy node reads, and these make it 0.

    What is zero where a digit ends is a word of its own, so what it holds moves along the digit.
    """
    addend = image.match.addend
    if _element(placement.pattern.output(addend), lanes) not in busy:
        return
    zero = [
        own
        for own, held in image.match.pairs
        if _element(own, lanes) not in busy
        and (digit is None or (isinstance(held, Read) and dims_of(held).intersection(digit.dims)))
    ]
    if not adds_nothing(addend.body, zero):
        raise CheckError(f"idle: an addend of {placement.name} without a point adds to a sum in use")
