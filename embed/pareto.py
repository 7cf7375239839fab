"""The Pareto front of embeddings: fewest cycles, packed bytes and lane strides, highest utilisation."""

from collections.abc import Iterator, Mapping, Sequence

from dataflow.affine import Affine
from dataflow.expression import Read
from embed.costs import Costs
from embed.embedding import Digit, Embedding

Priced = tuple[Embedding, Costs]


def front(priced: Sequence[Priced]) -> Iterator[Priced]:
    """Those that no other is as good as in all four and better in one; of equals the first."""
    return (priced[place] for place in unbeaten([criteria(*one) for one in priced]))


def unbeaten(points: Sequence[tuple[float, ...]]) -> Iterator[int]:
    """The places of points that no other is as small as everywhere and smaller somewhere; of equals the first."""
    kept: list[tuple[float, ...]] = []
    for point in sorted(points):
        if not any(all(a <= b for a, b in zip(better, point, strict=True)) for better in kept):
            kept.append(point)
    yield from sorted(points.index(point) for point in kept)


def criteria(embedding: Embedding, price: Costs) -> tuple[float, ...]:
    """What is to be small: cycles and bytes, packing counted, unused share of the lanes, lane strides."""
    return price.total, price.moved, 1 - price.utilisation, lane_strides(embedding)


def lane_strides(embedding: Embedding) -> int:
    """Digits whose neighbouring lanes read a tensor, or write it, at elements that do not lie next to each other.

    Tensors lie row-major. Such lanes need a gather where lanes at stride 1 are one load.
    """
    shapes = {tensor.name: tensor.shape for tensor in embedding.operator.main.tensors}
    found = 0
    for operand, name in embedding.binding.pairs:
        lanes = {dim for index in embedding.pattern.accesses[operand].index for dim in index.dims}
        found += sum(
            digit.lane in lanes and apart(embedding.accesses[name], digit, shapes) for digit in embedding.digits
        )
    return found


def apart(read: Read, digit: Digit, shapes: Mapping[str, Sequence[int]]) -> bool:
    """Whether neighbours along a digit are no neighbours in the row-major tensor that is read there."""
    return abs(_step(read.index, shapes[read.tensor], digit.dims[0])) > 1


def _step(index: Sequence[Affine], shape: Sequence[int], dim: str) -> int:
    """Elements between neighbours along a dim."""
    step, total = 1, 0
    for part, extent in zip(reversed(index), reversed(shape), strict=True):
        total += step * part.coefficient(dim)
        step *= extent
    return total
