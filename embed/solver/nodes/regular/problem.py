"""One regular placement problem: which addends agree, and the digits that each lane dimension may take."""

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, product
from math import prod

from dataflow.expression import Read
from dataflow.operator import Operator
from dataflow.sums import Addend, Sums
from embed.embedding import Digit
from embed.nodes.labels import Match, matches
from embed.nodes.placement import ADDENDS, dims_of

_FUSED = 3
"""Dims of the longest fused digit."""


@dataclass(frozen=True)
class Problem:
    """Place `pattern`, the statements of the instruction `name`; every addend covered is done at `copies` points."""

    operator: Operator
    name: str
    pattern: Sums
    copies: int

    @cached_property
    def sums(self) -> Sums:
        return Sums(self.operator.statements)

    @cached_property
    def matches(self) -> dict[Addend, tuple[Match, ...]]:
        return {addend: matches(self.sums, self.pattern, addend) for addend in self.pattern.addends}

    @cached_property
    def lanes(self) -> dict[str, int]:
        """Lane dimensions with more than one lane; the copies are the last."""
        own = {lane: extent for lane, extent in self.pattern.extents.items() if extent > 1}
        return {**own, ADDENDS: self.copies} if self.copies > 1 else own

    @cached_property
    def extents(self) -> dict[str, int]:
        """Extents of the operator's dims that matter."""
        return {dim: extent for dim, extent in self.sums.extents.items() if extent > 1}

    def dims(self, statement: int) -> frozenset[str]:
        """The dims that matter of one of the operator's statements."""
        return frozenset(self.sums.statements[statement].extents).intersection(self.extents)

    @cached_property
    def forms(self) -> dict[str, tuple[Digit | None, ...]]:
        """What a lane dimension may hold: no digit, one dim, or dims of one statement fused where that saves runs."""
        return {lane: (None, *self._digits(lane)) for lane in self.lanes}

    def _digits(self, lane: str) -> tuple[Digit, ...]:
        found: dict[tuple[str, ...], None] = {}
        for number in range(len(self.sums.statements)):
            order = [dim for dim in self.sums.statements[number].extents if dim in self.extents]
            for count in range(1, min(_FUSED, len(order)) + 1):
                found |= dict.fromkeys(some[::-1] for some in combinations(order, count))
        return tuple(Digit(lane, dims, self._radix(lane, dims)) for dims in found if self._saves(lane, dims))

    def _radix(self, lane: str, dims: tuple[str, ...]) -> int:
        """All lanes, or as many as there are points; copies are never fewer than the addends that do them."""
        if lane == ADDENDS:
            return self.copies
        return min(self.lanes[lane], prod(self.extents[dim] for dim in dims))

    def _saves(self, lane: str, dims: tuple[str, ...]) -> bool:
        """Whether a digit takes fewer runs than the same without its outermost dim."""
        if len(dims) == 1:
            return True
        inner = prod(self.extents[dim] for dim in dims[:-1])
        outer, lanes = self.extents[dims[-1]], self.lanes[lane]
        return -(-inner * outer // lanes) < -(-inner // lanes) * outer

    def padded(self, digit: Digit) -> bool:
        """Whether the last run of a digit has idle lanes."""
        return prod(self.extents[dim] for dim in digit.dims) % digit.radix > 0

    def lacks(self, read: Read, lane: str) -> bool:
        return lane not in dims_of(read)

    @cached_property
    def refusal(self) -> str:
        """Why the lanes of the pattern have no digits; empty where they may."""
        boxes = {tuple((n, e) for n, e in s.extents.items() if e > 1) for s in self.pattern.statements}
        if len(boxes) > 1:
            return "its statements range over different dims"
        slides = self._sliding()
        return f"lanes that differ in dims it uses share an element of {slides}" if slides else ""

    def _sliding(self) -> str:
        """An operand of which accesses with different indices, or different lanes of one access, share an element."""
        seen: dict[tuple[str, tuple[int, ...]], tuple[Read, tuple[int, ...]]] = {}
        extents = self.pattern.extents
        for read in {read for addend in self.pattern.addends for read in (*addend.reads, self.pattern.output(addend))}:
            used = [lane for lane in extents if lane in dims_of(read)]
            for place in product(*(range(extents[lane]) for lane in used)):
                at = dict(zip(used, place, strict=True))
                element = read.tensor, tuple(index.evaluate(at) for index in read.index)
                if seen.setdefault(element, (read, place)) != (read, place):
                    return read.tensor
        return ""
