"""Means of what records hold."""

from collections.abc import Iterable
from math import exp, log


def geomean(values: Iterable[float | int | None]) -> float | None:
    """Geometric mean of the positive values there are; None of none."""
    logs = [log(value) for value in values if value]
    return exp(sum(logs) / len(logs)) if logs else None
