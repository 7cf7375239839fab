"""Chains of instructions that turn words of one type into words of another: narrowing, widening, and putting in order.

Found by a search over where each lane's bytes lie after every instruction that converts or moves the elements of one
register.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

from dataflow.computation import Computation
from dataflow.dtypes import bits, is_integer, limits
from dataflow.expression import Apply, Cast, Expression, Read
from embed.cpu.epilogue.simplify import Interval, saturated_type, within
from isa.model import Instruction

_LONGEST = 4

Places = tuple[int, ...]
"""The byte at which each lane begins."""


@dataclass(frozen=True, slots=True)
class Goal:
    """A word of `source` elements, whose values lie in `span`, as `target`; `wrap` and `saturate` say what may happen
    to values that `target` lacks: where it has all of them, both."""

    source: str
    target: str
    span: Interval
    wrap: bool
    saturate: bool


@dataclass(frozen=True)
class Change:
    """An instruction whose result's elements are the source's, in their order or another, converted or not."""

    entry: Instruction
    operand: str
    source: str
    target: str
    saturate: bool

    @cached_property
    def moves(self) -> dict[int, int]:
        """For every element of the source the first one of the result that it becomes."""
        assert self.entry.pattern is not None
        return dict(reversed(list(_moves(self.entry.pattern, self.operand))))

    @property
    def converts(self) -> bool:
        return self.source != self.target or self.saturate

    def places(self, places: Places) -> Places | None:
        """Where the lanes lie afterwards; None where an element would be cut or is lost."""
        before, after = bits(self.source) // 8, bits(self.target) // 8
        found = []
        for place in places:
            element, inside = divmod(place, before)
            if element not in self.moves or (self.converts and inside):
                return None
            found.append(self.moves[element] * after + inside)
        return tuple(found)


@dataclass(frozen=True, slots=True)
class _State:
    """A word on its way: its type, as which its bits count, and where its lanes lie."""

    dtype: str
    places: Places


def changes(entries: Sequence[Instruction]) -> list[Change]:
    """Those of the entries that convert or move the elements of one register; each reads one operand."""
    found = []
    for entry in entries:
        assert entry.pattern is not None
        match _unary(entry.pattern.body):
            case (Read(operand), saturate):
                types = entry.pattern.tensor(operand).dtype, entry.pattern.tensors[0].dtype
                found.append(Change(entry, operand, *types, saturate))
    return found


def chain(goal: Goal, known: Sequence[Change], lanes: int) -> tuple[Change, ...] | None:
    """The shortest chain for a word of `lanes` elements that lie at its start before and after."""
    start = _State(goal.source, _dense(lanes, goal.source))
    reached = {start}
    waiting: deque[tuple[_State, tuple[Change, ...]]] = deque([(start, ())])
    while waiting:
        state, path = waiting.popleft()
        if state.places == _dense(lanes, goal.target) and _is(state.dtype, goal.target, goal):
            return path
        if len(path) == _LONGEST:
            continue
        for change in known:
            after = _after(state, change, goal)
            if after is not None and after not in reached:
                reached.add(after)
                waiting.append((after, (*path, change)))
    return None


def _after(state: _State, change: Change, goal: Goal) -> _State | None:
    """The word after one more instruction, if that leads to the goal."""
    if not change.converts:
        places = change.places(state.places) if bits(change.source) >= bits(state.dtype) else None
        return None if places is None else _State(state.dtype, places)
    if bits(change.source) != bits(state.dtype) or not _allowed(state, change, goal):
        return None
    places = change.places(state.places)
    return None if places is None else _State(change.target, places)


def _allowed(state: _State, change: Change, goal: Goal) -> bool:
    if not (is_integer(change.source) and is_integer(change.target)):
        return change.source == state.dtype == goal.source and change.target == goal.target
    exact = change.source == state.dtype or within(goal.span, change.source)
    if change.saturate:
        return goal.saturate and exact and (within(goal.span, change.target) or _holds(change.target, goal.target))
    if bits(change.target) > bits(change.source):
        return exact and bits(change.target) <= bits(goal.target)
    return goal.wrap and bits(change.target) >= bits(goal.target)


def _is(dtype: str, target: str, goal: Goal) -> bool:
    """Whether bits that mean `dtype` mean the same as `target`."""
    if dtype == target:
        return True
    same = is_integer(dtype) and is_integer(target) and bits(dtype) == bits(target)
    return same and (within(goal.span, target) or (goal.wrap and bits(target) < bits(goal.source)))


def _holds(outer: str, inner: str) -> bool:
    return within(limits(inner), outer)


def _dense(lanes: int, dtype: str) -> Places:
    return tuple(lane * bits(dtype) // 8 for lane in range(lanes))


def _unary(body: Expression) -> tuple[Expression, bool] | None:
    """The operand of a copy or a conversion, and whether it saturates."""
    match body:
        case Read() as read:
            return read, False
        case Cast(_, Read() as read):
            return read, False
        case Cast(dtype, Apply(operation, (Read() as read,))) if saturated_type(operation) == dtype:
            return read, True
    return None


def _moves(pattern: Computation, operand: str) -> Iterator[tuple[int, int]]:
    """(element of the source, element of the result) at every point of the box."""
    read = pattern.accesses[operand]
    names = tuple(pattern.extents)
    for point in product(*(range(extent) for extent in pattern.extents.values())):
        at = dict(zip(names, point, strict=True))
        yield _flat(pattern, operand, read, at), _flat(pattern, pattern.output.tensor, pattern.output, at)


def _flat(pattern: Computation, name: str, read: Read, at: dict[str, int]) -> int:
    place = 0
    for index, size in zip(read.index, pattern.tensor(name).shape, strict=True):
        place = place * size + index.evaluate(at)
    return place
