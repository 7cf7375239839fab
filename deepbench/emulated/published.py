"""Times that DeepBench published for CPUs, beside the problems that they are of."""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files

from deepbench.problems import Problem

SUSPECT = "SUSPECT"
"""Marks rows that are not comparable: the program that timed convolutions on the Raspberry Pi 3 swaps C and N."""

_DEVICE = re.compile(r".*\((\d+)x (\S+) [\d.]+GHz\)")


@dataclass(frozen=True, slots=True)
class Published:
    """One time: the device, its cores (their name as ISA files write it, and how many), and how it was computed."""

    device: str
    core: str
    cores: int
    milliseconds: float
    how: str


def published(problem: Problem) -> list[Published]:
    """The comparable times of a matrix product, on devices whose core has a name."""
    if problem.op != "gemm":
        return []
    sizes = dict(problem.sizes)
    wanted = {name: str(sizes[name]) for name in "mnk"}
    wanted |= {name: "T" if sizes[f"transpose_{name[0]}"] else "N" for name in ("a_t", "b_t")}
    return [found for suite, given, found in _rows() if suite == problem.suite and given == wanted]


def _rows() -> Iterator[tuple[str, dict[str, str], Published]]:
    """Suite, sizes and time of each matrix product."""
    text = files("deepbench").joinpath("problems", "published_cpu_arm.csv").read_text(encoding="utf-8")
    for row in csv.DictReader(text.splitlines()):
        device = _DEVICE.fullmatch(row["device"])
        if row["op"] == "gemm" and device and SUSPECT not in row["precision_lib"]:
            given = dict(part.split("=") for part in row["problem"].split(";"))
            core = device[2].lower()
            yield (
                row["suite"],
                given,
                Published(row["device"], core, int(device[1]), float(row["time_ms"]), row["precision_lib"]),
            )
