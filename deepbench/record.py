"""One problem's result on this machine's CPU: how fast, how right, beside the machine's limits and the peers."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from deepbench.race import Race
from embed.cli.record import JsonRecord

DONE = "OK"


@dataclass(frozen=True, slots=True)
class NativeRecord(JsonRecord):
    """Times are the best repeats in seconds, rates per second, shares of the best reading of the probe between them.

    `macs` counts padding taps; `real_taps` is the part that are none, and who skips the others may pass the peak.
    `bytes` is every tensor once, `weight_bytes` the weights alone; `bandwidth` is what a
    loop of loads reads from a buffer as large as the weights, which live in `level`. `prepare_s` is the part of a call
    that copies inputs; `speedup` is how many times faster several threads are than one, in the same race. `losses` are
    bounds of the share by cause. A peer is a row with `name`, `seconds`, `gflops`, `share`, `checked` and `note` (why
    there is no number).
    """

    dtype: str
    threads: int
    group: str
    embedding: str = ""
    schedule: str = ""
    macs: int = 0
    real_taps: float = 1.0
    bytes: int = 0
    weight_bytes: int = 0
    compile_s: float | None = None
    seconds: float | None = None
    prepare_s: float | None = None
    speedup: float | None = None
    gflops: float | None = None
    peak_gflops: float | None = None
    peak_lowest: float | None = None
    share: float | None = None
    bandwidth: float | None = None
    level: str = ""
    bytes_per_s: float | None = None
    bandwidth_share: float | None = None
    losses: dict[str, float] = field(default_factory=dict)
    peers: list[dict[str, object]] = field(default_factory=list)
    best_peer: str = ""
    best_peer_share: float | None = None
    ratio: float | None = None
    checked: bool | None = None
    executed: str = "no"
    error: str = ""

    @property
    def intensity(self) -> float:
        """Operations per byte of the tensors."""
        return 2 * self.macs / max(1, self.bytes)


@dataclass(frozen=True, slots=True)
class EmulatedRecord(JsonRecord):
    """What a kernel does on a CPU that is not here: counts are exact and of the whole problem, cycles are estimates.

    `cycles` and `gflops` (at the core's clock) are by core of the ISA file; `memory_cycles` is the part of `cycles`
    in which the tensors come once from where they fit. `published` holds, by core, a time that DeepBench published for
    a machine with such cores: `device`, `cores`, `ms`, `how`. `tiles_run` of the outermost loop's `tiles` were
    executed and compared.
    """

    dtype: str
    group: str
    embedding: str = ""
    schedule: str = ""
    macs: int = 0
    compile_s: float | None = None
    instructions: int = 0
    multiply_accumulates: int = 0
    loads: int = 0
    hot_instructions: int = 0
    hot_multiply_accumulates: int = 0
    hot_loads: int = 0
    cycles: dict[str, int] = field(default_factory=dict)
    memory_cycles: dict[str, int] = field(default_factory=dict)
    gflops: dict[str, float] = field(default_factory=dict)
    published: dict[str, dict[str, object]] = field(default_factory=dict)
    tiles: int = 0
    tiles_run: int = 0
    checked: bool | None = None
    executed: str = "no"
    error: str = ""

    @property
    def instructions_per_mac(self) -> float | None:
        return self.instructions / self.macs if self.instructions else None

    @property
    def hot_share(self) -> float | None:
        """Multiply-accumulates among the instructions of the innermost loops; None where there are no loops."""
        return self.hot_multiply_accumulates / self.hot_instructions if self.hot_instructions else None

    @property
    def loads_per_sum(self) -> float | None:
        """Loads for each multiply-accumulate instruction of the innermost loops."""
        return self.hot_loads / self.hot_multiply_accumulates if self.hot_multiply_accumulates else None


def peer_row(name: str, checked: bool | None = None, note: str = "") -> dict[str, object]:
    """A peer's row of which the rates are still open."""
    return {"name": name, "seconds": None, "gflops": None, "share": None, "checked": checked, "note": note}


def rated(row: Mapping[str, object], found: Race, macs: int) -> dict[str, object]:
    """The row with seconds, GFLOP/s and the share of the peak, if the peer took part in the race."""
    name = str(row["name"])
    if name not in found.turns:
        return dict(row)
    seconds = found.seconds(name)
    return {**row, "seconds": seconds, "gflops": 2 * macs / seconds / 1e9, "share": found.share(name, 2 * macs, "peak")}
