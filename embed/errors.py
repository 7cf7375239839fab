"""Errors of embedding: no embedding exists, or none was found in time."""

from dataflow.errors import UserError
from embed.progress import Progress


class NoEmbedding(UserError):
    """The instruction cannot be placed in the operator, or the time ran out first; the message says which and why.

    Where the time ran out `progress` is what was proven until then.
    """

    exit_code = 1

    def __init__(self, message: str, progress: Progress | None = None) -> None:
        super().__init__(message)
        self.progress = progress
