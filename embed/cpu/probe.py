"""What this machine's core can do at most, measured: multiply-accumulates, latency, reads of each cache, the clock.

Every probe is a loop of instructions of the ISA file. Its registers and its buffer are zeroed first: denormal numbers
are slow on some cores.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import prod

import numpy as np

from dataflow.errors import UserError
from dataflow.expression import Const, Read
from embed.cpu.control import Add, AddImmediate, Item, Label, LoadPointer, Loop, Move, Return, SetImmediate
from embed.cpu.machine import Call, load, machine_of
from embed.cpu.place import register_instructions
from embed.physical import Array, aligned_zeros
from isa.machine import MachineInstruction
from isa.model import Instruction, Isa

_TENSORS, _BEGIN, _END, _LEFT, _ONE, _AT = range(6)
"""Pointer registers: the three arguments, then those the loops use."""

_SPARE_REGISTERS = 2
_MOST_CHAINS = 24
"""Independent sums: more than latency times units of any core, and few enough for the registers."""

_RUN_SECONDS = 1e-3
"""Short enough that some runs are not interrupted on a machine that does other work too."""

_LEAST_RUNS = 3
_LOADS = 16
_CLOCK_ADDS = 64
_CHAIN = 32


@dataclass(frozen=True)
class Probe:
    """A loop whose one trip does `work` (operations, bytes, cycles); `threads` copies run at once, one per thread.

    `calls` are the loops, one for each thread, as functions of (passes, trips); a pass is `trips` trips.
    """

    work: float
    calls: tuple[Call, ...]
    trips: int

    def burst(self, seconds: float, pool: ThreadPoolExecutor | None = None) -> float:
        """Work per second: the best of a few runs that together take about `seconds`, after one that warms up."""
        passes, wanted = 1, min(seconds / 8, _RUN_SECONDS)
        while (spent := self._run(passes, pool)) < wanted:
            passes = max(passes + 1, min(64 * passes, int(passes * 1.5 * wanted / max(spent, 1e-7))))
        best, end, runs = spent, time.perf_counter() + seconds, 0
        while time.perf_counter() < end or runs < _LEAST_RUNS:
            best, runs = min(best, self._run(passes, pool)), runs + 1
        return self.work * self.trips * passes * len(self.calls) / best

    def _run(self, passes: int, pool: ThreadPoolExecutor | None) -> float:
        start = time.perf_counter()
        others = [pool.submit(call, passes, self.trips) for call in self.calls[1:]] if pool else []
        self.calls[0](passes, self.trips)
        for other in others:
            other.result()
        return time.perf_counter() - start


def compute_peak(target: Isa, name: str, threads: int = 1) -> Probe:
    """Operations (a multiply and an add are two) of the entry `name`, enough independent ones for any core."""
    entry = target.instruction(name)
    chains = min(_count(target, entry) - _SPARE_REGISTERS, _MOST_CHAINS)
    body = [_accumulate(entry, chain, chains) for chain in range(chains)]
    return Probe(chains * operations(entry), _loops(target, entry, body, chains, threads), 1 << 10)


def latency(target: Isa, name: str) -> Probe:
    """Instructions of the entry `name`, each of which adds to the sum of the one before."""
    entry = target.instruction(name)
    body = [_accumulate(entry, 0, 1)] * _CHAIN
    return Probe(_CHAIN, _loops(target, entry, body, 1, 1), 1 << 8)


def clock(target: Isa) -> Probe:
    """Cycles: additions of registers, each of which waits a cycle for the one before.

    Adding a constant would not do: cores from Golden Cove on need no cycle for it.
    """
    body: list[Item] = [Add(_AT, _ONE)] * _CLOCK_ADDS
    items = [SetImmediate(_AT, 0), SetImmediate(_ONE, 1), *_counted(body), Return()]
    return Probe(_CLOCK_ADDS, (_bind(target, items, ()),), 1 << 8)


def read_bandwidth(target: Isa, size: int, threads: int = 1) -> Probe:
    """Bytes read from a buffer of about `size` bytes, over and over; each of `threads` threads reads its own part."""
    entry = _load(target)
    step = _LOADS * _bytes(entry)
    trips = max(1, size // threads // step)
    body = [*(_read(entry, number) for number in range(_LOADS)), AddImmediate(_AT, _AT, step)]
    items = [*_counted(body, [LoadPointer(_AT, _TENSORS, 0)]), Return()]
    parts = [aligned_zeros(trips * step, np.dtype(np.uint8)) for _ in range(threads)]
    for part in parts:
        part[...] = 0  # untouched pages would all be the same page of zeros
    return Probe(step, tuple(_bind(target, items, (part,)) for part in parts), trips)


def compute_entries(target: Isa) -> tuple[str, ...]:
    """The multiply-accumulates on registers."""
    return tuple(found.name for found in register_instructions(target))


def operations(entry: Instruction) -> int:
    """Multiplications and additions of one instruction."""
    return 2 * prod(entry.index.values())


def _loops(target: Isa, entry: Instruction, body: Sequence[Item], chains: int, threads: int) -> tuple[Call, ...]:
    zero = _zero(target, _word_bits(target, entry))
    clear = [MachineInstruction(zero.name, {_result(zero): number}) for number in range(chains + _SPARE_REGISTERS)]
    items = [*clear, *_counted(body), Return()]
    return tuple(_bind(target, items, ()) for _ in range(threads))


def _counted(body: Sequence[Item], before: Sequence[Item] = ()) -> list[Item]:
    """`begin` passes of `end` trips of the body."""
    inner: list[Item] = [*before, Move(_LEFT, _END), Label("trip"), *body, Loop(_LEFT, "trip")]
    return [Label("pass"), *inner, Loop(_BEGIN, "pass")]


def _bind(target: Isa, items: Sequence[Item], arrays: Sequence[Array]) -> Call:
    call = load(target, machine_of(target).assemble(items, target))(arrays)

    def run(passes: int, trips: int, _keep: Sequence[Array] = arrays) -> None:
        call(passes, trips)

    return run


def _accumulate(entry: Instruction, chain: int, chains: int) -> MachineInstruction:
    result = _result(entry)
    others = [name for name in entry.operands if name != result]
    return MachineInstruction(entry.name, {result: chain, **{name: chains + i for i, name in enumerate(others)}})


def _result(entry: Instruction) -> str:
    assert entry.pattern is not None
    return entry.pattern.output.tensor


def _word_bits(target: Isa, entry: Instruction) -> int:
    return target.memories[entry.operands[_result(entry)].memory].bits


def _count(target: Isa, entry: Instruction) -> int:
    return target.memories[entry.operands[_result(entry)].memory].count or 1


def _bytes(entry: Instruction) -> int:
    assert entry.pattern is not None
    return entry.pattern.tensors[0].bytes


def _read(entry: Instruction, number: int) -> Item:
    assert entry.pattern is not None
    source = entry.pattern.reads[0].tensor
    place = {f"{source}.base": _AT, f"{source}.disp": number * _bytes(entry)}
    return MachineInstruction(entry.name, {_result(entry): number, **place})


def _zero(target: Isa, bits: int) -> Instruction:
    found = _entries(target, lambda entry: entry.pattern is not None and entry.pattern.body == Const(0))
    return _widest(found, bits, f"{target.name} has no instruction that clears a register")


def _load(target: Isa) -> Instruction:
    """The widest plain load."""
    found = _entries(target, lambda entry: _is_load(target, entry))
    bits = max((_bytes(entry) * 8 for entry in found), default=0)
    return _widest(found, bits, f"{target.name} has no vector load")


def _is_load(target: Isa, entry: Instruction) -> bool:
    if entry.pattern is None or not isinstance(entry.pattern.body, Read) or len(entry.pattern.tensors) != 2:
        return False
    source, result = entry.operands[entry.pattern.reads[0].tensor], entry.operands[_result(entry)]
    kinds = [target.memories[each.memory].kind for each in (source, result) if each.memory in target.memories]
    sizes = {tensor.bytes for tensor in entry.pattern.tensors}
    return kinds == ["external", "register"] and bool(source.pointers) and len(sizes) == 1


def _entries(target: Isa, fits: Callable[[Instruction], bool]) -> list[Instruction]:
    """Entries without a mask that do not accumulate and fit."""
    plain = [e for e in target.instructions.values() if e.pattern is not None and not e.mask]
    return [entry for entry in plain if not (entry.pattern and entry.pattern.accumulate) and fits(entry)]


def _widest(found: Sequence[Instruction], bits: int, error: str) -> Instruction:
    for entry in found:
        if _bytes(entry) * 8 == bits:
            return entry
    raise UserError(error)
