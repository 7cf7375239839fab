"""An embedding: how the lanes of an instruction are filled with the iteration points of an operator.

The map is partial: a lane without an image is idle and must be fed zeros. Whoever found it, everything after
the solver works from this value alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from dataflow.computation import Computation
from dataflow.errors import UserError
from dataflow.expression import Apply, Read
from dataflow.operator import Operator
from embed.binding import Binding, named_accesses
from embed.relax import steps
from embed.relax.rewritten import Rewritten
from isa.memo import remembered
from isa.model import Isa

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Digit:
    """A digit of one lane dimension: operator dims flattened, innermost first, and cut into runs of `radix` points.

    One dim makes an axis digit; several make a fused digit, padded only at the very end.
    """

    lane: str
    dims: tuple[str, ...]
    radix: int

    @property
    def loop(self) -> str:
        """Name of the loop over its runs."""
        return "".join(reversed(self.dims)) + "_o"

    def __str__(self) -> str:
        return f"{'.'.join(reversed(self.dims))}:{self.radix}"


@dataclass(frozen=True, slots=True)
class TileLoop:
    """A loop over tile origins: over the runs of a digit, or over a dim that no lane holds."""

    name: str
    extent: int
    dims: tuple[str, ...]


@dataclass(frozen=True)
class Placeable:
    """What an embedding needs to know of an instruction: its pattern, and the zeros that loads of its operands supply.

    `pads` gives, for each operand, how many zero words its load can put on either side of a row.
    """

    name: str
    pattern: Computation
    pads: Mapping[str, int] = field(default_factory=dict, hash=False)

    @classmethod
    def of(cls, target: Isa, name: str) -> "Placeable":
        """The entry `name` of an ISA; raises IsaError if there is none and UserError if it has no pattern."""
        return _placeable(target, name)


@remembered
def _placeable(target: Isa, name: str) -> Placeable:
    entry = target.instruction(name)
    if entry.pattern is None:
        raise UserError(f"{name} of {target.name} has no pattern, so nothing can be placed with it")
    memories = {operand.name: target.memories.get(operand.memory) for operand in entry.operands.values()}
    pads = {name: memory.pads for name, memory in memories.items() if memory and memory.pads}
    return Placeable(name, as_accumulation(entry.pattern), pads)


def as_accumulation(pattern: Computation) -> Computation:
    """`acc = fma(a, b, acc)` as `acc += a * b`, the sum it computes without rounding the product; others unchanged."""
    match pattern.body:
        case Apply("fma", (left, right, Read() as addend)) if addend == pattern.output and not pattern.accumulate:
            return replace(pattern, accumulate=True, body=Apply("mul", (left, right)))
    return pattern


@dataclass(frozen=True)
class Embedding:
    """An instruction placed in `operator` under `binding`.

    `digits` are grouped by lane dimension, innermost first; dims that stand in no digit are loops. `relaxed` says that
    `operator` is a rewriting of the one that the user asked for.
    """

    operator: Operator
    instruction: Placeable
    binding: Binding
    digits: tuple[Digit, ...]
    relaxed: Rewritten | None = None

    @property
    def asked(self) -> Operator:
        """The user's operator."""
        return self.relaxed.user if self.relaxed else self.operator

    def on(self, operator: Operator) -> "Embedding":
        """The same digits in another operator with the same dims, rewritten alike; whether it is one is not checked."""
        again = steps.relaxed(operator, self.relaxed.steps) if self.relaxed else None
        return replace(self, operator=again.operator if again else operator, relaxed=again)

    def summed(self, output: Array) -> Array:
        """The user's output from the operator's, which may have partial sums."""
        return self.relaxed.summed(output) if self.relaxed else output

    @property
    def name(self) -> str:
        return self.instruction.name

    @property
    def pattern(self) -> Computation:
        return self.instruction.pattern

    @cached_property
    def extents(self) -> dict[str, int]:
        """Extents of the operator's dims."""
        return self.operator.main.extents

    @cached_property
    def accesses(self) -> dict[str, Read]:
        """The operator's accesses by name; each name is bound to one operand and has a layout of its own."""
        return named_accesses(self.operator.main)

    def operand(self, access: str) -> str:
        """The operand that an access is bound to; what only an epilogue reads lies with the output."""
        return self.binding.operands.get(access, self.pattern.output.tensor)

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """Names of the accesses that the instruction reads, in the operator's order."""
        bound = dict(self.binding.pairs[1:]).values()
        return tuple(name for name in self.accesses if name in bound)

    @cached_property
    def lanes(self) -> dict[str, int]:
        """Extents of the instruction's dims."""
        return self.pattern.extents

    def digits_of(self, lane: str) -> tuple[Digit, ...]:
        return tuple(digit for digit in self.digits if digit.lane == lane)

    def size(self, digit: Digit) -> int:
        """Points along a digit, over all its runs."""
        return prod([self.extents[dim] for dim in digit.dims])

    def steps(self, digit: Digit) -> int:
        """Runs that cover a digit."""
        return -(-self.size(digit) // digit.radix)

    @cached_property
    def radix(self) -> dict[str, int]:
        """Points from one run of a digit to the next, by its loop."""
        return {digit.loop: digit.radix for digit in self.digits}

    @cached_property
    def outer_dims(self) -> tuple[str, ...]:
        """Operator dims that no digit holds."""
        held = {dim for digit in self.digits for dim in digit.dims}
        return tuple([dim for dim in self.extents if dim not in held])

    @cached_property
    def loops(self) -> tuple[TileLoop, ...]:
        """The loops over tile origins, in the order of the operator's box."""
        runs = [TileLoop(digit.loop, self.steps(digit), digit.dims) for digit in self.digits]
        plain = [TileLoop(dim, self.extents[dim], (dim,)) for dim in self.outer_dims]
        places = {dim: place for place, dim in enumerate(self.extents)}
        return tuple(sorted([*runs, *plain], key=lambda loop: min([places[dim] for dim in loop.dims])))

    @cached_property
    def result_loops(self) -> tuple[str, ...]:
        """Tile loops that move along the output; the others sum."""
        results = set(self.operator.main.output_dims)
        return tuple([loop.name for loop in self.loops if not results.isdisjoint(loop.dims)])

    @property
    def invocations(self) -> int:
        """How many instructions cover the operator."""
        return prod(loop.extent for loop in self.loops)

    @property
    def utilisation(self) -> float:
        """Useful points over the points that the invocations pay for."""
        return self.asked.main.points / (self.invocations * self.pattern.points)

    def lane_digits(self, lane: str, values: Array) -> tuple[dict[Digit, Array], Array]:
        """Value of each digit at lane positions `values`, and which positions lie beyond the digits (idle)."""
        found, rest = {}, values
        for digit in self.digits_of(lane):
            found[digit] = rest % digit.radix
            rest = rest // digit.radix
        return found, rest > 0

    def unflatten(self, digit: Digit, flat: Array) -> tuple[dict[str, Array], Array]:
        """Coordinates of the digit's dims at positions `flat` along it, and which positions lie past its end."""
        coordinates, rest = {}, flat
        for dim in digit.dims[:-1]:
            coordinates[dim] = rest % self.extents[dim]
            rest = rest // self.extents[dim]
        coordinates[digit.dims[-1]] = rest
        return coordinates, flat >= self.size(digit)

    def points(self, origin: Mapping[str, int | Array], lanes: Mapping[str, Array]) -> tuple[dict[str, Array], Array]:
        """The map phi: operator coordinates at lane positions, and the mask of idle lanes.

        `origin` gives each tile loop its value, or an array of values for several invocations at once, and `lanes` each
        dim of the instruction its positions; all arrays broadcast together.
        """
        shape = np.broadcast_shapes(*(values.shape for values in lanes.values())) if lanes else ()
        idle = np.zeros(shape, bool)
        found: dict[str, Array] = {dim: np.asarray(origin[dim]) for dim in self.outer_dims}
        for lane, values in lanes.items():
            digits, beyond = self.lane_digits(lane, values)
            idle = idle | beyond
            for digit, value in digits.items():
                coordinates, past = self.unflatten(digit, origin[digit.loop] * digit.radix + value)
                found |= coordinates
                idle = idle | past
        return found, idle

    def __str__(self) -> str:
        """One readable line: which tensor plays which operand, what fills each lane dimension, and the relaxations."""
        filled = [
            f"{lane}={'*'.join(map(str, self.digits_of(lane))) or '-'}" for lane in self.lanes if self.lanes[lane] > 1
        ]
        bound = ", ".join(f"{tensor}->{operand}" for operand, tensor in self.binding.pairs[1:])
        relaxed = f" with {self.relaxed}" if self.relaxed else ""
        return f"{self.name}({bound}) {' '.join(filled)}{relaxed}"
