"""Reads an embedding as it is printed: `gemm(inp->inp, wgt->wgt) o=k:16 i=c.r.s:16`."""

import re
from collections.abc import Iterator
from math import prod

from dataflow.errors import UserError
from dataflow.operator import Operator
from embed.binding import Binding, bindings
from embed.checker import CheckError, verify
from embed.embedding import Digit, Embedding, Placeable
from embed.relax import steps
from isa.model import Isa

_WHOLE = re.compile(r"\s*(?P<name>\w+)\s*\((?P<pairs>[^)]*)\)\s*(?P<lanes>.*?)\s*(\bwith\b(?P<steps>.*))?", re.DOTALL)
_FORM = "NAME(TENSOR->OPERAND, ...) LANE=DIM.DIM:RADIX*... with RELAXATION NAME,NAME:FACTOR; ..."


def read_embedding(text: str, operator: Operator, target: Isa) -> Embedding:
    """The embedding that prints as `text`; a lane dimension that is not named, or is `-`, has one point.

    Raises UserError for text of another form, unknown names, and what is no embedding, with the rule it breaks.
    """
    match = _WHOLE.fullmatch(text)
    if match is None:
        raise UserError(f"embedding '{text}': write it as `isa-embed embed --all` prints it: {_FORM}")
    instruction = Placeable.of(target, match["name"])
    relaxed = steps.relaxed(operator, steps.read_steps(match["steps"])) if match["steps"] else None
    placed = relaxed.operator if relaxed else operator
    binding = _binding(match["pairs"], placed, instruction)
    digits = tuple(_digits(match["lanes"].split(), placed, instruction))
    embedding = Embedding(placed, instruction, binding, digits, relaxed)
    try:
        verify(embedding)
    except CheckError as error:
        raise UserError(f"embedding '{text}' breaks a rule: {error}") from None
    return embedding


def moved(embedding: Embedding, operator: Operator, target: Isa) -> Embedding:
    """The same instruction and digits in `operator`, which may differ in its sizes; raises UserError as above."""
    if embedding.asked == operator and Placeable.of(target, embedding.name) == embedding.instruction:
        return embedding
    return read_embedding(str(embedding), operator, target)


def _binding(text: str, operator: Operator, instruction: Placeable) -> Binding:
    known = bindings(operator.main, instruction.pattern)
    wanted = {pair.replace(" ", "") for pair in text.split(",")}
    for binding in known:
        if wanted == {f"{tensor}->{operand}" for operand, tensor in binding.pairs[1:]}:
            return binding
    there = "; ".join(", ".join(f"{tensor}->{operand}" for operand, tensor in one.pairs[1:]) for one in known)
    raise UserError(f"embedding: '{text}' is no binding of {instruction.name}; there are: {there or 'none'}")


def _digits(words: list[str], operator: Operator, instruction: Placeable) -> Iterator[Digit]:
    lanes = instruction.pattern.extents
    for word in words:
        lane, equals, filled = word.partition("=")
        if lane not in lanes or not equals:
            raise UserError(f"embedding: '{word}' fills no lanes; {instruction.name} has: {', '.join(lanes)}")
        for part in filled.split("*") if filled != "-" else ():
            yield _digit(part, lane, operator)


def _digit(text: str, lane: str, operator: Operator) -> Digit:
    names, _, radix = text.partition(":")
    dims = tuple(reversed(names.split(".")))
    extents = operator.main.extents
    unknown = [dim for dim in dims if dim not in extents]
    if unknown:
        raise UserError(f"embedding: {operator.name} has no dim '{unknown[0]}'; it has: {', '.join(extents)}")
    size = prod(extents[dim] for dim in dims)
    if not radix.isdecimal() or not 1 <= int(radix) <= size:
        raise UserError(f"embedding: '{text}' needs a number of lanes from 1 to {size} behind the colon")
    return Digit(lane, dims, int(radix))
