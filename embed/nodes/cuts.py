"""Bodies cut into steps: `out = max(x + y, 0) >> 3` as three statements, where no instruction does it at once."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice, product

from dataflow.affine import Affine
from dataflow.computation import Computation, Dim, Tensor
from dataflow.expression import Apply, Cast, Expression, Read, children, dtype_of, reads, walk
from dataflow.operator import Operator
from dataflow.sums import Sums
from embed.nodes.labels import matches

_MOST = 2000
"""Ways to cut one body that are tried."""


def cut(operator: Operator, patterns: tuple[Sums, ...]) -> Operator:
    """The operator with the largest parts of its bodies that some pattern can do, the rest in statements before them.

    A part that occurs twice is made once. Statements stay whole where no cut helps.
    """
    cutter = _Cutter(operator, patterns)
    for statement in operator.statements:
        cutter.add(statement)
    return replace(operator, statements=tuple(cutter.statements))


class _Cutter:
    """Collects statements; `made` are the temporaries by what they hold."""

    def __init__(self, operator: Operator, patterns: tuple[Sums, ...]) -> None:
        self.patterns = patterns
        self.taken = {tensor.name for statement in operator.statements for tensor in statement.tensors}
        self.statements: list[Computation] = []
        self.made: dict[tuple[Expression, tuple[Dim, ...]], tuple[Read, Tensor]] = {}

    def add(self, statement: Computation) -> None:
        """The statement, after those of the parts that are cut off it."""
        ways = islice(self.ways(statement.body, statement, True), _MOST)
        for body, parts in sorted(ways, key=lambda way: sum(map(_size, way[1]))):
            whole = self.rebuilt(statement, body, parts)
            if self.fits(whole):
                for part in parts:
                    self.define(part, statement)
                self.statements.append(whole)
                return
        self.statements.append(statement)

    def ways(
        self, node: Expression, statement: Computation, root: bool = False
    ) -> Iterator[tuple[Expression, tuple[Expression, ...]]]:
        """What is left of a body with some parts cut off, a temporary in the place of each, and these parts."""
        if not children(node) or not reads(node):
            yield node, ()
            return
        for each in product(*(list(self.ways(child, statement)) for child in children(node))):
            parts = tuple(dict.fromkeys(part for _, cut_off in each for part in cut_off))
            yield _with_children(node, tuple(left for left, _ in each)), parts
        if not root:
            yield self.temporary(node, statement)[0], (node,)

    def define(self, part: Expression, statement: Computation) -> None:
        """The statement that makes a part, once."""
        read, tensor = self.temporary(part, statement)
        if any(known.output.tensor == read.tensor for known in self.statements):
            return
        tensors = (tensor, *(statement.tensor(name) for name in dict.fromkeys(each.tensor for each in reads(part))))
        self.add(Computation(_dims(part, statement), tensors, read, False, part))

    def temporary(self, part: Expression, statement: Computation) -> tuple[Read, Tensor]:
        """The element and the tensor that hold a part, over the dims that it uses."""
        dims = _dims(part, statement)
        key = part, dims
        if key not in self.made:
            name = next(name for number in range(1, len(self.taken) + 2) if (name := f"part{number}") not in self.taken)
            self.taken.add(name)
            dtype = dtype_of(part, lambda tensor: statement.tensor(tensor).dtype)
            assert dtype is not None
            index = tuple(Affine.of([(dim.name, 1)]) for dim in dims)
            self.made[key] = Read(name, index), Tensor(name, dtype, tuple(dim.extent for dim in dims))
        return self.made[key]

    def rebuilt(self, statement: Computation, body: Expression, parts: tuple[Expression, ...]) -> Computation:
        """The statement with what is left of its body."""
        made = [self.temporary(part, statement)[1] for part in parts]
        tensors = {tensor.name: tensor for tensor in (*statement.tensors, *made)}
        names = dict.fromkeys((statement.output.tensor, *(read.tensor for read in reads(body))))
        return replace(statement, body=body, tensors=tuple(tensors[name] for name in names))

    def fits(self, statement: Computation) -> bool:
        """Whether the addends agree with those of some pattern: all with one if assigned, each with any if summed."""
        own = Sums((statement,))
        done = [one for pattern in self.patterns for one in _images(own, pattern)]
        every = set(range(len(own.addends)))
        if own.accumulates[0]:
            return every <= {place for images in done for one in images for place in one}
        return any(len(images) == len(every) and every <= set().union(*images) for images in done)


def _images(own: Sums, pattern: Sums) -> Iterator[list[set[int]]]:
    """For each statement of a pattern whose addends all agree with some of a statement's, with which, by place."""
    for number, _ in enumerate(pattern.statements):
        addends = [addend for addend in pattern.addends if addend.statement == number]
        images = [{match.image.place for match in matches(own, pattern, addend)} for addend in addends]
        if all(images):
            yield images


def _dims(part: Expression, statement: Computation) -> tuple[Dim, ...]:
    used = {dim for read in reads(part) for index in read.index for dim in index.dims}
    return tuple(dim for dim in statement.dims if dim.name in used)


def _size(body: Expression) -> int:
    return sum(1 for _ in walk(body))


def _with_children(node: Expression, parts: tuple[Expression, ...]) -> Expression:
    match node:
        case Cast(dtype, _):
            return Cast(dtype, parts[0])
        case Apply(operation, _):
            return Apply(operation, parts)
    return node
