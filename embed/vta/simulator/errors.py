"""What stops a simulation."""

from dataflow.errors import UserError


class SimulationError(UserError):
    """A program did what VTA cannot do; the message names the instruction, what it did and the limit."""

    def __init__(self, index: int, text: str) -> None:
        super().__init__(f"instruction {index}: {text}")
        self.index = index
