"""An operator: what the user wants computed, as one computation and the element-wise statements that follow it."""

from dataclasses import dataclass

from dataflow.computation import Computation, Tensor


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
    def inputs(self) -> tuple[Tensor, ...]:
        """Tensors that no statement writes, in order of first use."""
        written = {statement.output.tensor for statement in self.statements}
        found = {tensor.name: tensor for statement in self.statements for tensor in statement.inputs}
        return tuple(tensor for name, tensor in found.items() if name not in written)

    def __str__(self) -> str:
        return "; ".join(map(str, self.statements))

    @property
    def title(self) -> str:
        """Name and sizes, as on the command line."""
        return " ".join([self.name, *(f"{key}={value}" for key, value in self.parameters)])
