"""An instruction placed so that it tiles: every addend of it does one of the operator's, lanes run along digits."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from dataflow.computation import Computation, Dim
from dataflow.expression import Const, Read
from dataflow.operator import Operator
from dataflow.sums import Addend, Sums
from embed.binding import Binding
from embed.embedding import Digit, Embedding, Placeable, TileLoop
from embed.nodes.labels import Match

Array = npt.NDArray[Any]

ADDENDS = "addends"
"""The lane dimension of copies: addends of the instruction that do one addend of the operator at several points."""


@dataclass(frozen=True, slots=True)
class Image:
    """What an addend of the instruction does: an addend of the operator, at position `copy` of the lane ADDENDS."""

    match: Match
    copy: int


@dataclass(frozen=True)
class Placement:
    """The instruction `name` with the statements `pattern` in `operator`; one image for each addend, in order."""

    operator: Operator
    name: str
    pattern: Sums
    images: tuple[Image, ...]
    digits: tuple[Digit, ...]

    @property
    def copies(self) -> int:
        return max(image.copy for image in self.images) + 1

    @cached_property
    def covered(self) -> frozenset[Addend]:
        """The operator's addends that the invocations do, at every point of their box."""
        return frozenset(image.match.image for image in self.images)

    @cached_property
    def statements(self) -> tuple[int, ...]:
        """The numbers of the operator's statements that it works on."""
        return tuple(sorted({addend.statement for addend in self.covered}))

    @cached_property
    def frame(self) -> Embedding:
        """Which points the lanes have: dims are those of the statements covered, lanes the pattern's and ADDENDS."""
        statement = self.operator.statements[self.statements[0]]
        dims = [Dim(name, extent) for name, extent in self.pattern.extents.items()]
        box = Computation((*dims, Dim(ADDENDS, self.copies)), (), Read("", ()), False, Const(0))
        return Embedding(Operator("", (statement,)), Placeable(self.name, box), Binding(()), self.digits)

    @property
    def invocations(self) -> int:
        return self.frame.invocations

    @property
    def utilisation(self) -> float:
        """Useful addends over those that the invocations pay for."""
        useful = len(self.covered) * self.frame.operator.main.points
        box = self.pattern.statements[0].points
        return useful / (self.invocations * len(self.images) * box)

    @cached_property
    def loops(self) -> tuple[TileLoop, ...]:
        return self.frame.loops

    @cached_property
    def accesses(self) -> tuple[tuple[Read, Read | Const], ...]:
        """Every access of an operand by an addend, and what it holds there; of each addend the output's first."""
        return tuple(pair for image in self.images for pair in self.uses(image))

    def uses(self, image: Image) -> tuple[tuple[Read, Read | Const], ...]:
        """The same of one addend."""
        written = self.operator.statements[image.match.image.statement].output
        return (self.pattern.output(image.match.addend), written), *image.match.pairs

    @cached_property
    def held(self) -> dict[str, tuple[Read | Const, ...]]:
        """What each operand holds, the outputs included."""
        found: dict[str, dict[Read | Const, None]] = {}
        for own, held in self.accesses:
            found.setdefault(own.tensor, {})[held] = None
        return {operand: tuple(each) for operand, each in found.items()}

    @cached_property
    def outputs(self) -> tuple[str, ...]:
        """The operands that the instruction writes."""
        return tuple(dict.fromkeys(statement.output.tensor for statement in self.pattern.statements))

    @property
    def inputs(self) -> tuple[str, ...]:
        return tuple(operand for operand in self.held if operand not in self.outputs)

    def loops_of(self, operand: str) -> tuple[TileLoop, ...]:
        """The loops whose value tells apart the words that an operand takes."""
        used = {dim for held in self.held[operand] if isinstance(held, Read) for dim in dims_of(held)}
        return tuple(loop for loop in self.loops if used.intersection(loop.dims))

    @property
    def split(self) -> tuple[tuple[TileLoop, ...], tuple[TileLoop, ...]]:
        """Loops over sums, which are run one after another, and those that every output tells apart."""
        apart = [set(self.loops_of(operand)) for operand in self.outputs]
        outer = tuple(loop for loop in self.loops if all(loop in each for each in apart))
        return tuple(loop for loop in self.loops if loop not in outer), outer

    def words(self, operand: str) -> int:
        """How many different values an operand takes."""
        total = 1
        for loop in self.loops_of(operand):
            total *= loop.extent
        return total

    def points(self, image: Image, origin: Mapping[str, Array]) -> tuple[dict[str, Array], Array]:
        """Operator coordinates of an addend at every lane, with axes for `origin`'s values and the dims of the pattern.

        The second array says where it is idle.
        """
        rank = len(self.pattern.extents)
        lanes = {
            lane: np.arange(extent).reshape([-1 if axis == place else 1 for axis in range(rank)])
            for place, (lane, extent) in enumerate(self.pattern.extents.items())
        }
        lanes[ADDENDS] = np.full((1,) * rank, image.copy)
        spread = {name: values.reshape(*values.shape, *[1] * rank) for name, values in origin.items()}
        coordinates, idle = self.frame.points(spread, lanes)
        shape = next(iter(spread.values())).shape if spread else (1,) * rank
        full = np.broadcast_shapes(shape, tuple(self.pattern.extents.values()))
        return {dim: np.broadcast_to(value, full) for dim, value in coordinates.items()}, np.broadcast_to(idle, full)

    def __str__(self) -> str:
        """One readable line: what each operand holds, and what fills each lane dimension."""
        held = ", ".join(
            f"{'/'.join(dict.fromkeys(_name(each) for each in self.held[operand]))}->{operand}"
            for operand in self.inputs
        )
        lanes = {**self.pattern.extents, ADDENDS: self.copies}
        filled = [
            f"{lane}={'*'.join(map(str, self.frame.digits_of(lane))) or '-'}"
            for lane, extent in lanes.items()
            if extent > 1
        ]
        return " ".join([f"{self.name}({held})", *filled])


def dims_of(read: Read) -> frozenset[str]:
    return frozenset(dim for index in read.index for dim in index.dims)


def _name(held: Read | Const) -> str:
    return held.tensor if isinstance(held, Read) else str(held.value)
