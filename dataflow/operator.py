"""An operator: what the user wants computed, as one computation and the element-wise statements that follow it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from dataflow.arguments import of_kind
from dataflow.computation import Computation, Dim, Tensor


@dataclass(frozen=True, slots=True)
class Operator:
    """`statements[0]` does the work; the others are its epilogue, each reading what the ones before it wrote.

    `parameters` repeat the sizes it was made from, for display.
    """

    name: str
    statements: tuple[Computation, ...]
    parameters: tuple[tuple[str, object], ...] = ()

    @property
    def main(self) -> Computation:
        return self.statements[0]

    @property
    def epilogue(self) -> tuple[Computation, ...]:
        return self.statements[1:]

    @property
    def output(self) -> Tensor:
        """What the last statement writes."""
        return self.statements[-1].tensors[0]

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """What is written and read by no other statement, in the order in which it is written first."""
        written = {statement.output.tensor: statement.tensors[0] for statement in self.statements}
        read = {tensor.name for each in self.statements for tensor in each.inputs if tensor.name != each.output.tensor}
        return tuple(tensor for name, tensor in written.items() if name not in read)

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """Tensors that no statement writes, in order of first use."""
        written = {statement.output.tensor for statement in self.statements}
        found = {tensor.name: tensor for statement in self.statements for tensor in statement.inputs}
        return tuple([tensor for name, tensor in found.items() if name not in written])

    def restricted(self, extents: Mapping[str, int]) -> "Operator":
        """The operator over the first points of some output dims, each an output dimension of its own."""
        main = self.main.restricted({dim: range(extent) for dim, extent in extents.items()})
        shape = main.tensors[0].shape
        parts = []
        for statement in self.epilogue:
            dims = tuple(Dim(dim.name, extent) for dim, extent in zip(statement.dims, shape, strict=True))
            written = (self.main.output.tensor, *(known.output.tensor for known in self.epilogue))
            tensors = tuple(replace(t, shape=shape) if t.name in written else t for t in statement.tensors)
            parts.append(replace(statement, dims=dims, tensors=tensors))
        return Operator(self.name, (main, *parts), self.parameters)

    def __str__(self) -> str:
        return "; ".join(map(str, self.statements))

    @property
    def title(self) -> str:
        """Name and sizes, as on the command line."""
        return " ".join([self.name, *(f"{key}={value}" for key, value in self.parameters)])


def operator_of(value: object) -> Operator:
    """What was given as an operator; raises UserError for anything else."""
    return of_kind("operator", value, Operator, "an operator, such as dataflow.gemm(m=64, n=64, k=64) makes")
