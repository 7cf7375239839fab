"""Pages in headless Chromium: what every page of ours must do."""

import shutil
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
NARROW = 390
"""Pixels: a telephone."""


def check_page(browser: Any, path: Path) -> Any:
    """Open a page; nothing may reach the console or the network, and a narrow screen must not scroll sideways.

    Returns the tab, at a desk's width and in light colours.
    """
    _opened(browser, path, "dark").close()
    return _opened(browser, path, "light")


def _opened(browser: Any, path: Path, scheme: str) -> Any:
    tab = browser.new_page(color_scheme=scheme)
    said: list[str] = []
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("request", lambda request: said.append(request.url) if not request.url.startswith("file:") else None)
    tab.set_viewport_size({"width": NARROW, "height": 844})
    tab.goto(path.as_uri())
    assert tab.evaluate(_BEYOND, NARROW) == []
    assert _contrast(tab) >= 4.5
    tab.set_viewport_size({"width": 1280, "height": 900})
    assert said == []
    return tab


_BEYOND = """width => document.documentElement.scrollWidth <= width ? [] : [...document.querySelectorAll("body *")]
  .filter(each => !each.closest(".scroll") && each.getBoundingClientRect().right > width)
  .map(each => each.outerHTML.slice(0, 80))"""
"""What reaches beyond a screen outside boxes that scroll."""


def _contrast(tab: Any) -> float:
    """Of the text to the paper, as WCAG counts it: (L1 + 0.05) / (L2 + 0.05)."""
    style = tab.evaluate("(s => [s.color, s.backgroundColor])(getComputedStyle(document.body))")
    light, dark = sorted((_luminance(colour) for colour in style), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    """Relative luminance of rgb(r, g, b)."""
    parts = [int(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
