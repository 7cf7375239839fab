"""The members of an [[instruction]] entry, those it takes from the entry it is like included."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from isa.context import identifier
from isa.node import Node

_WORD = re.compile(r"\w+")
_BITS = ("format", "encoding")
_OWN = ("emit",)
"""What an entry never takes from the one it is like: another operation has another name."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Members by key; `own` are the keys written in the entry itself, `settings` the members of `set`."""

    node: Node
    name: str
    members: dict[str, Node]
    own: frozenset[str]
    settings: dict[str, Node]
    base: "Entry | None" = None

    def text(self, key: str) -> str:
        """A text member, empty if it is not there."""
        return self.members[key].text() if key in self.members else ""

    def texts(self, key: str) -> tuple[str, ...]:
        """A member that is a text or several."""
        return self.members[key].texts() if key in self.members else ()

    def table(self, key: str) -> dict[str, Node]:
        """The members of a table member, empty if it is not there; operands add to those of the entry it is like."""
        found = dict(self.members[key].items()) if key in self.members else {}
        if self.base and key == "operands":
            words = set(_WORD.findall(" ".join(self.texts("pattern"))))
            return {**{name: node for name, node in self.base.table(key).items() if name in words}, **found}
        return found

    def has_own(self, key: str, name: str) -> bool:
        """Whether a member of a table member is written in the entry itself."""
        return key in self.own and name in dict(self.members[key].items())

    def inner(self, key: str, name: str) -> Node:
        """A member of a table member, to point at."""
        return self.table(key)[name]


def read_entry(node: Node, before: Mapping[str, Entry]) -> Entry:
    """An entry, given those above it."""
    own = node.members("instruction")
    node.require(own, "instruction")
    name = identifier(own["name"], own["name"].text())
    if name in before:
        raise own["name"].error(f"there is already an entry '{name}'")
    settings = dict(own["set"].items()) if "set" in own else {}
    if "like" not in own:
        return Entry(node, name, own, frozenset(own), settings)
    base = _base(own["like"], before)
    inherited = {key: value for key, value in base.members.items() if key not in _OWN}
    if any(key in own for key in _BITS):
        inherited = {key: value for key, value in inherited.items() if key not in _BITS}
    else:
        settings = {**base.settings, **settings}
    return Entry(node, name, {**inherited, **own}, frozenset(own), settings, base)


def _base(like: Node, before: Mapping[str, Entry]) -> Entry:
    name = like.text()
    if name not in before:
        from_here = ", ".join(before) or "none"
        raise like.error(f"there is no entry '{name}' above; there are: {from_here}")
    if "like" in before[name].own:
        raise like.error(f"'{name}' is itself like '{before[name].text('like')}': name that entry")
    return before[name]
