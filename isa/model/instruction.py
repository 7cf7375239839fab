"""One instruction of an ISA file: its pattern, its operands, its encoding."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dataflow.computation import Computation, Tensor
from isa.arithmetic import Formula
from isa.encoding import Encoding
from isa.errors import IsaError, listing
from isa.forms import Form
from isa.machine import MachineInstruction

FIELD = "field"
"""`in = "field"`: the operand is not in a memory but is the value of a field of the instruction."""

ADDRESS_PARTS = ("base", "index", "scale", "disp")
"""The fields of an operand that a pointer addresses: register, register, 0 (no index) 1 2 4 8, bytes."""


@dataclass(frozen=True, slots=True)
class Operand:
    """A tensor of the pattern and where it lies: consecutive words of `memory` from the word `address`.

    Where `when` is false, an input operand is zero and its memory is not read. `memory` is "field" for the
    value of the field `at`; for a manual's own encoding `at` is the operand's slot (`ModRM.rm`). With `pointers` the
    address is that register of this memory, plus an index register times a scale, plus a displacement in bytes; with
    `stride`, the outermost dim of its shape, index times scale is the step of that dim instead.
    """

    name: str
    memory: str
    tensor: Tensor
    address: Formula | None = None
    when: Formula | None = None
    at: str = ""
    pointers: str = ""
    stride: str = ""

    @property
    def fields(self) -> tuple[str, ...]:
        """Its fields in an entry that has no field encoding."""
        return tuple(f"{self.name}.{part}" for part in ADDRESS_PARTS) if self.pointers else (self.name,)


@dataclass(frozen=True, slots=True)
class Mask:
    """The predicate of an entry: lanes act where the highest bit of the operand's element is set.

    The other elements of the output become zero or keep their value, and of external memory they are not accessed.
    """

    operand: Operand
    idle: str


@dataclass(frozen=True, slots=True)
class Repeat:
    """One loop around the pattern: `start <= name < stop`, formulas over fields and outer loops."""

    name: str
    start: Formula
    stop: Formula


@dataclass(frozen=True, slots=True)
class Part:
    """One instruction of a sequence: an entry, and the register of each of its operands.

    That is an operand of the sequence, or a scratch register by a name of its own.
    """

    entry: str
    operands: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        return f"{self.entry}({', '.join(f'{operand}={register}' for operand, register in self.operands)})"


@dataclass(frozen=True, slots=True)
class Instruction:
    """One entry. `index` is the box of the pattern, `choice` names constants that the encoding picks,
    `repeat` the loops around it (outermost first), `when` says at which trips it acts.

    `statements` are what one trip does, all from the operands as they were; `pattern` is the only one, and None where
    there are several. `variants` are the pattern for every value of the choices, the last fastest, `pattern` the first.
    `fixed` are the values of the fields that make this entry; the other fields are a MachineInstruction's own.
    `notation` is the encoding in a manual's own words, where it is not a field list; `form` what it was found to be.
    `denormals` and `summation` say where float arithmetic differs from the pattern's plain meaning (isa.rounding).
    `caches` is "past" for a store that goes past them, at an address that is a multiple of its size.
    `c` is a C expression for the output, or a call where it is in memory, with {operand} in it.
    `sequence` are the instructions, other entries, that an entry without an encoding stands for.
    """

    name: str
    doc: str
    index: dict[str, int]
    choice: dict[str, int]
    pattern: Computation | None
    variants: tuple[Computation, ...]
    operands: dict[str, Operand]
    repeat: tuple[Repeat, ...]
    when: Formula | None
    requires: tuple[str, ...]
    syntax: str
    notation: str
    encoding: Encoding | None
    fixed: dict[str, int]
    like: str | None = None
    mask: Mask | None = None
    denormals: str = ""
    summation: str = ""
    caches: str = ""
    form: Form | None = None
    c: str = ""
    statements: tuple[Computation, ...] = ()
    sequence: tuple[Part, ...] = ()

    @property
    def scratch(self) -> tuple[str, ...]:
        """The registers of a sequence besides its operands."""
        names = dict.fromkeys(name for part in self.sequence for _, name in part.operands)
        return tuple(name for name in names if name not in self.operands)

    def expanded(self, fields: Mapping[str, int], scratch: Sequence[int]) -> list[MachineInstruction]:
        """The instructions that the entry is on these registers: one, or those of its sequence."""
        if not self.sequence:
            return [MachineInstruction(self.name, fields)]
        held = {**dict(zip(self.scratch, scratch, strict=True)), **fields}
        return [
            MachineInstruction(part.entry, {operand: held.get(name, 0) for operand, name in part.operands})
            for part in self.sequence
        ]

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the fields that a MachineInstruction of this entry holds.

        Without a field encoding they are the word numbers of its operands, its immediates and its choices, by name; an
        operand behind a pointer has four: NAME.base, NAME.index, NAME.scale and NAME.disp.
        """
        if self.encoding is None:
            placed = [name for operand in self.operands.values() for name in operand.fields]
            return (*placed, *self.choice, *([self.mask.operand.name] if self.mask else []))
        return tuple(name for name in self.encoding.fields if name not in self.fixed)

    @property
    def output(self) -> Operand | None:
        """The operand the pattern writes; None without a pattern or with several statements."""
        return self.operands[self.pattern.output.tensor] if self.pattern else None

    @property
    def outputs(self) -> tuple[Operand, ...]:
        """The operands that the statements write."""
        names = dict.fromkeys(statement.output.tensor for statement in self.statements)
        return tuple(self.operands[name] for name in names)

    @property
    def inputs(self) -> tuple[Operand, ...]:
        """The operands the statements read; an output is one if it is accumulated, updated, or not all written."""
        adding = {statement.output.tensor for statement in self.statements if statement.accumulate}
        names = [operand.name for operand in self.outputs if operand.name in adding or self._keeps(operand)]
        names += [read.tensor for statement in self.statements for read in statement.reads]
        return tuple(self.operands[name] for name in dict.fromkeys(names))

    @property
    def text(self) -> str:
        """Its statements in index notation; empty without a pattern."""
        return "; ".join(map(str, self.statements))

    def _keeps(self, output: Operand) -> bool:
        """Whether elements of an output stay as they were; no two statements write one element."""
        writing = [statement for statement in self.statements if statement.output.tensor == output.name]
        written = sum(math.prod(self.index[name] for name in statement.output_dims) for statement in writing)
        return written < output.tensor.size

    @property
    def fixed_bits(self) -> tuple[int, int]:
        """(mask, value) of the bits that are the same in every instruction of this entry."""
        if self.encoding is None:
            return 0, 0
        mask, value = self.encoding.mask, self.encoding.value
        for name, fixed in self.fixed.items():
            field = self.encoding.fields[name]
            mask |= field.mask
            value |= field.place(fixed)
        return mask, value

    def values(self, fields: Mapping[str, int]) -> dict[str, int]:
        """The value of every field, fixed ones and those not in `fields` included.

        Raises IsaError for a field that the entry does not have or a value that does not fit.
        """
        own = self.fields
        for name, value in fields.items():
            if name not in own and self.fixed.get(name) != value:
                raise IsaError(f"{self.name} has no field '{name}'; it has {listing(own)}")
            self._check_fits(name, value)
        return {**dict.fromkeys(own, 0), **self.fixed, **fields}

    def _check_fits(self, name: str, value: int) -> None:
        if self.encoding is None:
            return
        try:
            self.encoding.fields[name].place(value)
        except IsaError as error:
            raise IsaError(f"{self.name}: {error}") from None
