"""When a search ends: after an effort that is the same on every machine, and at the latest at a time by the clock."""

import time

_EFFORT = 0.1
"""CP-SAT's deterministic time for each second of a limit: idle machines take a quarter of the second, or all of it."""

_MODEL = 0.001
"""Effort of building a model, 10 ms, in the same unit."""

_LEAST = 0.1
"""Seconds for what must be found where all others took all the time."""


class Deadline:
    """A time limit of some seconds, spent as effort. What the clock ends first, on a busy machine, may vary."""

    def __init__(self, seconds: float) -> None:
        self.limit = seconds
        self.effort = _EFFORT * seconds
        self.end = time.perf_counter() + seconds

    @property
    def seconds(self) -> float:
        """What is left by the clock, less than 0 where it has struck."""
        return self.end - time.perf_counter()

    @property
    def passed(self) -> bool:
        """Whether nothing is left."""
        return self.effort <= 0 or self.seconds <= 0

    @property
    def struck(self) -> bool:
        """Whether the clock ended the search with effort left: another run may come further."""
        return self.effort > 0 and self.seconds <= 0

    @property
    def remaining(self) -> "Deadline":
        """This limit, or where nothing is left a short one for what must be found."""
        return Deadline(_LEAST) if self.passed else self

    def spend(self, solving: float = 0) -> None:
        """A model was built and solved, for some deterministic time; or something else done that takes as long."""
        self.effort -= _MODEL + solving

    def at_least(self, seconds: float) -> "Deadline":
        """The same, or a limit of some seconds from now where less is left."""
        other = Deadline(seconds)
        other.effort = max(other.effort, self.effort)
        other.end = max(other.end, self.end)
        return other
