"""Pictures with two axes, as SVG without a script."""

from collections.abc import Iterator, Sequence
from html import escape
from math import ceil, floor, log2, log10

WIDTH, HEIGHT, MARGIN = 720, 400, 56

_LOG = {10: log10, 2: log2}


class Axis:
    """A logarithmic axis from `low` to `high`, powers of its base (10 or 2), drawn from `start` to `end`."""

    def __init__(self, low: float, high: float, start: float, end: float, base: int = 10) -> None:
        self.low, self.high, self.start, self.end, self.base = low, high, start, end, base

    @classmethod
    def over(cls, values: Sequence[float], start: float, end: float, base: int = 10) -> "Axis":
        logs = [_LOG[base](value) for value in values if value > 0] or [0.0]
        low, high = floor(min(logs)), ceil(max(logs))
        return cls(float(base) ** low, float(base) ** max(high, low + 1), start, end, base)

    def __call__(self, value: float) -> float:
        part = (log10(value) - log10(self.low)) / (log10(self.high) - log10(self.low))
        return self.start + part * (self.end - self.start)

    @property
    def powers(self) -> list[float]:
        log = _LOG[self.base]
        return [float(self.base) ** power for power in range(round(log(self.low)), round(log(self.high)) + 1)]


def grid(x: Axis, y: Axis) -> Iterator[str]:
    """Lines and numbers of both axes."""
    for value in x.powers:
        place = f'x1="{x(value):.1f}" x2="{x(value):.1f}" y1="10" y2="{HEIGHT - MARGIN}"'
        yield f'<line {place} stroke="#e5e7eb"/>'
        yield f'<text x="{x(value):.1f}" y="{HEIGHT - MARGIN + 16}" text-anchor="middle">{value:.12g}</text>'
    yield from ticks(y)


def ticks(y: Axis) -> Iterator[str]:
    """Lines and numbers of the axis that goes up."""
    for value in y.powers:
        yield f'<line x1="{MARGIN}" x2="{WIDTH - 10}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="#e5e7eb"/>'
        yield f'<text x="{MARGIN - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.12g}</text>'


def figure(title: str, across: str, up: str, shapes: Sequence[str]) -> str:
    """The picture of some SVG elements, under a title, with what its axes mean."""
    labels = (
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 14}" text-anchor="middle">{escape(across)}</text>'
        f'<text transform="translate(14 {HEIGHT / 2}) rotate(-90)" text-anchor="middle">{escape(up)}</text>'
    )
    picture = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}">{"".join(shapes)}{labels}</svg>'
    return f"<h3>{escape(title)}</h3>{picture}"
