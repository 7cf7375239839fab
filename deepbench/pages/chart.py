"""Pictures with two axes, as SVG without a script."""

from collections.abc import Iterator, Sequence
from html import escape
from math import ceil, floor, log2, log10

WIDTH, HEIGHT, MARGIN = 720, 400, 64

_LEGIBLE = 560
"""Pixels; a picture that is narrower has letters that are too small."""

_HALF = 24
"""Pixels that half a number takes at most."""

_LOG = {10: log10, 2: log2}


class Axis:
    """A logarithmic axis from `low` to `high`, drawn from `start` to `end`.

    It has numbers at the powers of its base, 10 or 2, written in `form`.
    """

    def __init__(self, low: float, high: float, start: float, end: float, base: int = 10, form: str = ".12g") -> None:
        self.low, self.high, self.start, self.end, self.base, self.form = low, high, start, end, base, form

    @classmethod
    def over(cls, values: Sequence[float], start: float, end: float, base: int = 10, form: str = ".12g") -> "Axis":
        logs = [_LOG[base](value) for value in values if value > 0] or [0.0]
        low, high = floor(min(logs)), ceil(max(logs))
        return cls(float(base) ** low, float(base) ** max(high, low + 1), start, end, base, form)

    def __call__(self, value: float) -> float:
        part = (log10(value) - log10(self.low)) / (log10(self.high) - log10(self.low))
        return self.start + part * (self.end - self.start)

    @property
    def powers(self) -> list[float]:
        log = _LOG[self.base]
        return [float(self.base) ** power for power in range(ceil(log(self.low)), floor(log(self.high)) + 1)]

    def shown(self, value: float) -> str:
        """A number of the axis, large ones in thousands (k) or millions (M)."""
        if value >= 1e6:
            return f"{value / 1e6:.3g}M"
        return f"{value / 1e3:.3g}k" if value >= 1e4 else f"{value:{self.form}}"


def grid(x: Axis, y: Axis) -> Iterator[str]:
    """Lines and numbers of both axes."""
    for value in x.powers:
        place = f'x1="{x(value):.1f}" x2="{x(value):.1f}" y1="10" y2="{HEIGHT - MARGIN}"'
        yield f'<line {place} class="grid"/>'
        anchor = "end" if x(value) > WIDTH - _HALF else "middle"
        yield f'<text x="{x(value):.1f}" y="{HEIGHT - MARGIN + 18}" text-anchor="{anchor}">{x.shown(value)}</text>'
    yield from ticks(y)


def ticks(y: Axis) -> Iterator[str]:
    """Lines and numbers of the axis that goes up."""
    for value in y.powers:
        yield f'<line x1="{MARGIN}" x2="{WIDTH - 10}" y1="{y(value):.1f}" y2="{y(value):.1f}" class="grid"/>'
        yield f'<text x="{MARGIN - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{y.shown(value)}</text>'


def note(x: float, y: float, text: str, anchor: str = "start") -> str:
    """Words inside a picture."""
    return f'<text class="note" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def figure(title: str, across: str, up: str, shapes: Sequence[str]) -> str:
    """The picture of some SVG elements, under a title, with what its axes mean; a narrow screen scrolls it."""
    labels = (
        f'<text x="{(MARGIN + WIDTH) / 2}" y="{HEIGHT - 10}" text-anchor="middle">{escape(across)}</text>'
        f'<text transform="translate(14 {(HEIGHT - MARGIN) / 2}) rotate(-90)" text-anchor="middle">{escape(up)}</text>'
    )
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" style="min-width:{_LEGIBLE}px;max-width:100%"'
    picture = f'<svg {size} role="img" aria-label="{escape(title)}">{"".join(shapes)}{labels}</svg>'
    return f'<h3>{escape(title)}</h3><div class="scroll">{picture}</div>'
