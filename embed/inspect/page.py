"""The page: one file that needs no network."""

import json
from html import escape
from importlib.resources import files

from embed.inspect.data import Value

_HERE = files("embed.inspect")


def page(data: Value) -> str:
    """The HTML text: the shell, its style and script, and the data as JSON."""
    parts = {
        "title": escape(str(data["title"])),
        "style": _read("page.css"),
        "script": _read("page.js"),
        "data": json.dumps(data).replace("</", "<\\/"),
    }
    text = _read("page.html")
    for name, value in parts.items():
        text = text.replace(f"<!-- {name} -->", value, 1)
    return text


def _read(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")
