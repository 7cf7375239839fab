"""The scalar dataflow graph at any size: accesses as integer matrices, which points share an element, integer kernels.

Everything is exact in Python integers. A point is a tuple of coordinates in the order of the computation's dims.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import gcd

from dataflow.computation import Computation
from dataflow.expression import Read

Vector = tuple[int, ...]
Matrix = tuple[Vector, ...]


@dataclass(frozen=True, slots=True)
class Access:
    """A read or write as a function of the point: element `matrix * point + offset`, one row for each tensor axis."""

    tensor: str
    matrix: Matrix
    offset: Vector

    def element(self, point: Sequence[int]) -> Vector:
        """Index of the element at `point`; of a read it may lie outside the tensor, where the value is zero."""
        return tuple(_dot(row, point) + start for row, start in zip(self.matrix, self.offset, strict=True))

    def shares(self, left: Sequence[int], right: Sequence[int]) -> bool:
        """Whether two points use the same element: their difference lies in the kernel of the matrix."""
        apart = [a - b for a, b in zip(left, right, strict=True)]
        return not any(_dot(row, apart) for row in self.matrix)


def access(computation: Computation, read: Read) -> Access:
    """The access of one read of the computation, over its dims in the order of the box."""
    names = [dim.name for dim in computation.dims]
    matrix = tuple(tuple(index.coefficient(name) for name in names) for index in read.index)
    return Access(read.tensor, matrix, tuple(index.constant for index in read.index))


def accesses(computation: Computation) -> dict[str, Access]:
    """Access by tensor, the output first; of a tensor read twice, the first."""
    return {name: access(computation, read) for name, read in computation.accesses.items()}


def dims_used(computation: Computation, tensor: str) -> tuple[str, ...]:
    """Dims that some access of `tensor` uses, in the order of the box."""
    found = [read for read in (computation.output, *computation.reads) if read.tensor == tensor]
    used = {name for read in found for index in read.index for name in index.dims}
    return tuple(dim.name for dim in computation.dims if dim.name in used)


def split_matrix(access: Access, extents: Sequence[int]) -> Matrix:
    """A matrix that tells apart the same points of the box as the access does, with digits in rows of their own.

    An index `4*g+c` with c < 4 holds the two digits g and c: it is the same at two points only if both are. Without
    the split its kernel would hold (g:+1, c:-4), which no two points of the box differ by.
    """
    return tuple(part for row in access.matrix for part in _digits(row, extents))


def _digits(row: Vector, extents: Sequence[int]) -> list[Vector]:
    """Cut a row where the smaller terms together cannot reach the common divisor of the larger ones."""
    order = sorted((place for place, value in enumerate(row) if value), key=lambda place: abs(row[place]))
    parts: list[set[int]] = [set()]
    reach = 0
    for number, place in enumerate(order):
        if parts[-1] and reach < gcd(*(row[larger] for larger in order[number:])):
            parts.append(set())
        parts[-1].add(place)
        reach += abs(row[place]) * (extents[place] - 1)
    return [tuple(value if place in part else 0 for place, value in enumerate(row)) for part in parts]


def sums_apart(computation: Computation) -> bool:
    """Accumulation over the whole box: two points of its output dims never write one element.

    An output that slides (`out[i+j]`) would have sums that are spread over several invocations' accumulators.
    """
    return _apart(computation, [dim.name in computation.output_dims for dim in computation.dims])


def writes_apart(computation: Computation) -> bool:
    """No two points of the box write one element, as an assignment that sums nothing demands."""
    return _apart(computation, [True for _ in computation.dims])


def _apart(computation: Computation, counted: Sequence[bool]) -> bool:
    """Points that differ in the dims counted, and only in these, write different elements."""
    extents = [dim.extent for dim in computation.dims]
    moving = [place for place, extent in enumerate(extents) if counted[place] and extent > 1]
    matrix = split_matrix(access(computation, computation.output), extents)
    return not integer_kernel([[row[place] for place in moving] for row in matrix], len(moving))


def integer_kernel(matrix: Sequence[Sequence[int]], width: int) -> Matrix:
    """A basis of all integer vectors `v` of length `width` with `matrix * v = 0`, its vectors pairwise reduced.

    Every integer vector of the kernel is an integer combination of the basis (H. Cohen, A Course in Computational
    Algebraic Number Theory, section 2.4.3: the unimodular matrix of the Hermite form yields the kernel).
    """
    rank = len(matrix)
    rows = [[*(row[i] for row in matrix), *(int(i == j) for j in range(width))] for i in range(width)]
    reduced = _echelon(rows, rank)
    return _shortened([row[rank:] for row in reduced if not any(row[:rank])])


def common_kernel(accesses: Sequence[Access], width: int) -> Matrix:
    """Basis of the displacements that leave the element of every one of `accesses` as it is."""
    return integer_kernel([row for each in accesses for row in each.matrix], width)


def short_kernel_vectors(accesses: Sequence[Access], reach: Sequence[int], terms: int = 2) -> tuple[Vector, ...]:
    """Every short direction in the common kernel: at most `terms` nonzero coordinates, each at most `reach` in size.

    A direction is primitive (its coordinates have no common divisor) and of the two signs the one whose first
    coordinate is positive stands for both. Sorted by the number of coordinates, then by their sum of sizes.
    """
    width = len(reach)
    basis = _echelon([list(vector) for vector in common_kernel(accesses, width)], width)
    found = {_primitive(vector) for vector in _within(basis, tuple(reach), terms) if any(vector)}
    return tuple(sorted(found, key=_length))


def _dot(row: Sequence[int], point: Sequence[int]) -> int:
    return sum(a * b for a, b in zip(row, point, strict=True))


def _echelon(rows: list[list[int]], columns: int) -> list[list[int]]:
    """Row echelon form over the first `columns` by unimodular row operations: Euclid's algorithm on each column."""
    rows = [list(row) for row in rows]
    top = 0
    for column in range(columns):
        while True:
            held = [row for row in range(top, len(rows)) if rows[row][column]]
            if not held:
                break
            pivot = min(held, key=lambda row: abs(rows[row][column]))
            rows[top], rows[pivot] = rows[pivot], rows[top]
            if len(held) == 1:
                top += 1
                break
            for row in range(top + 1, len(rows)):
                _subtract(rows[row], rows[top], rows[row][column] // rows[top][column])
    return rows


def _subtract(row: list[int], other: Sequence[int], factor: int) -> None:
    for place, value in enumerate(other):
        row[place] -= factor * value


def _shortened(basis: list[list[int]]) -> Matrix:
    """Take multiples of one vector from another for as long as that makes one shorter; signs made canonical."""
    changed = True
    while changed:
        changed = False
        for row in basis:
            for other in basis:
                along, size = _dot(row, other), _dot(other, other)
                factor = (2 * along + size) // (2 * size)
                if row is not other and 2 * factor * along > factor**2 * size:
                    _subtract(row, other, factor)
                    changed = True
    return tuple(sorted((_positive(row) for row in basis), key=_length))


def _within(basis: list[list[int]], reach: Vector, terms: int) -> Iterator[Vector]:
    """Lattice points in the box `reach` with at most `terms` nonzero coordinates; `basis` is in echelon form."""
    pivots = [next(place for place, value in enumerate(row) if value) for row in basis]
    ends = [*pivots[1:], len(reach)]

    def extend(level: int, vector: Vector) -> Iterator[Vector]:
        settled = vector[: ends[level - 1]] if level else vector[: pivots[0] if pivots else 0]
        if sum(map(bool, settled)) > terms or any(abs(a) > b for a, b in zip(settled, reach, strict=False)):
            return
        if level == len(basis):
            yield vector
            return
        row, pivot = basis[level], pivots[level]
        step, start = abs(row[pivot]), vector[pivot]
        for factor in range(-((reach[pivot] + start) // step), (reach[pivot] - start) // step + 1):
            signed = factor if row[pivot] > 0 else -factor
            yield from extend(level + 1, tuple(a + signed * b for a, b in zip(vector, row, strict=True)))

    yield from extend(0, (0,) * len(reach))


def _primitive(vector: Sequence[int]) -> Vector:
    divisor = gcd(*vector)
    return _positive([value // divisor for value in vector])


def _positive(vector: Sequence[int]) -> Vector:
    first = next((value for value in vector if value), 0)
    return tuple(-value for value in vector) if first < 0 else tuple(vector)


def _length(vector: Vector) -> tuple[int, int, Vector]:
    return sum(map(bool, vector)), sum(map(abs, vector)), tuple(-value for value in vector)
