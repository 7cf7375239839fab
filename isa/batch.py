"""One entry at work on many operands at once: what the interpreter does trip by trip, as one numpy evaluation."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy.typing as npt

from dataflow.affine import Affine
from dataflow.computation import Computation, Dim
from dataflow.expression import Read, map_reads
from isa.model import Instruction
from isa.rounding import compute

Array = npt.NDArray[Any]

_TRIP = "each trip"
"""The dim of the batch; no file can name one so."""


def run_batch(entry: Instruction, count: int, arrays: Mapping[str, Array]) -> Array:
    """The outputs [count, *shape] of trips that do not depend on each other, from inputs [count, *shape] by operand.

    The output's old value is an input where the entry's pattern adds to it or keeps part of it. All lanes act.
    """
    pattern = entry.pattern
    assert pattern is not None
    return compute(entry, in_batch(pattern, count), arrays)


def run_statements(entry: Instruction, count: int, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The same for entries of one or several statements: every output by operand."""
    known = dict(arrays)
    for statement in entry.statements:
        known[statement.output.tensor] = compute(entry, in_batch(statement, count), known)
    return {operand.name: known[operand.name] for operand in entry.outputs}


def in_batch(pattern: Computation, count: int) -> Computation:
    """The pattern with one more dim in front, of its box and of every tensor."""

    def wider(read: Read) -> Read:
        return Read(read.tensor, (Affine.of([(_TRIP, 1)]), *read.index))

    return replace(
        pattern,
        dims=(Dim(_TRIP, count), *pattern.dims),
        tensors=tuple(replace(tensor, shape=(count, *tensor.shape)) for tensor in pattern.tensors),
        output=wider(pattern.output),
        body=map_reads(pattern.body, wider),
    )
