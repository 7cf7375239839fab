"""Places of keys and values, compared with what tomllib reads at those places."""

import tomllib
from pathlib import Path
from typing import Any

import isa
from isa.positions import locate

TRICKY = '''
# a comment with [brackets] and "quotes"
title = "a # no comment"   # a comment
a.b . "c d" = 3
'literal key' = 'C:\\path'
multi = """
  first
second "quoted" """
raw = \'\'\'
don''t [stop]\'\'\'
escaped = "tab\\there"
empty = ""
list = [ 1, [2, "x]y"], # comment ]
  { k = "v", deep.er = [true] },
]
date = 1979-05-27T07:32:00Z
[table]
x = 1
[table.inner."quoted part"]
y = -2.5e3
[[rows]]
n = 1
sub = { p = { q = 7 } }
[rows.more]
z = 0x1F
[[rows.parts]]
w = 1
[[rows.parts]]
w = 2
[[rows]]
n = 2
[[rows.parts]]
w = 3
'''


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> dict[tuple[str | int, ...], Any]:
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        return {key: leaf for name, item in pairs for key, leaf in leaves(item, (*path, name)).items()}
    return {path: value}


def check(text: str) -> None:
    places = locate(text)
    for path, value in leaves(tomllib.loads(text)).items():
        place = places[path]
        rest = text[place.value :]
        if isinstance(value, str):
            content = text[place.content :] if place.content is not None else ""
            assert rest[0] in "\"'"
            assert place.content is None or content.startswith(value)
        else:
            length = next(n for n in range(1, 40) if read(rest[:n]) == value and not rest[n : n + 1].strip(",]} \n#"))
            assert read(rest[:length]) == value
        key = next(part for part in reversed(path) if isinstance(part, str))
        assert text[place.key :].lstrip("\"'").startswith(key) or isinstance(path[-1], int)


def read(text: str) -> Any:
    try:
        return tomllib.loads(f"x = {text}")["x"]
    except tomllib.TOMLDecodeError:
        return None


def test_tricky_text() -> None:
    check(TRICKY)
    assert locate(TRICKY)["escaped",].content is None


def test_shipped_files() -> None:
    for name in isa.names():
        check((Path(isa.__file__).parent / f"{name}.toml").read_text(encoding="utf-8"))
