"""An operator compiled for this machine's CPU: native code that runs on numpy arrays."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, partial
from importlib.resources import files
from operator import is_
from pathlib import Path
from typing import get_type_hints

import numpy as np

from dataflow import serial as operators
from dataflow.errors import UserError
from dataflow.operator import Operator
from dataflow.reference import by_name
from embed import atomic, serial
from embed.cpu import sealed
from embed.cpu.arrays.feed import Feed
from embed.cpu.arrays.streams import Stream
from embed.cpu.assembler.control import Item
from embed.cpu.assembler.program import Part, listing
from embed.cpu.choosing.past import stored_bytes, swapped
from embed.cpu.runner.machine import Code, Function, load, machine_of
from embed.embedding import Embedding
from embed.nest import Nest, Schedule, Tiles
from embed.physical import Array, Physical
from embed.plain import Writer
from isa.model import Isa

CONSTANTS = dict[str, Array]
"""The type of what a kernel holds packed, by the name of the input."""


@dataclass(frozen=True, slots=True)
class _Moved:
    """An array of the user that the code does not read or write where it lies, and the room it has instead."""

    feed: Feed
    array: Array
    room: Array


@dataclass(frozen=True, slots=True)
class Bound:
    """A kernel with the arrays of its calls: each call reads what the inputs hold then, and returns `out`.

    `run` is the code bound to the arrays or to their rooms, and `held` keeps alive what it points to. The output is
    `cleared` where the operator has no value for some elements. One thread may call at a time.
    """

    arrays: tuple[Array, ...]
    out: Array
    run: Callable[[], None]
    held: tuple[Array, ...]
    inputs: tuple[_Moved, ...]
    output: tuple[_Moved, ...]
    cleared: bool

    def __call__(self) -> Array:
        """Run once more."""
        for each in self.inputs:
            each.feed.fill(each.room, each.array)
        if self.cleared:
            self.out[...] = 0
        self.run()
        for each in self.output:
            self.out[...] = each.feed.restore(each.room)
        return self.out

    def release(self) -> None:
        """Give the rooms back to the kernel; the last that may be done with it."""
        for each in (*self.inputs, *self.output):
            each.feed.release(each.room)


def _same(arrays: Sequence[Array], others: Sequence[Array]) -> bool:
    return len(arrays) == len(others) and all(map(is_, arrays, others))


@dataclass(frozen=True)
class CpuKernel:
    """A compiled operator. Call it with arrays in the shapes and dtypes of its inputs, lying as `layouts` say.

    `constants` are inputs given once, packed when the kernel is made; `span` are the tiles of the outermost loop that
    it computes, all if None. `past` are stores past the caches by those they stand for, where an output starts at a
    multiple of what they write. `note` says what a time limit left out when the kernel was chosen. The embedding is one
    in `operator`, or where blocks of a layout became dims of their own, in the operator over the arrays.
    """

    operator: Operator
    embedding: Embedding
    target: Isa
    schedule: Schedule
    nest: Nest
    physical: Mapping[str, Physical]
    streams: Mapping[str, Stream]
    program: Sequence[Part] = field(repr=False)
    threads: int = 1
    tables: tuple[Array, ...] = field(default=(), repr=False)
    past: Mapping[str, str] = field(default_factory=dict)
    span: range | None = None
    note: str = field(default="", compare=False, repr=False)
    _constants: CONSTANTS = field(default_factory=dict, repr=False)
    _last: "dict[str, Bound]" = field(default_factory=dict, repr=False)

    @cached_property
    def tiles(self) -> int:
        """Tiles of the outermost loop, which threads share."""
        (outermost,) = self.nest.body
        assert isinstance(outermost, Tiles)
        return -(-len(self.nest.whole[outermost.loop]) // outermost.tile)

    @cached_property
    def items(self) -> list[Item]:
        """The program, each vector instruction by the name of its entry."""
        return listing(self.program)

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
                given = self.physical[found.tensor].check(arrays[found.tensor])
                own = given.copy("K") if found.feed.in_place else found.feed(given)
                self._constants[found.tensor] = own
        self._last.clear()
        return self

    @property
    def constants(self) -> Mapping[str, Array]:
        """The fixed inputs as the code reads them, by name."""
        return self._constants

    def save(self, path: str | Path) -> None:
        """Write the kernel with its constants to one file, from which `embed.load` makes it again.

        The file appears whole or not at all; raises UserError if it cannot be written.
        """
        atomic.write(Path(path), self.dump())

    def dump(self) -> bytes:
        """The content of the file that `save` writes."""
        writer = Writer({Embedding: lambda _: None, Operator: operators.to_json})
        hints = get_type_hints(CpuKernel)
        target = self.target
        manifest = {
            "isa": {"name": target.name, "digest": target.digest},
            "parameters": {p.name: p.value for p in target.parameter_list if p.value != p.default},
            "embedding": serial.embedding_to_json(self.embedding),
            "kernel": {name: writer.write(getattr(self, name), hints[name]) for name in stored_fields()},
            "constants": writer.write(self._constants, CONSTANTS),
        }
        text = json.dumps(manifest, separators=(",", ":")).encode()
        past = self.assembled_past.code if self.past else b""
        return sealed.join([text, self.code, past, _isa_text(target), *writer.blobs])

    def __call__(self, *arrays: Array, out: Array | None = None, **named: Array) -> Array:
        """Run; inputs that are not fixed come in the operator's order or by name. Raises UserError for wrong arrays.

        The output is allocated unless `out` is given, which must share no memory with an input. The same arrays as in
        the call before need no checks.
        """
        call = self._last.pop("call", None)
        if call is None or out is not call.out or named or not _same(arrays, call.arrays):
            if call is not None:
                call.release()
            call = self.bind(*arrays, out=out, **named)
        call()
        if named:
            call.release()
        else:
            self._last["call"] = call
        return call.out

    def __getstate__(self) -> dict[str, object]:
        """What is pickled and copied: not the code at its address, nor the arrays of the last call."""
        code = ("function", "function_past")
        return {name: value for name, value in vars(self).items() if name not in code} | {"_last": {}}

    def __str__(self) -> str:
        """The operator, the ISA, the embedding and the schedule, in a line."""
        return f"{self.operator.title} on {self.target.name}: {self.embedding}, {self.schedule}"

    def bind(self, *arrays: Array, out: Array | None = None, **named: Array) -> Bound:
        """Check arrays once, for many calls: `bind(...)()` is `kernel(...)`, and later calls cost little but the code.

        The output is allocated once unless `out` is given. Raises UserError for wrong arrays.
        """
        given = self._given(arrays, named)
        physical = self.physical[self.operator.output.name]
        result = physical.empty() if out is None else _writable(physical.check(out))
        users = {name: self.physical[name].check(array) for name, array in given.items()}
        shared = next((name for name, array in users.items() if np.may_share_memory(array, result)), None)
        if shared is not None:
            raise UserError(f"out shares memory with '{shared}', which is read while it is written; give another array")
        users[self.operator.output.name] = result
        moved = {
            name: _Moved(found.feed, users[found.tensor], found.feed.room())
            for name, found in self.streams.items()
            if found.tensor in users and not found.feed.in_place
        }
        lying = {**users, **self._constants}
        held = tuple(moved[name].room if name in moved else lying[s.tensor] for name, s in self.streams.items())
        run = self.function_for(held[0])((*held, *self.tables))
        first = next(iter(self.streams))
        inputs = tuple(each for name, each in moved.items() if name != first)
        output = (moved[first],) if first in moved else ()
        cleared = not self.operator.main.is_whole
        return Bound(arrays, result, partial(run, self._edges), held, inputs, output, cleared)

    def _given(self, arrays: Sequence[Array], named: Mapping[str, Array]) -> dict[str, Array]:
        """The arrays by name."""
        names = [tensor.name for tensor in self.operator.inputs if tensor.name not in self._constants]
        given = by_name(names, arrays, named)
        missing = [name for name in names if name not in given]
        if missing:
            raise UserError(f"input '{missing[0]}' is missing; the inputs are {', '.join(names)}")
        return given

    @property
    def _edges(self) -> list[int]:
        """The tiles between which each thread has its part."""
        tiles = self.span or range(self.tiles)
        return [tiles.start + len(tiles) * part // self.threads for part in range(self.threads + 1)]

    @cached_property
    def assembled(self) -> Code:
        """The program in the machine's instructions."""
        return machine_of(self.target).assemble(self.program, self.target)

    @cached_property
    def sizes(self) -> Sequence[int]:
        """The instructions of each item, the way in with the first."""
        return machine_of(self.target).sizes(self.items, self.target)

    @property
    def code(self) -> bytes:
        """The machine code."""
        return self.assembled.code

    @cached_property
    def function(self) -> Function:
        """The code, ready to run; raises UserError where this machine's CPU lacks a feature it needs."""
        return load(self.target, self.assembled)

    @cached_property
    def assembled_past(self) -> Code:
        """The same with stores past the caches."""
        return machine_of(self.target).assemble(swapped(self.program, self.past), self.target)

    @cached_property
    def function_past(self) -> Function:
        """The code with stores past the caches, ready to run; raises UserError as `function` does."""
        return load(self.target, self.assembled_past)

    def function_for(self, out: Array) -> Function:
        """The code for an output: with stores past the caches where they are worth it and it starts where they can."""
        possible = all(out.ctypes.data % stored_bytes(self.target, store) == 0 for store in self.past.values())
        return self.function_past if self.past and possible else self.function

    def assembly(self) -> str:
        """The code as the assembler would write it."""
        return self.assembled.assembly()


def _writable(out: Array) -> Array:
    if not out.flags.writeable:
        raise UserError("out is an array that cannot be written")
    return out


def stored_fields() -> list[str]:
    """What is saved of a kernel as it is; code takes the place of the items."""
    own = ("embedding", "target", "program")
    return [each.name for each in fields(CpuKernel) if each.init and each.name not in own and each.name[0] != "_"]


def _isa_text(target: Isa) -> bytes:
    """The ISA file, unless every isa-embed has it."""
    if target.path == Path(str(files("isa") / f"{target.name}.toml")):
        return b""
    try:
        return target.path.read_bytes()
    except OSError as error:
        raise UserError(f"{target.path}: cannot be read, and a saved kernel holds it: {error.strerror}") from None
