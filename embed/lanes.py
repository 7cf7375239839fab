"""Which operator dims may fill which dimension of an instruction: the sharing and accumulation rules for unit vectors."""

from dataflow.computation import Computation
from embed.binding import Binding


def allowed_dims(operator: Computation, pattern: Computation, binding: Binding, lane: str) -> tuple[str, ...]:
    """Operator dims, in the order of the box, along which the lanes of `lane` may run.

    Sharing: an operand without the lane holds one value along it, so its tensor must not use the dim.
    Accumulation: an output with the lane must move along it, else two accumulators would hold one sum.
    """
    lacking = [tensor for operand, tensor in binding.pairs if not _uses(pattern, operand, lane)]
    output = pattern.output.tensor
    needed = [tensor for operand, tensor in binding.pairs if operand == output and _uses(pattern, operand, lane)]
    return tuple(
        dim
        for dim in operator.extents
        if not any(_uses(operator, tensor, dim) for tensor in lacking)
        and all(_uses(operator, tensor, dim) for tensor in needed)
    )


def _uses(computation: Computation, tensor: str, dim: str) -> bool:
    return any(index.coefficient(dim) for index in computation.accesses[tensor].index)
