"""The pattern of an entry: its text, once for each value of the choices, as computations."""

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dataflow.computation import Computation, Tensor
from dataflow.expression import Read
from dataflow.notation import NotationError, parse
from dataflow.symbolic import sums_apart, writes_apart
from isa.entries import Entry
from isa.node import Node

_MOST_VARIANTS = 4096


def read_patterns(
    entry: Entry, index: Mapping[str, int], choice: Mapping[str, int], tensors: Mapping[str, Tensor]
) -> tuple[tuple[Computation, ...], tuple[Computation, ...]]:
    """The statements of the entry, and the variants of a single one: for every value of the choices, the last fastest.

    Both are empty without a pattern. Dims and operands that no statement uses are dropped if they come from `like`, and
    an error otherwise.
    """
    if "pattern" not in entry.members:
        for key in ("operands", "index", "choice", "repeat"):
            if key in entry.own:
                raise entry.members[key].error(f"'{key}' belongs to a pattern, and there is none", key=True)
        return (), ()
    node = entry.members["pattern"]
    if len(node.texts()) > 1:
        return _statements(entry, node, index, tensors), ()
    variants = _variants(entry, _one(node), index, choice, tensors)
    return variants[:1], variants


def _one(node: Node) -> Node:
    """The text of a pattern that may be a list of one."""
    return node if isinstance(node.value, str) else Node(node.source, (*node.path, 0), node.value[0])


def _statements(
    entry: Entry, node: Node, index: Mapping[str, int], tensors: Mapping[str, Tensor]
) -> tuple[Computation, ...]:
    """Several statements, each over the dims that it uses: they read what was there before any of them wrote."""
    for key in ("choice", "mask"):
        if key in entry.members:
            raise entry.members[key].error(f"a pattern of several statements takes no {key}", key=True)
    texts = [_Text(Node(node.source, (*node.path, place), text), ()) for place, text in enumerate(node.texts())]
    drafts = [text.parse((), index, tensors) for text in texts]
    used = [{n: e for n, e in index.items() if n in _dims(draft)} for draft in drafts]
    _check_all_used(entry, "index", index, {name: 0 for names in used for name in names})
    _check_all_used(entry, "operands", tensors, {t.name: t for draft in drafts for t in draft.tensors})
    found = tuple(text.parse((), box, tensors) for text, box in zip(texts, used, strict=True))
    for text, statement in zip(texts, found, strict=True):
        text.check_apart(statement)
        text.check_beside(statement, [other for other in found if other is not statement])
    return found


def _dims(pattern: Computation) -> set[str]:
    return {dim for read in (pattern.output, *pattern.reads) for place in read.index for dim in place.dims}


def _variants(
    entry: Entry, node: Node, index: Mapping[str, int], choice: Mapping[str, int], tensors: Mapping[str, Tensor]
) -> tuple[Computation, ...]:
    if math.prod(choice.values()) > _MOST_VARIANTS:
        raise entry.members["choice"].error(f"the choices have more than {_MOST_VARIANTS} values together", key=True)
    text = _Text(node, tuple(choice))
    used_index, used_tensors = _used(entry, text.parse((0,) * len(choice), index, tensors), index, tensors)
    values = itertools.product(*map(range, choice.values()))
    found = tuple(text.parse(each, used_index, used_tensors) for each in values)
    text.check_apart(found[0])
    return found


def _used(
    entry: Entry, pattern: Computation, index: Mapping[str, int], tensors: Mapping[str, Tensor]
) -> tuple[dict[str, int], dict[str, Tensor]]:
    """The dims and tensors the pattern uses."""
    kept_index = {name: extent for name, extent in index.items() if name in _dims(pattern)}
    kept_tensors = {tensor.name: tensor for tensor in pattern.tensors}
    _check_all_used(entry, "index", index, kept_index)
    _check_all_used(entry, "operands", tensors, kept_tensors)
    return kept_index, kept_tensors


def _check_all_used(entry: Entry, key: str, names: Mapping[str, object], kept: Mapping[str, object]) -> None:
    for name in names:
        if name not in kept and entry.has_own(key, name):
            what = key.removesuffix("s")
            raise entry.inner(key, name).error(f"{what} '{name}' is not used by the pattern", key=True)


@dataclass(frozen=True, slots=True)
class _Text:
    """The text of a pattern with the names of its choices."""

    node: Node
    choices: tuple[str, ...]

    def parse(self, values: tuple[int, ...], index: Mapping[str, int], tensors: Mapping[str, Tensor]) -> Computation:
        """The computation for these values of the choices."""
        text = self.node.text().replace("\n", " ")
        for name, value in zip(self.choices, values, strict=True):
            text = re.sub(rf"\b{name}\b", str(value).ljust(len(name)), text)
        lead = len(text) - len(text.lstrip())
        try:
            pattern = parse(text, index, tensors)
        except NotationError as error:
            raise self.node.error(error.message, lead + error.column - 1) from None
        except (RecursionError, MemoryError):
            raise self.node.error("the pattern is nested too deeply") from None
        for read in (pattern.output, *pattern.reads):
            self.check_inside(read, tensors[read.tensor], index)
        return pattern

    def check_apart(self, pattern: Computation) -> None:
        """No operator can use a pattern that writes an element from several places."""
        if pattern.accumulate and not sums_apart(pattern):
            what = f"several sums are one element of {pattern.output}"
            raise self.node.error(f"{what}: no operator can use this pattern; give each dim of the output an axis")
        if not pattern.accumulate and not writes_apart(pattern):
            what = f"several points write one element of {pattern.output}"
            raise self.node.error(f"{what}: no operator can use this pattern; a sum is written `+=`")

    def check_beside(self, statement: Computation, others: Sequence[Computation]) -> None:
        """No statement reads what another writes, and no two write one element."""
        own = statement.output.tensor
        for other in others:
            if any(read.tensor == own for read in other.reads):
                raise self.node.error(
                    f"another statement reads {own}, but statements are done at once; write an operand of its own"
                )
            if other.output.tensor == own and not _elements(statement).isdisjoint(_elements(other)):
                raise self.node.error(f"another statement writes an element of {own} that this one writes")

    def check_inside(self, read: Read, tensor: Tensor, index: Mapping[str, int]) -> None:
        for place, extent in zip(read.index, tensor.shape, strict=True):
            low, high = place.bounds(index)
            if low < 0 or high >= extent:
                there = f"'{tensor.name}' has 0..{extent - 1}"
                raise self.node.error(f"{read} reaches {low}..{high} where {there}")


def _elements(statement: Computation) -> set[tuple[int, ...]]:
    """The elements that a statement writes."""
    names = statement.output_dims
    boxes = itertools.product(*(range(statement.extents[name]) for name in names))
    places = (dict(zip(names, box, strict=True)) for box in boxes)
    return {tuple(index.evaluate(place) for index in statement.output.index) for place in places}
