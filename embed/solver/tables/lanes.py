"""Which lanes move together: the dims of a contraction grouped by the operand that lacks them, and what is refused."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations, product

from dataflow.computation import Computation
from dataflow.errors import UserError
from dataflow.expression import Read
from dataflow.symbolic import Access, Matrix, Vector, access, integer_kernel, split_matrix
from embed.binding import Binding, named_accesses


class NotSeparableError(UserError):
    """Displacement tables would lose embeddings of this pattern or operator; the message says why."""


@dataclass(frozen=True, slots=True)
class Problem:
    """An instruction pattern to be placed in an operator under one binding, with the pattern's lane groups.

    `groups` holds for each operand the dims that it alone lacks; `batch` the dims that every operand uses.
    """

    operator: Computation
    pattern: Computation
    binding: Binding
    batch: tuple[str, ...]
    groups: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, operator: Computation, pattern: Computation, binding: Binding) -> "Problem":
        """Raises NotSeparableError where tables cannot hold every embedding."""
        batch, groups = lane_groups(pattern)
        problem = cls(operator, pattern, binding, batch, groups)
        _check_operator(problem)
        return problem

    @property
    def lanes(self) -> tuple[Vector, ...]:
        """The instruction's box, row-major."""
        return tuple(product(*(range(dim.extent) for dim in self.pattern.dims)))

    def position(self, dims: tuple[str, ...], lane: Vector) -> Vector:
        """Coordinates of `lane` in some of the pattern's dims."""
        return tuple(value for dim, value in zip(self.pattern.dims, lane, strict=True) if dim.name in dims)

    def positions(self, dims: tuple[str, ...]) -> tuple[Vector, ...]:
        """The box of some of the pattern's dims, row-major; its first position is the origin."""
        return tuple(product(*(range(dim.extent) for dim in self.pattern.dims if dim.name in dims)))

    @property
    def sliding(self) -> tuple[str, ...]:
        """Input operands of which some lanes share an element although they differ in dims that it uses."""
        return tuple(read.tensor for read in self.pattern.reads if _slides(self.pattern, read))

    def access(self, operand: str) -> Access:
        """How the operator tensor bound to `operand` is accessed."""
        return access(self.operator, named_accesses(self.operator)[self.binding.tensors[operand]])

    def digits(self, operand: str) -> Matrix:
        """That access as a matrix which a displacement within the box must send to 0 to keep the element."""
        return split_matrix(self.access(operand), [dim.extent for dim in self.operator.dims])


def lane_groups(pattern: Computation) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
    """Dims that every operand uses, and by operand the dims that only it lacks. Raises NotSeparableError."""
    _check_reads(pattern)
    found: dict[str | None, list[str]] = {None: [], **{name: [] for name in pattern.accesses}}
    for dim in pattern.dims:
        lacking = [name for name, read in pattern.accesses.items() if all(dim.name not in i.dims for i in read.index)]
        if len(lacking) > 1 and dim.extent > 1:
            raise NotSeparableError(f"not a contraction: {' and '.join(lacking)} both lack '{dim.name}' in '{pattern}'")
        found[lacking[0] if len(lacking) == 1 else None].append(dim.name)
    groups = {name: tuple(dims) for name, dims in found.items() if name is not None}
    return tuple(found[None]), groups


def _check_reads(pattern: Computation) -> None:
    """Every tensor has one access; two lanes share an accumulator only if they agree in all dims that it uses."""
    names = [pattern.output.tensor, *(read.tensor for read in pattern.reads)]
    for name in names:
        if names.count(name) > 1:
            raise NotSeparableError(f"not a contraction: '{pattern}' accesses '{name}' more than once")
    if _slides(pattern, pattern.output):
        used = ",".join(pattern.output_dims)
        raise NotSeparableError(f"not a contraction: {pattern.output} is one element for several {used} in '{pattern}'")


def _slides(pattern: Computation, read: Read) -> bool:
    """Whether lanes that differ in dims that an access uses share its element."""
    used = [dim.name for dim in pattern.dims if dim.extent > 1 and any(dim.name in i.dims for i in read.index)]
    matrix = split_matrix(access(pattern, read), [dim.extent for dim in pattern.dims])
    return bool(integer_kernel(_columns(pattern, matrix, used), len(used)))


def _columns(computation: Computation, matrix: Matrix, names: list[str]) -> Matrix:
    """The columns of some dims."""
    kept = [place for place, dim in enumerate(computation.dims) if dim.name in names]
    return tuple(tuple(row[place] for place in kept) for row in matrix)


def _check_operator(problem: Problem) -> None:
    """Moves of two groups add up only if no displacement leaves both lacking operands where they are.

    The mixed difference of phi over a group lacking s and a group lacking t lies in the kernels of both A_s and A_t.
    """
    operator = problem.operator
    moving = [dim.name for dim in operator.dims if dim.extent > 1]
    lacking = [name for name, dims in problem.groups.items() if len(problem.positions(dims)) > 1]
    for one, other in combinations(lacking, 2):
        both = (*problem.digits(one), *problem.digits(other))
        for vector in integer_kernel(_columns(operator, both, moving), len(moving)):
            dims = ",".join(name for name, value in zip(moving, vector, strict=True) if value)
            tensors = f"{problem.binding.tensors[one]} nor {problem.binding.tensors[other]}"
            raise NotSeparableError(f"not separable: neither {tensors} sees a move along {dims} in '{operator}'")
