"""An operator on a machine that is only an ISA file: the abstract program, what it costs, and running it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy.typing as npt

from dataflow.errors import UserError
from dataflow.reference import by_name
from embed.abstract.homes import Home, homes
from embed.abstract.machine import Machine, Result, in_external
from embed.abstract.placed import Placed
from embed.abstract.places import Place, plan
from embed.abstract.program import steps
from embed.abstract.report import Report, report
from embed.abstract.schedule import schedule
from embed.costs import rates
from embed.embedding import Embedding
from embed.epilogue import Epilogue
from embed.epilogue import plan as plan_epilogue
from embed.nest import Nest, Schedule, build
from embed.nest.build import derive
from embed.pinned import Held
from isa.model import Isa

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class AbstractKernel:
    """An embedding under a schedule, with the places of its tensors in the memories of the file."""

    embedding: Embedding
    target: Isa
    schedule: Schedule
    nest: Nest
    epilogue: Epilogue
    homes: Mapping[str, Home]
    places: Mapping[str, Place]
    held: Held
    note: str = field(default="", compare=False, repr=False)

    def __str__(self) -> str:
        """The operator, the ISA, the embedding and the schedule, in a line."""
        return f"{self.held.own.title} on {self.target.name}: {self.embedding}, {self.schedule}"

    def __call__(self, *arrays: Array, **named: Array) -> Array:
        """Interpret the program on arrays in the shapes and dtypes of the operator's inputs, lying as pinned."""
        names = [tensor.name for tensor in self.embedding.operator.inputs]
        given = by_name(names, arrays, named)
        unpacked = self.nest.layouts[self.nest.output].unpack(self.run(given).packed)
        return self.held.handed(self.embedding.summed(unpacked))

    def run(self, arrays: Mapping[str, Array]) -> Result:
        """Interpret the program on arrays by name; the packed output, and what was done."""
        checked = {tensor.name: self.held.taken(tensor, arrays) for tensor in self.embedding.operator.inputs}
        external = in_external(self.nest, self.places, checked)
        return Machine(self.target, self.nest, self.places, external).run(steps(self.nest, self.places))

    def save(self, path: str | Path) -> None:
        """There is nothing to save; raises UserError."""
        raise UserError(f"{path}: {self.target.name} has no encodings, so there is no code to save")

    @property
    def cycles(self) -> int:
        """Modelled cycles, 0 in a file without timing."""
        return self.report.cycles if self.report.timed else 0

    @cached_property
    def report(self) -> Report:
        """Invocations, bytes by memory and cycles."""
        placed = Placed(self.embedding, self.nest.layouts, self.homes, self.target)
        return report(placed, self.schedule, self.epilogue)


def compile_abstract(embedding: Embedding, target: Isa, held: Held | None = None) -> AbstractKernel:
    """Choose a schedule and places; raises NoEmbedding where no tile fits or the epilogue cannot be done.

    `held` says how the user's arrays lie.
    """
    epilogue = plan_epilogue(embedding.operator, target)
    price = rates(embedding.operator, target.instruction(embedding.name), target)
    layouts = derive(embedding, epilogue)
    found = homes(embedding, layouts, target)
    chosen = schedule(Placed(embedding, layouts, found, target), epilogue, price)
    nest = build(embedding, chosen, epilogue)
    places = plan(nest, chosen, found)
    return AbstractKernel(embedding, target, chosen, nest, epilogue, found, places, held or Held.free(embedding.asked))
