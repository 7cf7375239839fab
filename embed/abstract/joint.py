"""Embedding and program together: of all embeddings, the one whose program takes the fewest cycles."""

from collections.abc import Hashable, Mapping
from functools import cache

from dataflow.expression import Read
from dataflow.operator import Operator
from embed import joint
from embed.abstract.floor import Floors
from embed.abstract.kernel import AbstractKernel, compile_abstract
from embed.costs import epilogue_of
from embed.embedding import Embedding
from embed.layout import derive
from embed.pinned import Held
from embed.solver.search import Solution
from embed.solver.settings import Settings
from embed.window import Axis
from isa.model import Isa

_SECONDS = 0.02
"""What making an abstract program takes."""


def choose(
    operator: Operator, target: Isa, settings: Settings, held: Held | None = None
) -> tuple[Solution, AbstractKernel]:
    """The best embedding under the objective with its program; raises NoEmbedding where there is none that fits."""

    @cache
    def extras(operator: Operator, name: str) -> Mapping[str, Read]:
        return epilogue_of(operator, target.instructions[name], target).extras

    return joint.choose(
        operator,
        target,
        settings,
        lambda embedding, _: compile_abstract(embedding, target, held),
        Floors(target),
        lambda embedding: form(embedding, extras(embedding.operator, embedding.name)),
        _SECONDS,
    )


def form(embedding: Embedding, extras: Mapping[str, Read]) -> Hashable:
    """What the cycles of programs depend on: the loops, and what moves along them; names do not count.

    `extras` are what the epilogue reads.
    """
    results = embedding.result_loops
    places = {loop.name: place for place, loop in enumerate(embedding.loops)}
    loops = tuple([(loop.extent, loop.name in results) for loop in embedding.loops])
    operands = embedding.binding.operands
    tensors = [
        (operands.get(tensor), *(_moved(axis, places) for axis in layout.axes))
        for tensor, layout in derive(embedding, extras).items()
    ]
    return embedding.name, embedding.relaxed and embedding.relaxed.parts, loops, tuple(tensors)


def _moved(axis: Axis, places: Mapping[str, int]) -> Hashable:
    return axis.extent, axis.before, axis.after, tuple([(places[loop], factor) for loop, factor in axis.loops])
