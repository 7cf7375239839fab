"""Errors of embedding: no embedding exists, or none was found in time."""

from dataflow.errors import UserError


class NoEmbedding(UserError):
    """The instruction cannot be placed in the operator, or the time ran out first; the message says which and why."""

    exit_code = 1
