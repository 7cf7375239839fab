"""Why a kernel is below the peak: for each cause the share that it alone would allow, computed from the kernel."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

from deepbench.native.record import NativeRecord
from embed.cpu.kernel import CpuKernel

_NOTABLE = 0.97
_STORE_SLOTS = 2
"""A store takes the time of two multiply-accumulates: one a cycle, not two."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Measured: operations and bytes per second, sums in flight that reach the peak, seconds of an empty call."""

    peak: float
    bandwidth: float
    chains: float
    call_seconds: float


def losses(kernel: CpuKernel, record: NativeRecord, limits: Limits) -> dict[str, float]:
    """The bound by cause, 1 where it costs nothing."""
    full, ragged, count = _register_tile(kernel, limits.chains)
    steps = _steps(kernel)
    seconds = record.seconds or 1.0
    tiles = kernel.tiles
    return {
        "memory": min(1.0, record.intensity * limits.bandwidth / limits.peak),
        "idle lanes": kernel.embedding.utilisation,
        "register tile": full,
        "edges": ragged / full,
        "short reduction": steps / (steps + _STORE_SLOTS + limits.chains / count),
        "copied input": 1 - min(0.99, (record.prepare_s or 0.0) / seconds),
        "call": 1 - min(0.99, limits.call_seconds / seconds),
        "uneven threads": tiles / (-(-tiles // record.threads) * record.threads),
    }


def cause(record: NativeRecord) -> str:
    """The notable losses, the largest first, and what they leave open."""
    notable = sorted((share, name) for name, share in record.losses.items() if share < _NOTABLE)
    said = [f"{name} {share:.2f}{_detail(name, record)}" for share, name in notable]
    rest = (record.share or 0.0) / prod(record.losses.values()) if record.losses else 0.0
    said += [f"{1 - record.real_taps:.0%} padding taps"] if record.real_taps < _NOTABLE else []
    return ", ".join([*said, f"the rest {rest:.2f}"])


def _detail(name: str, record: NativeRecord) -> str:
    if name == "memory":
        return f" ({record.intensity:.1f} op/byte, {record.bytes / 1e6:.1f} MB)"
    return ""


def _steps(kernel: CpuKernel) -> int:
    """Multiply-accumulates that follow each other in one sum."""
    results = set(kernel.embedding.result_loops)
    return prod(loop.extent for loop in kernel.embedding.loops if loop.name not in results)


def _register_tile(kernel: CpuKernel, chains: float) -> tuple[float, float, int]:
    """The share that a whole register tile allows, that all tiles with their rests allow, and the sums of a tile."""
    extents = {loop.name: loop.extent for loop in kernel.embedding.loops}
    tiles = {name: kernel.schedule.tiles[name] for name in kernel.embedding.result_loops}
    uses = _uses(kernel)
    pieces = [_pieces(extents[name], size) for name, size in tiles.items()]
    needed = done = 0.0
    for choice in product(*pieces):
        sizes = dict(zip(tiles, (size for _, size in choice), strict=True))
        count = prod(number for number, _ in choice)
        done += count * prod(sizes.values())
        needed += count * _slots(sizes, uses, chains)
    whole = prod(tiles.values())
    return whole / _slots(tiles, uses, chains), done / needed, whole


def _pieces(extent: int, size: int) -> list[tuple[int, int]]:
    """(how many, their size) of the whole pieces and of the rest."""
    full, rest = divmod(extent, size)
    return [(count, piece) for count, piece in ((full, size), (1, rest)) if count and piece]


def _slots(sizes: Mapping[str, int], uses: Sequence[frozenset[str]], chains: float) -> float:
    """Slots for multiply-accumulates that one step of a tile takes: a load takes as long as one, a sum waits."""
    loads = sum(prod(size for name, size in sizes.items() if name in loops) for loops in uses)
    return max(prod(sizes.values()), loads, chains)


def _uses(kernel: CpuKernel) -> list[frozenset[str]]:
    """The loops that move each input."""
    main = kernel.operator.main
    found = []
    for _, tensor in kernel.embedding.binding.pairs[1:]:
        used = {dim for index in main.accesses[tensor].index for dim in index.dims}
        found.append(frozenset(loop.name for loop in kernel.embedding.loops if used & set(loop.dims)))
    return found
