"""One placement problem: an operator, an instruction, a binding, and what things cost."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from dataflow.computation import Computation
from dataflow.expression import Read
from dataflow.operator import Operator
from embed.binding import Binding, named_accesses
from embed.costs import Rates
from embed.embedding import Placeable
from embed.lanes import Slide, allowed_dims, slides
from embed.relax.rewritten import Rewritten


@dataclass(frozen=True)
class Problem:
    """Place an instruction in `operator`; dims of extent 1 are left out of the search.

    `only` narrows the dims that may fill each lane dimension, where the caller's layouts demand it. `relaxed` says that
    `operator` is a rewriting.
    """

    operator: Operator
    instruction: Placeable
    binding: Binding
    rates: Rates
    only: Mapping[str, tuple[str, ...]] | None = None
    relaxed: Rewritten | None = None

    @property
    def points(self) -> int:
        """Points of the user's operator."""
        return (self.relaxed.user if self.relaxed else self.operator).main.points

    def __str__(self) -> str:
        """The instruction and the binding, as embeddings print them."""
        played = ", ".join(f"{tensor}->{operand}" for operand, tensor in self.binding.pairs[1:])
        return f"{self.instruction.name}({played})"

    @property
    def pattern(self) -> Computation:
        return self.instruction.pattern

    @cached_property
    def extents(self) -> dict[str, int]:
        """Extents of the dims that matter."""
        return {dim: extent for dim, extent in self.operator.main.extents.items() if extent > 1}

    @property
    def extents_of_all(self) -> dict[str, int]:
        """Extents of every dim, those of extent 1 included."""
        return self.operator.main.extents

    @cached_property
    def lanes(self) -> dict[str, int]:
        """Instruction dims that have more than one lane."""
        return {lane: extent for lane, extent in self.pattern.extents.items() if extent > 1}

    @cached_property
    def allowed(self) -> dict[str, tuple[str, ...]]:
        """Dims that may fill each lane dimension, in the order of the box."""
        main = self.operator.main
        return {
            lane: tuple(
                dim
                for dim in allowed_dims(main, self.pattern, self.binding, lane)
                if dim in self.extents and (self.only is None or dim in self.only.get(lane, ()))
            )
            for lane in self.lanes
        }

    @cached_property
    def slides(self) -> tuple[Slide, ...]:
        """Lane dimensions that share elements of an operand."""
        return slides(self.operator.main, self.pattern, self.binding)

    @cached_property
    def reads(self) -> dict[str, Read]:
        """Every access that gets a layout, by name: what is bound, the output first, and the epilogue's reads."""
        accesses = named_accesses(self.operator.main)
        return {**{name: accesses[name] for name in self.binding.operands}, **self.rates.extras}

    def uses(self, tensor: str, dim: str) -> bool:
        return any(index.coefficient(dim) for index in self.reads[tensor].index)

    def pads(self, tensor: str) -> int:
        """Zero words that the load of a tensor can put on either side of a row."""
        return self.instruction.pads.get(self.operand(tensor), 0)

    def operand(self, access: str) -> str:
        """The operand that an access is bound to; what only an epilogue reads lies with the output."""
        return self.binding.operands.get(access, self.pattern.output.tensor)

    def shape(self, access: str) -> tuple[int, ...]:
        """Shape of the tensor that an access reads or writes."""
        known = {t.name: t.shape for t in (*self.operator.inputs, *self.operator.main.tensors)}
        return known[self.reads[access].tensor]
