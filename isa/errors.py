"""The one error a user of an ISA file sees."""

from collections.abc import Iterable

from dataflow.errors import UserError


class IsaError(UserError):
    """A mistake in an ISA file or in a value given to it: the message says where, what, and what would be right."""


def listing(names: Iterable[str]) -> str:
    """The names that would be right, for the end of a message: `a, b, c`, or `none`."""
    return ", ".join(names) or "none"
