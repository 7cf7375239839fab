"""What this machine's core can do at most, measured: multiply-accumulates, latency, reads of each cache, the clock.

Every probe is a loop of instructions of the ISA file. Its registers and its buffer are zeroed first: denormal numbers
are slow on some cores.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from dataflow.errors import UserError
from dataflow.expression import Const, Read
from embed.cpu.assembler.control import (
    Add,
    AddImmediate,
    BranchIfZero,
    Item,
    Label,
    LoadPointer,
    Loop,
    MultiplyImmediate,
    Return,
    SetImmediate,
)
from embed.cpu.choosing.place import register_instructions
from embed.cpu.runner.machine import Call, load, machine_of
from embed.physical import Array, aligned_zeros
from isa.machine import MachineInstruction
from isa.model import Instruction, Isa

_TENSORS, _BEGIN, _PASSES, _LEFT, _ONE, _AT = range(6)
"""Pointer registers: the first two arguments, then those the loops use."""

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
    """A loop whose one trip does `work` (operations, bytes, cycles); `threads` threads run it at once.

    `call` runs as many passes as the first array holds, of `trips` trips each, on the others.
    """

    work: float
    call: Call
    arrays: tuple[Array, ...]
    trips: int
    threads: int = 1

    def burst(self, seconds: float) -> float:
        """Work per second: the best of a few runs that together take about `seconds`, after one that warms up."""
        passes, wanted = 1, min(seconds / 8, _RUN_SECONDS)
        while (spent := self.run(passes)) < wanted:
            passes = max(passes + 1, min(64 * passes, int(passes * 1.5 * wanted / max(spent, 1e-7))))
        best, end, runs = spent, time.perf_counter() + seconds, 0
        while time.perf_counter() < end or runs < _LEAST_RUNS:
            best, runs = min(best, self.run(passes)), runs + 1
        return self.work * self.trips * passes * self.threads / best

    def run(self, passes: int) -> float:
        """Seconds that so many passes take on every thread."""
        self.arrays[0][0] = passes
        start = time.perf_counter()
        self.call(range(self.threads + 1))
        return time.perf_counter() - start


def compute_peak(target: Isa, name: str, threads: int = 1) -> Probe:
    """Operations (a multiply and an add are two) of the entry `name`, enough independent ones for any core."""
    entry = target.instruction(name)
    chains = min(_count(target, entry) - _SPARE_REGISTERS - len(entry.scratch), _MOST_CHAINS)
    body = [item for chain in range(chains) for item in _accumulate(entry, chain, chains)]
    return _probe(target, chains * operations(entry), body, 1 << 10, _cleared(target, entry, chains), threads=threads)


def latency(target: Isa, name: str) -> Probe:
    """Instructions of the entry `name`, each of which adds to the sum of the one before."""
    entry = target.instruction(name)
    return _probe(target, _CHAIN, _accumulate(entry, 0, 1) * _CHAIN, 1 << 8, _cleared(target, entry, 1))


def clock(target: Isa) -> Probe:
    """Cycles: additions of registers, each of which waits a cycle for the one before.

    Adding a constant would not do: cores from Golden Cove on need no cycle for it.
    """
    body: list[Item] = [Add(_AT, _ONE)] * _CLOCK_ADDS
    return _probe(target, _CLOCK_ADDS, body, 1 << 8, [SetImmediate(_AT, 0), SetImmediate(_ONE, 1)])


def read_bandwidth(target: Isa, size: int, threads: int = 1) -> Probe:
    """Bytes read from a buffer of about `size` bytes, over and over; each of `threads` threads reads its own part."""
    entry = _load(target)
    step = _LOADS * _bytes(entry)
    trips = max(1, size // threads // step)
    body = [*(_read(entry, number) for number in range(_LOADS)), AddImmediate(_AT, _AT, step)]
    to_part: list[Item] = [
        LoadPointer(_AT, _TENSORS, 8),
        MultiplyImmediate(_LEFT, _BEGIN, trips * step),
        Add(_AT, _LEFT),
    ]
    buffer = aligned_zeros(threads * trips * step, np.dtype(np.uint8))
    buffer[...] = 0  # untouched pages would all be the same page of zeros
    return _probe(target, step, body, trips, before=to_part, buffer=buffer, threads=threads)


def compute_entries(target: Isa) -> tuple[str, ...]:
    """The multiply-accumulates on registers."""
    return tuple(found.name for found in register_instructions(target))


def operations(entry: Instruction) -> int:
    """Multiplications and additions of one instruction."""
    return 2 * prod(entry.index.values())


def _cleared(target: Isa, entry: Instruction, chains: int) -> list[Item]:
    """Zeros in the registers of the sums and of what they add up."""
    zero = _zero(target, _word_bits(target, entry))
    return [MachineInstruction(zero.name, {_result(zero): number}) for number in range(chains + _SPARE_REGISTERS)]


def _probe(
    target: Isa,
    work: float,
    body: Sequence[Item],
    trips: int,
    once: Sequence[Item] = (),
    *,
    before: Sequence[Item] = (),
    buffer: Array | None = None,
    threads: int = 1,
) -> Probe:
    """The loop around a body: `once` before all, `before` each pass."""
    count: list[Item] = [
        LoadPointer(_PASSES, _TENSORS, 0),
        LoadPointer(_PASSES, _PASSES, 0),
        BranchIfZero(_PASSES, "end"),
    ]
    trip: list[Item] = [SetImmediate(_LEFT, trips), Label("trip"), *body, Loop(_LEFT, "trip")]
    items: list[Item] = [*once, *count, Label("pass"), *before, *trip, Loop(_PASSES, "pass"), Label("end"), Return()]
    arrays = (np.ones(1, np.int64), *([] if buffer is None else [buffer]))
    call = load(target, machine_of(target).assemble(items, target))(arrays)
    return Probe(work, call, arrays, trips, threads)


def _accumulate(entry: Instruction, chain: int, chains: int) -> list[Item]:
    result = _result(entry)
    others = {name: chains + i for i, name in enumerate(name for name in entry.operands if name != result)}
    scratch = range(chains + len(others), chains + len(others) + len(entry.scratch))
    return [*entry.expanded({result: chain, **others}, scratch)]


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
