"""The Pareto front of embeddings: fewest cycles, packed bytes and lane strides, highest utilisation."""

from collections.abc import Iterator, Sequence

from dataflow.affine import Affine
from embed.costs import Costs
from embed.embedding import Embedding

Priced = tuple[Embedding, Costs]


def front(priced: Sequence[Priced]) -> Iterator[Priced]:
    """Those that no other is as good as in all four and better in one; of equals the first."""
    kept: list[tuple[float, ...]] = []
    seen = set()
    for _, point in sorted(((place, criteria(*one)) for place, one in enumerate(priced)), key=lambda each: each[1]):
        if not any(all(a <= b for a, b in zip(better, point, strict=True)) for better in kept):
            kept.append(point)
    for embedding, price in priced:
        point = criteria(embedding, price)
        if point in kept and point not in seen:
            seen.add(point)
            yield embedding, price


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
        read = embedding.accesses[name]
        lanes = {dim for index in embedding.pattern.accesses[operand].index for dim in index.dims}
        for digit in embedding.digits:
            step = _step(read.index, shapes[read.tensor], digit.dims[0])
            found += digit.lane in lanes and abs(step) > 1
    return found


def _step(index: Sequence[Affine], shape: Sequence[int], dim: str) -> int:
    """Elements between neighbours along a dim."""
    step, total = 1, 0
    for part, extent in zip(reversed(index), reversed(shape), strict=True):
        total += step * part.coefficient(dim)
        step *= extent
    return total
