"""One problem on this machine's CPU: compiled, checked, and timed beside the core's limits and the peers."""

import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

import dataflow
import isa
from deepbench.attempt import attempt, blank, one_line
from deepbench.native import peers
from deepbench.native.causes import Limits, losses
from deepbench.native.check import Reference, problem_arrays, reference
from deepbench.native.race import Race, fastest, race
from deepbench.native.record import NativeRecord, peer_row, rated
from deepbench.problems import WEIGHTS, Problem
from deepbench.suite import DONE, NativeSettings, Task
from embed.cli.files import Array
from embed.cpu.compile import compile_cpu
from embed.cpu.kernel import Bound, CpuKernel
from embed.cpu.measuring import probe
from isa.model import Isa

LAYOUTS = {
    "conv": {"inp": "NHWC", "out": "NHWC"},
    "gemm": {"a": "CR", "b": "CR", "out": "CR"},
}
"""How DeepBench's tensors lie: channels last, column-major matrices. Weights are packed once, however they lie."""

_AS_GIVEN = ("small_gemm",)
"""Suites whose tensors are all row-major and given with each call."""

OURS = "isa-embed"
ALONE = "one thread"
"""A kernel of one thread, timed beside one of several."""

SMALL_BATCH = 4
"""Products of at most so many columns read each weight so few times that reading bounds them."""

_LARGE_BATCH = 700
_NARROW = {"i8": "i8", "bf16": "bf16", "f16": "f16:f16"}
"""What is multiplied, the best first, and how the operator library writes it: half precision sums in itself."""

_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_MIXED = {"conv": "u8*i8", "gemm": "i8*u8"}
"""Activations u8, weights i8: what byte dot products multiply."""


@dataclass(frozen=True)
class _Ready:
    """A problem that is compiled, with its data and its reference."""

    kernel: CpuKernel
    arrays: Mapping[str, Array]
    fixed: tuple[str, ...]
    out: Array
    compile_s: float
    expected: Reference
    work: peers.Work

    def run(self) -> object:
        """One call, the arrays checked before."""
        return self.bound()

    @cached_property
    def bound(self) -> Bound:
        """The kernel with the inputs that are not fixed, and the output."""
        return self.kernel.bind(*self.free, out=self.out)

    @property
    def free(self) -> list[Array]:
        """The inputs that each call is given."""
        return [array for name, array in self.arrays.items() if name not in self.fixed]


def run_native(task: Task) -> NativeRecord:
    """The record of one problem, whatever happens."""
    problem, settings = task.problem, task.settings
    assert isinstance(settings, NativeSettings)
    empty = blank(NativeRecord, problem, settings, dtype="", threads=settings.threads, group=group_of(problem))

    def work() -> NativeRecord:
        target = isa.load(settings.isa, dict(settings.parameters))
        return _measured(problem, settings, target, replace(empty, dtype=dtype_of(target)))

    return attempt(empty, work)


def dtype_of(target: Isa) -> str:
    """What the ISA's best multiply-accumulate multiplies: i8 (i8*i8 where both are signed), bf16, f16:f16 or f32."""
    found = [{tensor.dtype for tensor in _inputs(target, name)} for name in probe.compute_entries(target)]
    if {"i8"} in found:
        return "i8*i8"
    return next((written for dtype, written in _NARROW.items() if any(dtype in each for each in found)), "f32")


def operator_of(problem: Problem, dtype: str) -> dataflow.Operator:
    """The problem without an epilogue: its sums, in the accumulator's type."""
    found: dataflow.Operator = _builder(problem, dtype)(**dict(problem.sizes))
    return found


def real_taps(operator: dataflow.Operator) -> float:
    """The part of the multiply-accumulates that read an element of every input, not the zeros around it."""
    main = operator.main
    found = 1.0
    for tensor in main.inputs:
        for index, size in zip(main.accesses[tensor.name].index, tensor.shape, strict=True):
            places = np.array(index.constant)
            for dim, coefficient in index.terms:
                places = np.add.outer(places, coefficient * np.arange(main.extents[dim]))
            found *= float(np.mean((places >= 0) & (places < size)))
    return found


def layouts_of(problem: Problem) -> Mapping[str, str]:
    """How the problem's tensors lie; row-major where not said."""
    return {} if problem.suite in _AS_GIVEN else LAYOUTS[problem.op]


def constants_of(problem: Problem) -> tuple[str, ...]:
    """The inputs that are packed when the kernel is made."""
    return () if problem.suite in _AS_GIVEN else (WEIGHTS[problem.op],)


def group_of(problem: Problem) -> str:
    """conv, or matrix products by what bounds them."""
    if problem.suite in _AS_GIVEN:
        return problem.op
    batch = int(str(dict(problem.sizes)["n"]))
    if problem.op == "conv":
        return "conv"
    return "gemm n<=4" if batch <= SMALL_BATCH else "gemm n>=700" if batch >= _LARGE_BATCH else "gemm other"


def prepared(problem: Problem, target: Isa, dtype: str, threads: int, seed: int) -> "_Ready":
    """Compile a problem, make its data, and compute its reference."""
    operator = operator_of(problem, dtype)
    fixed = constants_of(problem)
    start = time.perf_counter()
    kernel = compile_cpu(operator, target, layouts=layouts_of(problem), threads=threads, constants=fixed)
    _ = kernel.function_past if kernel.past else kernel.function
    compile_s = time.perf_counter() - start
    seed += zlib.crc32(problem.name.encode())
    random = problem_arrays(operator, seed)
    arrays = {name: _laid(kernel, name, array) for name, array in random.items()}
    expected = reference(operator, _builder(problem, dtype), dict(problem.sizes), arrays, seed)
    kernel.fix(**{name: arrays[name] for name in fixed})
    work = peers.Work(problem.op, dict(problem.sizes), dtype, threads, arrays)
    return _Ready(kernel, arrays, fixed, _room(kernel), compile_s, expected, work)


def _alone(ready: _Ready, problem: Problem, target: Isa) -> _Ready:
    """The same problem for one thread, with the same data."""
    kernel = compile_cpu(ready.kernel.operator, target, layouts=layouts_of(problem), constants=ready.fixed)
    kernel.fix(**{name: ready.arrays[name] for name in ready.fixed})
    return replace(ready, kernel=kernel, out=_room(kernel))


def _room(kernel: CpuKernel) -> Array:
    """A result that is written to, so that its pages are there."""
    out = kernel.physical[kernel.operator.output.name].empty()
    out[...] = 0
    return out


def _offers(problem: Problem, ready: _Ready) -> Sequence[peers.Offer]:
    """The peers; they are given no groups."""
    return () if "groups" in dict(problem.sizes) else peers.offers(ready.work)


def _measured(problem: Problem, settings: NativeSettings, target: Isa, blank: NativeRecord) -> NativeRecord:
    ready = prepared(problem, target, blank.dtype, settings.threads, settings.seed)
    blank = _described(blank, ready)
    ready.run()
    if not ready.expected.holds(ready.out):
        return replace(blank, status=DONE, checked=False, executed=ready.expected.executed)
    runners: dict[str, Callable[[], object]] = {OURS: ready.run}
    if settings.threads > 1:
        runners[ALONE] = _alone(ready, problem, target).run
    rows = [_enter(offer, ready, runners) for offer in (_offers(problem, ready) if settings.peers else ())]
    entry = ready.kernel.embedding.name
    size = blank.weight_bytes if blank.group == "gemm n<=4" else blank.bytes
    probes = {
        "peak": _peak(settings.isa, entry, settings.threads).burst,
        "read": probe.read_bandwidth(target, size, settings.threads).burst,
    }
    found = race(runners, probes, settings.seconds * len(runners))
    record = _timed(replace(blank, prepare_s=_preparing(ready)), found, size, ready.expected.executed)
    rows = [rated(row, found, record.macs) for row in rows]
    peak, read = (found.rates(name)[1] / settings.threads for name in ("peak", "read"))
    limits = Limits(peak, read, _chains(settings.isa, entry), _empty_call(settings.isa, entry))
    return _beside(replace(record, losses=losses(ready.kernel, record, limits)), rows)


def _described(record: NativeRecord, ready: _Ready) -> NativeRecord:
    operator = ready.kernel.operator
    weights = WEIGHTS[ready.work.op]
    sizes = {tensor.name: tensor.bytes for tensor in (*operator.inputs, operator.output)}
    return replace(
        record,
        op=operator.title,
        embedding=str(ready.kernel.embedding),
        schedule=str(ready.kernel.schedule),
        macs=operator.main.points,
        real_taps=real_taps(operator),
        bytes=sum(sizes.values()),
        weight_bytes=sizes[weights],
        compile_s=ready.compile_s,
    )


def _enter(offer: peers.Offer, ready: _Ready, runners: dict[str, Callable[[], object]]) -> dict[str, object]:
    """A peer joins the race if it runs and is right; its row says why where it does not."""
    try:
        contender = offer.contender(ready.work)
        result = contender.result()
        if contender.quantised:
            right = ready.expected.holds_quantised(result, *contender.quantised)
        else:
            right = ready.expected.holds(result, contender.rounding)
    except Exception as error:
        return peer_row(offer.name, note=one_line(f"{type(error).__name__}: {error}")[:200])
    runners[offer.name] = contender.run
    return peer_row(offer.name, checked=right, note="" if right else "its result is not within the bound")


def _timed(record: NativeRecord, found: Race, size: int, executed: str) -> NativeRecord:
    seconds = found.seconds(OURS)
    lowest, peak = found.rates("peak")
    return replace(
        record,
        status=DONE,
        checked=True,
        executed=executed,
        seconds=seconds,
        speedup=found.seconds(ALONE) / seconds if ALONE in found.turns else None,
        gflops=2 * record.macs / seconds / 1e9,
        peak_gflops=peak / 1e9,
        peak_lowest=lowest / 1e9,
        share=found.share(OURS, 2 * record.macs, "peak"),
        bandwidth=found.rates("read")[1],
        level=level_of(size),
        bytes_per_s=record.weight_bytes / seconds,
        bandwidth_share=found.share(OURS, record.weight_bytes, "read"),
    )


def _beside(record: NativeRecord, rows: list[dict[str, object]]) -> NativeRecord:
    """The best peer; one whose result is wrong does not count."""
    timed = [row for row in rows if row["checked"] and isinstance(row["seconds"], float)]
    if not timed:
        return replace(record, peers=rows)
    best: dict[str, Any] = min(timed, key=lambda row: float(str(row["seconds"])))
    return replace(
        record,
        peers=rows,
        best_peer=best["name"],
        best_peer_share=best["share"],
        ratio=best["seconds"] / record.seconds if record.seconds else None,
    )


def level_of(size: int) -> str:
    """The smallest cache of this machine that holds so many bytes, or memory."""
    fitting = [(room, level) for level, room in caches().items() if size <= room]
    return min(fitting)[1] if fitting else "memory"


@cache
def caches() -> dict[str, int]:
    """Bytes of each data cache as Linux tells them; empty where it does not."""
    found = {}
    for place in sorted(_CACHES.glob("index*")):
        kind, level, size = ((place / name).read_text().strip() for name in ("type", "level", "size"))
        if kind != "Instruction" and size.endswith("K"):
            found[f"L{level}"] = int(size[:-1]) << 10
    return found


def _preparing(ready: _Ready) -> float:
    """Seconds in which a call copies inputs that the kernel does not read where they are."""
    total = 0.0
    for stream in ready.kernel.streams.values():
        if stream.tensor in ready.arrays and stream.tensor not in ready.fixed and not stream.feed.in_place:
            array = ready.arrays[stream.tensor]
            total += fastest(lambda feed=stream.feed, array=array: feed.release(feed(array)), 0.01)  # type: ignore[misc]
    return total


def _laid(kernel: CpuKernel, name: str, array: Array) -> Array:
    found = kernel.physical[name].empty()
    found[...] = array
    return found


def _builder(problem: Problem, dtype: str) -> Callable[..., dataflow.Operator]:
    build = dataflow.conv2d if problem.op == "conv" else dataflow.gemm
    return partial(build, dtype=_MIXED[problem.op] if dtype == "i8" else dtype)


def _inputs(target: Isa, name: str) -> tuple[dataflow.Tensor, ...]:
    pattern = target.instruction(name).pattern
    assert pattern is not None
    return pattern.inputs


@cache
def _peak(name: str, entry: str, threads: int) -> probe.Probe:
    return probe.compute_peak(isa.load(name), entry, threads)


@cache
def _chains(name: str, entry: str) -> float:
    """Independent sums that keep the core busy: its rate over that of one chain."""
    target = isa.load(name)
    one = probe.latency(target, entry).burst(0.02) * probe.operations(target.instruction(entry))
    return _peak(name, entry, 1).burst(0.02) / one


@cache
def _empty_call(name: str, entry: str) -> float:
    loop = _peak(name, entry, 1)
    return fastest(lambda: loop.run(0), 0.01)
