"""What tables of suites have in common: how numbers, sizes and checks are shown, and what went wrong."""

from collections.abc import Iterable, Iterator, Sequence
from statistics import median
from typing import Protocol

from deepbench.problems import Problem


class Checked(Protocol):
    """What a record says about its result."""

    @property
    def problem(self) -> str: ...

    @property
    def error(self) -> str: ...

    @property
    def checked(self) -> bool | None: ...

    @property
    def executed(self) -> str: ...


class Compiled(Protocol):
    """What a record says about how long its kernel took to make."""

    @property
    def compile_s(self) -> float | None: ...


def complaints(records: Sequence[Checked]) -> Iterator[str]:
    """A line for each problem that has no result or a wrong one."""
    yield from filter(None, map(complaint, records))


def complaint(record: Checked) -> str:
    """Why a problem has no result, or that it has a wrong one; empty where all is well."""
    if record.error:
        return f"{record.problem}: {record.error}"
    return "" if record.checked else f"{record.problem}: the result differs from the reference"


def compile_times(records: Iterable[Compiled]) -> Iterator[str]:
    """How long kernels took to make, if any was made."""
    times = [record.compile_s * 1000 for record in records if record.compile_s is not None]
    if times:
        yield f"compile time: median {median(times):.1f} ms, max {max(times):.0f} ms"


def sizes(problem: Problem) -> str:
    """The operator's sizes in one line."""
    return " ".join(f"{key}={value}" for key, value in problem.operator().parameters if key != "shift")


def shown_check(record: Checked) -> str:
    """Whether what ran was right, and how much ran."""
    if record.checked is None:
        return "-"
    return ("yes" if record.executed == "full" else record.executed) if record.checked else "[red]no[/red]"


def milliseconds(seconds: float | None) -> str:
    """Seconds as milliseconds; a dash for None."""
    return "-" if seconds is None else f"{seconds * 1000:.1f}"


def shown_share(value: float | None) -> str:
    """Three places; a dash for None."""
    return "-" if value is None else f"{value:.3f}"


def shown_count(value: float | None) -> str:
    """Without places; a dash for None."""
    return "-" if value is None else f"{value:,.0f}"
