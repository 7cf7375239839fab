"""Fixed-width encodings: which bits hold which field, values turned into bits and back."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from isa.errors import IsaError, listing


@dataclass(frozen=True, slots=True)
class Slice:
    """`width` bits from bit `low` of `sign * value + plus`, standing at bit `position` (bit 0 = lsb)."""

    low: int
    width: int
    position: int
    sign: int = 1
    plus: int = 0

    @property
    def mask(self) -> int:
        return (1 << self.width) - 1

    @property
    def direct(self) -> bool:
        """Whether the bits are bits of the field itself."""
        return (self.sign, self.plus) == (1, 0)

    def place(self, value: int) -> int:
        return ((self.sign * value + self.plus) >> self.low & (1 << self.width) - 1) << self.position


@dataclass(frozen=True, slots=True)
class Field:
    """A named field: its width in bits, whether it is two's complement, and where its bits are.

    `limits` are its smallest and largest value; `low` bits below those that are encoded are zero: it holds multiples
    of `2**low`.
    """

    name: str
    width: int
    signed: bool
    slices: tuple[Slice, ...]
    limits: tuple[int, int]
    low: int = 0

    @property
    def step(self) -> int:
        """Values are multiples of it."""
        return 1 << self.low

    @property
    def derived(self) -> bool:
        """Whether some bits are not those of the value but computed from it: they are not zero when it is."""
        return not all(part.direct for part in self.slices)

    @property
    def mask(self) -> int:
        """The instruction bits that hold this field."""
        return sum(part.mask << part.position for part in self.slices)

    def fits(self, value: int) -> bool:
        """Whether the instruction can hold this value."""
        low, high = self.limits
        return low <= value <= high and not value & (1 << self.low) - 1

    def place(self, value: int) -> int:
        """The instruction bits that hold this value; raises IsaError if it does not fit."""
        if not self.fits(value):
            low, high = self.limits
            kind = "signed" if self.signed else "unsigned"
            step = f", in steps of {self.step}" if self.low else ""
            raise IsaError(f"{self.name} = {value} does not fit {self.width} {kind} bits ({low}..{high}{step})")
        bits = 0
        for part in self.slices:
            bits |= part.place(value)
        return bits

    def read(self, bits: int) -> int:
        """The value these instruction bits hold."""
        direct = [part for part in self.slices if part.direct]
        if not direct:
            part = self.slices[0]
            return part.sign * ((bits >> part.position & part.mask) - part.plus)
        value = sum(((bits >> part.position) & part.mask) << part.low for part in direct)
        return value - (1 << self.width) if self.signed and value >> (self.width - 1) else value


@dataclass(frozen=True, slots=True)
class Encoding:
    """A bit layout: `size` bits in little-endian words of `word` bits; `mask` and `value` are the literal bits.

    `derived` names the fields that put other bits than their own.
    """

    order: str
    word: int
    size: int
    fields: dict[str, Field]
    defaults: dict[str, int]
    mask: int
    value: int
    derived: tuple[str, ...] = ()

    def pack(self, values: Mapping[str, int]) -> int:
        """The bits for these values, a missing one being zero; raises IsaError for an unknown name or a misfit."""
        bits = self.value
        for name, value in values.items():
            if name not in self.fields:
                raise IsaError(f"there is no field '{name}'; the fields are {listing(self.fields)}")
            bits |= self.fields[name].place(value)
        for name in self.derived:
            if name not in values:
                bits |= self.fields[name].place(0)
        return bits

    def holds(self, values: Mapping[str, int], bits: int) -> bool:
        """Whether these bits are the encoding of these values: pieces computed from one field must agree."""
        fit = all(self.fields[name].fits(values[name]) for name in self.derived)
        return not self.derived or (fit and self.pack(values) == bits)

    def unpack(self, bits: int) -> dict[str, int]:
        """The value of every field."""
        return {name: field.read(bits) for name, field in self.fields.items()}


def diagram(encoding: Encoding) -> Iterator[tuple[int, int, str]]:
    """(lowest bit, width, name) of every named piece, from bit 0 up; a split field shows its slice."""
    yield from sorted(
        (part.position, part.width, _piece(field, part)) for field in encoding.fields.values() for part in field.slices
    )


def _piece(field: Field, part: Slice) -> str:
    if part.sign < 0:
        return f"{part.plus}-{field.name}"
    if part.plus:
        return f"{field.name}+{part.plus}"
    split = part.width != field.width
    return f"{field.name}[{part.low + part.width - 1}:{part.low}]" if split else field.name
