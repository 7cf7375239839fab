"""Where every key and value of a TOML text stands: tomllib gives values, this gives their places.

The text must already have been accepted by tomllib (with `\\r\\n` made `\\n`), so the scanner checks nothing.
"""

import re
from dataclasses import dataclass

Path = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_INLINE_BLANK = re.compile(r"[ \t]*")
_BARE = re.compile(r"[^\s=.\[\]{},#\"']+")
_SCALAR = re.compile(r"[^\n,\]}#]+")
_STRINGS = (
    re.compile(r'"""\n?((?:[^\\]|\\.)*?"{0,2})"""(?!")', re.DOTALL),
    re.compile(r"'''\n?(.*?'{0,2})'''(?!')", re.DOTALL),
    re.compile(r'"((?:[^"\\\n]|\\.)*)"'),
    re.compile(r"'([^'\n]*)'"),
)


@dataclass(frozen=True, slots=True)
class Place:
    """Offsets into the text: of the key, the value, and a string value's first character (None if it has escapes)."""

    key: int
    value: int
    content: int | None = None


def locate(text: str) -> dict[Path, Place]:
    """The place of every key and value, by path: `("instruction", 0, "operands", "acc", "in")`."""
    scanner = _Scanner(text)
    scanner.document()
    return scanner.places


def line_and_column(text: str, offset: int) -> tuple[int, int]:
    """The 1-based line and column of an offset."""
    start = text.rfind("\n", 0, offset) + 1
    return text.count("\n", 0, offset) + 1, offset - start + 1


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.places: dict[Path, Place] = {}
        self.lengths: dict[Path, int] = {}

    def document(self) -> None:
        table: Path = ()
        self._skip(_BLANK)
        while self.at < len(self.text):
            if self.text[self.at] == "[":
                table = self._header()
            else:
                self._pair(table)
            self._skip(_BLANK)

    def _header(self) -> Path:
        start, array = self.at, self.text.startswith("[[", self.at)
        self.at += 2 if array else 1
        keys = [key for key, _ in self._keys()]
        self.at += 2 if array else 1
        parent = self._resolved(keys[:-1])
        path = (*parent, keys[-1])
        if array:
            self.lengths[path] = self.lengths.get(path, -1) + 1
            self.places.setdefault(path, Place(start, start))
            path = (*path, self.lengths[path])
        elif path in self.lengths:
            path = (*path, self.lengths[path])
        self.places.setdefault(path, Place(start, start))
        return path

    def _resolved(self, keys: list[str]) -> Path:
        path: Path = ()
        for key in keys:
            path = (*path, key)
            if path in self.lengths:
                path = (*path, self.lengths[path])
        return path

    def _pair(self, table: Path) -> None:
        path, key_start = table, self.at
        for key, key_start in self._keys():
            path = (*path, key)
            self.places.setdefault(path, Place(key_start, key_start))
        self.at += 1
        self._skip(_INLINE_BLANK)
        self._value(path, key_start)

    def _keys(self) -> list[tuple[str, int]]:
        keys = []
        while True:
            self._skip(_INLINE_BLANK)
            start = self.at
            keys.append((self._key(), start))
            self._skip(_INLINE_BLANK)
            if not self.text.startswith(".", self.at):
                return keys
            self.at += 1

    def _key(self) -> str:
        if self.text[self.at] in "\"'":
            return self._string()[0]
        return self._skip(_BARE)

    def _value(self, path: Path, key: int) -> None:
        start, first = self.at, self.text[self.at]
        if first in "\"'":
            raw, content = self._string()
            escaped = first == '"' and "\\" in raw
            self.places[path] = Place(key, start, None if escaped else content)
            return
        self.places[path] = Place(key, start)
        if first == "[":
            self._array(path)
        elif first == "{":
            self._inline_table(path)
        else:
            self._skip(_SCALAR)

    def _array(self, path: Path) -> None:
        self.at += 1
        self._skip(_BLANK)
        count = 0
        while self.text[self.at] != "]":
            self._value((*path, count), self.at)
            count += 1
            self._separator()
        self.at += 1

    def _inline_table(self, path: Path) -> None:
        self.at += 1
        self._skip(_BLANK)
        while self.text[self.at] != "}":
            self._pair(path)
            self._separator()
        self.at += 1

    def _separator(self) -> None:
        self._skip(_BLANK)
        if self.text[self.at] == ",":
            self.at += 1
            self._skip(_BLANK)

    def _string(self) -> tuple[str, int]:
        for pattern in _STRINGS:
            match = pattern.match(self.text, self.at)
            if match:
                self.at = match.end()
                return match.group(1), match.start(1)
        raise AssertionError("tomllib accepted a text whose strings this scanner cannot read")

    def _skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.at)
        self.at = match.end() if match else self.at
        return match.group() if match else ""
