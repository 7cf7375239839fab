"""The pattern of an entry: its text, once for each value of the choices, as computations."""

import itertools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from dataflow.computation import Computation, Tensor
from dataflow.expression import Read
from dataflow.notation import NotationError, parse
from dataflow.symbolic import sums_apart, writes_apart
from isa.entries import Entry
from isa.schema import Node

_MOST_VARIANTS = 4096


def read_variants(
    entry: Entry, index: Mapping[str, int], choice: Mapping[str, int], tensors: Mapping[str, Tensor]
) -> tuple[Computation, ...]:
    """The pattern for every value of the choices, the last choice fastest; empty without a pattern.

    Dims and operands that the pattern does not use are dropped if they come from `like`, and an error otherwise.
    """
    if "pattern" not in entry.members:
        for key in ("operands", "index", "choice", "repeat"):
            if key in entry.own:
                raise entry.members[key].error(f"'{key}' belongs to a pattern, and there is none", key=True)
        return ()
    if math.prod(choice.values()) > _MOST_VARIANTS:
        raise entry.members["choice"].error(f"the choices have more than {_MOST_VARIANTS} values together", key=True)
    text = _Text(entry.members["pattern"], tuple(choice))
    used_index, used_tensors = _used(entry, text.parse((0,) * len(choice), index, tensors), index, tensors)
    values = itertools.product(*map(range, choice.values()))
    found = tuple(text.parse(each, used_index, used_tensors) for each in values)
    text.check_apart(found[0])
    return found


def _used(
    entry: Entry, pattern: Computation, index: Mapping[str, int], tensors: Mapping[str, Tensor]
) -> tuple[dict[str, int], dict[str, Tensor]]:
    """The dims and tensors the pattern uses."""
    reads = (pattern.output, *pattern.reads)
    dims = {dim for read in reads for place in read.index for dim in place.dims}
    kept_index = {name: extent for name, extent in index.items() if name in dims}
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

    def check_inside(self, read: Read, tensor: Tensor, index: Mapping[str, int]) -> None:
        for place, extent in zip(read.index, tensor.shape, strict=True):
            low, high = place.bounds(index)
            if low < 0 or high >= extent:
                there = f"'{tensor.name}' has 0..{extent - 1}"
                raise self.node.error(f"{read} reaches {low}..{high} where {there}")
