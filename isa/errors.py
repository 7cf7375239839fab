"""The one error a user of an ISA file sees: about one mistake, or about all that do not follow from another."""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from dataflow.errors import UserError

MOST = 20
"""Mistakes that one message names."""

_WORD = re.compile(r"\w+")


class IsaError(UserError):
    """A mistake in an ISA file or in a value given to it: the message says where, what, and what would be right.

    `place` is its line and column, zeros where it has none.
    """

    def __init__(self, message: str, place: tuple[int, int] = (0, 0), several: "Sequence[IsaError]" = ()) -> None:
        super().__init__(message)
        self.place = place
        self._several = several

    @property
    def mistakes(self) -> "Sequence[IsaError]":
        """Each of the mistakes that it is about."""
        return self._several or (self,)

    @classmethod
    def of(cls, errors: "Iterable[IsaError]") -> "IsaError":
        """One error about all of these, in the order of the file."""
        every = {str(one): one for error in errors for one in error.mistakes}
        found = sorted(every.values(), key=lambda one: one.place)
        if len(found) == 1:
            return found[0]
        more = [f"and {len(found) - MOST} more"] if len(found) > MOST else []
        return cls("\n".join([*map(str, found[:MOST]), *more]), found[0].place, found)


@dataclass(slots=True)
class Faults:
    """The mistakes found so far; one in what names something that has a mistake itself may follow from it: left out."""

    found: list[IsaError] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)

    @contextmanager
    def item(self, name: str = "", value: object = "") -> Iterator[None]:
        """Around reading the part of a file that is called `name`; its `value` shows what it names."""
        try:
            yield
        except IsaError as error:
            if self.broken.isdisjoint(_words(value)):
                self.found.append(error)
            self.broken |= {name} - {""}

    def check(self) -> None:
        """Raise all of them as one."""
        if self.found:
            raise IsaError.of(self.found)


def _words(value: object) -> list[str]:
    """What a value may name; its description names nothing."""
    if isinstance(value, dict):
        value = {key: each for key, each in value.items() if key != "doc"}
    return _WORD.findall(str(value))


def listing(names: Iterable[str]) -> str:
    """The names that would be right, for the end of a message: `a, b, c`, or `none`."""
    return ", ".join(names) or "none"
