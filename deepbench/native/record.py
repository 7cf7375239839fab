"""One problem's result on this machine's CPU: how fast, how right, beside the machine's limits and the peers."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from deepbench.native.race import Race
from embed.cli.record import JsonRecord


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

    @property
    def reached(self) -> float | None:
        """The share of the nearer limit: the peak, or for products of few columns reading the weights."""
        if self.share is None or self.group != "gemm n<=4":
            return self.share
        return max(self.share, self.bandwidth_share or 0.0)


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
