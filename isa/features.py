"""What the CPU of this machine can do, by the names that the operating system gives its features."""

import platform
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from dataflow.errors import UserError
from isa.errors import listing

_CPUINFO = Path("/proc/cpuinfo")
_KEYS = ("flags", "Features")


@cache
def cpu_features() -> frozenset[str]:
    """The features of /proc/cpuinfo (`flags` on x86, `Features` on Arm) that every core has.

    Linux lists only features whose registers it saves. Raises UserError on other systems.
    """
    if not _CPUINFO.exists():
        system = f"{platform.system()} on {platform.machine()}"
        raise UserError(f"the CPU features of {system} cannot be looked up: native code runs on Linux")
    return parse_cpuinfo(_CPUINFO.read_text(encoding="utf-8", errors="replace"))


def parse_cpuinfo(text: str) -> frozenset[str]:
    """The features that all cores of such a text have."""
    rows = [line.partition(":") for line in text.splitlines()]
    cores = [frozenset(value.split()) for key, _, value in rows if key.strip() in _KEYS]
    return frozenset.intersection(*cores) if cores else frozenset()


def require(what: str, missing: Iterable[str]) -> None:
    """Raise UserError if features are missing for `what` to run here."""
    names = listing(missing)
    if names != "none":
        raise UserError(f"{what} cannot run on this CPU, which lacks: {names}")
