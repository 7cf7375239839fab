"""Which operator dims may fill which dimension of an instruction: the rules of an embedding for unit vectors."""

from dataflow.computation import Computation
from dataflow.expression import Read
from embed.binding import Binding, named_accesses


def allowed_dims(operator: Computation, pattern: Computation, binding: Binding, lane: str) -> tuple[str, ...]:
    """Operator dims, in the order of the box, along which the lanes of `lane` may run.

    Sharing: an operand without the lane holds one value along it, so its tensor must not use the dim.
    Accumulation: an output with the lane must move along it, else two accumulators would hold one sum.
    Idle: some operand with the lane must move along it, to hold zeros where the dim ends within the lanes.
    """
    operands, accesses = pattern.accesses, named_accesses(operator)
    output = pattern.output.tensor
    lacking = [accesses[name] for operand, name in binding.pairs if not _uses(operands[operand], lane)]
    having = [accesses[name] for operand, name in binding.pairs if _uses(operands[operand], lane)]
    needed = [operator.output] if _uses(operands[output], lane) else []
    return tuple(
        dim
        for dim in operator.extents
        if not any(_uses(read, dim) for read in lacking)
        and all(_uses(read, dim) for read in needed)
        and any(_uses(read, dim) for read in having)
    )


def _uses(read: Read, dim: str) -> bool:
    return any(index.coefficient(dim) for index in read.index)
