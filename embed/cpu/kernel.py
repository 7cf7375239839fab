"""An operator compiled for this machine's CPU: native code that runs on numpy arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from operator import is_
from pathlib import Path

from dataflow.errors import UserError
from dataflow.operator import Operator
from embed.cpu.control import Item
from embed.cpu.machine import Call, Code, Function, load, machine_of
from embed.cpu.streams import Stream
from embed.embedding import Embedding
from embed.nest import Nest, Schedule, Tiles
from embed.physical import Array, Physical
from isa.model import Isa


@dataclass(frozen=True, slots=True)
class _Call:
    """The arrays of a call (the output last), the code bound to them, and what it keeps alive."""

    arrays: tuple[Array, ...]
    run: Call
    held: tuple[Array, ...]


def _same(arrays: Sequence[Array], last: Sequence[Array]) -> bool:
    return len(arrays) == len(last) - 1 and all(map(is_, arrays, last))


@dataclass(frozen=True)
class CpuKernel:
    """A compiled operator. Call it with arrays in the shapes and dtypes of its inputs, lying as `layouts` say.

    `constants` are inputs given once, packed when the kernel is made; `span` are the tiles of the outermost loop that
    it computes, all if None. `note` says what a time limit left out when the kernel was chosen. The embedding is one in
    `operator`, or where blocks of a layout became dims of their own, in the operator over the arrays.
    """

    operator: Operator
    embedding: Embedding
    target: Isa
    schedule: Schedule
    nest: Nest
    physical: Mapping[str, Physical]
    streams: Mapping[str, Stream]
    items: Sequence[Item] = field(repr=False)
    threads: int = 1
    tables: tuple[Array, ...] = field(default=(), repr=False)
    span: range | None = None
    note: str = field(default="", compare=False, repr=False)
    _constants: dict[str, Array] = field(default_factory=dict, repr=False)
    _last: "dict[str, _Call]" = field(default_factory=dict, repr=False)

    @cached_property
    def tiles(self) -> int:
        """Tiles of the outermost loop, which threads share."""
        (outermost,) = self.nest.body
        assert isinstance(outermost, Tiles)
        return -(-len(self.nest.whole[outermost.loop]) // outermost.tile)

    def part(self, span: range) -> "CpuKernel":
        """The same kernel for some tiles of the outermost loop; what the rest of an output then holds is not said."""
        return replace(self, span=span, _last={})

    def fix(self, **arrays: Array) -> "CpuKernel":
        """Give inputs that stay the same; they are packed now. Returns the kernel; raises UserError for other names."""
        inputs = [tensor.name for tensor in self.operator.inputs]
        unknown = [name for name in arrays if name not in inputs]
        if unknown:
            raise UserError(f"there is no input '{unknown[0]}' to fix; there are: {', '.join(inputs)}")
        for found in self.streams.values():
            if found.tensor in arrays:
                self._constants[found.tensor] = found.feed(self.physical[found.tensor].check(arrays[found.tensor]))
        self._last.clear()
        return self

    @property
    def constants(self) -> Mapping[str, Array]:
        """The fixed inputs as the code reads them, by name."""
        return self._constants

    def save(self, path: str | Path) -> None:
        """Write the kernel to one file, from which `embed.load` makes it again; raises UserError if it cannot."""
        from embed.cpu import archive

        archive.save(self, Path(path))

    def __call__(self, *arrays: Array, out: Array | None = None, **named: Array) -> Array:
        """Run; inputs that are not fixed come in the operator's order or by name. Raises UserError for wrong arrays.

        The output is allocated unless `out` is given. The same arrays as in the call before need no checks.
        """
        last = self._last.get("call")
        if last is not None and out is last.arrays[-1] and not named and _same(arrays, last.arrays):
            self._run(last.run)
            return out
        given = self._given(arrays, named)
        physical = self.physical[self.operator.output.name]
        result = physical.empty() if out is None else physical.check(out)
        held = [self._argument(found, given, result) for found in self.streams.values()]
        run = self.function((*held, *self.tables))
        self._run(run)
        if held[0] is not result:
            result[...] = next(iter(self.streams.values())).feed.restore(held[0])
        for found, array in zip(self.streams.values(), held, strict=True):
            if found.tensor not in self._constants:
                found.feed.release(array)
        if not named and all(found.feed.in_place or found.tensor in self._constants for found in self.streams.values()):
            self._last["call"] = _Call((*arrays, result), run, tuple(held))
        return result

    def _given(self, arrays: Sequence[Array], named: Mapping[str, Array]) -> dict[str, Array]:
        """The arrays by name."""
        names = [tensor.name for tensor in self.operator.inputs if tensor.name not in self._constants]
        given = dict(zip(names, arrays, strict=False)) | dict(named)
        missing = [name for name in names if name not in given]
        unknown = [name for name in given if name not in names]
        if missing or unknown or len(arrays) > len(names):
            raise UserError(f"the kernel takes {', '.join(names) or 'no arrays'}, not {', '.join(given) or 'none'}")
        return given

    def _argument(self, found: Stream, given: Mapping[str, Array], result: Array) -> Array:
        if found.tensor == self.operator.output.name:
            return result if found.feed.in_place else found.feed.room()
        if found.tensor in self._constants:
            return self._constants[found.tensor]
        return found.feed(self.physical[found.tensor].check(given[found.tensor]))

    def _run(self, run: Call) -> None:
        tiles = self.span or range(self.tiles)
        run([tiles.start + len(tiles) * part // self.threads for part in range(self.threads + 1)])

    @cached_property
    def assembled(self) -> Code:
        """The program in the machine's instructions."""
        return machine_of(self.target).assemble(self.items, self.target)

    @property
    def code(self) -> bytes:
        """The machine code."""
        return self.assembled.code

    @cached_property
    def function(self) -> Function:
        """The code, ready to run; raises UserError where this machine's CPU lacks a feature it needs."""
        return load(self.target, self.assembled)

    def assembly(self) -> str:
        """The code as the assembler would write it."""
        return self.assembled.assembly()
