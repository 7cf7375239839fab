"""The field lists of fixed-width encodings: the manual's bit diagram as text, read into an Encoding.

- ``opcode:3=2 reset:1 uop_bgn:log2(uop.count) 0:*``: lsb first, `0:*` fills the word
- ``0 1 0 01111 1 0 lane[0] b[4] b[3:0] 0 a acc``: msb first, bits, split fields, operands by name
- ``src.disp[15:4]``: a field whose low bits are missing holds multiples; ``signed(src.disp[10:4])``: of either sign
- ``32-shift:5 dst+1:5``: these bits hold what the manual computes from a field
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from isa.arithmetic import Formula, FormulaError
from isa.encoding import Encoding, Field, Slice
from isa.errors import IsaError

_TOKEN = re.compile(r"\S+")
_LITERAL = re.compile(r"[01]+")
_PLAIN = r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)?"
_NAME = re.compile(_PLAIN)
_SLICE = re.compile(rf"({_PLAIN})\[(\d{{1,4}})(?::(\d{{1,4}}))?\]")
_LESS = re.compile(rf"(\d{{1,9}})-({_PLAIN})")
_MORE = re.compile(rf"({_PLAIN})\+(\d{{1,9}})")
_SIGNED = re.compile(r"signed\((.+)\)")
_NUMBER = re.compile(r"0[xX][0-9a-fA-F]+|0[bB][01]+|\d{1,40}")
_WIDEST = 1 << 16

Widths = Callable[[Formula], int]


class FieldListError(Exception):
    """What is wrong with a field list, the 0-based offset in its text, and whether smaller widths would help."""

    def __init__(self, message: str, offset: int = 0, sizes: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset
        self.sizes = sizes


@dataclass(frozen=True, slots=True)
class _Part:
    """One token of a field list: literal bits (no name), or bits `low`.. of a field; width None fills the word."""

    name: str
    low: int
    width: int | None
    value: int
    offset: int
    signed: bool = False
    sliced: bool = False
    sign: int = 1
    plus: int = 0

    @property
    def direct(self) -> bool:
        return (self.sign, self.plus) == (1, 0)


def parse_field_list(text: str, order: str, word: int, widths: Widths, operands: Mapping[str, int]) -> Encoding:
    """Read a field list.

    `widths` gives the value of a width formula; `operands` the width of a field written by name alone. Raises
    FieldListError when a field stands twice, bits are missing, or the fields do not fill whole words.
    """
    parts, defaults = [], {}
    for match in _TOKEN.finditer(text):
        part, default = _part(match, widths, operands)
        parts.append(part)
        if default is not None:
            defaults[part.name] = default
    if not parts:
        raise FieldListError("there are no fields")
    placed, size = _place(parts, order, word)
    fields = _fields(placed)
    _check_defaults(fields, defaults, parts)
    literals = [(part, position) for part, position in placed if not part.name]
    mask = sum(((1 << (part.width or 0)) - 1) << position for part, position in literals)
    value = sum(part.value << position for part, position in literals)
    derived = tuple(field.name for field in fields.values() if field.derived)
    return Encoding(order, word, size, fields, defaults, mask, value, derived)


def _part(match: re.Match[str], widths: Widths, operands: Mapping[str, int]) -> tuple[_Part, int | None]:
    token, at = match.group(), match.start()
    if _LITERAL.fullmatch(token):
        return _Part("", 0, len(token), int(token, 2), at), None
    signed = _SIGNED.fullmatch(token)
    sliced = _SLICE.fullmatch(signed[1] if signed else token)
    if sliced:
        high, low = int(sliced[2]), int(sliced[3] or sliced[2])
        if low > high:
            raise FieldListError(f"write the higher bit first: {sliced[1]}[{low}:{high}]", at)
        return _Part(sliced[1], low, high - low + 1, 0, at, signed=bool(signed), sliced=True), None
    if _NAME.fullmatch(token):
        if token not in operands:
            raise FieldListError(f"field '{token}' has no width: write {token}:WIDTH", at)
        return _Part(token, 0, operands[token], 0, at), None
    name, colon, rest = token.partition(":")
    if not colon:
        raise FieldListError(
            f"'{token}' is not a field: write name:width, name:width=value, name[high:low] or bits", at
        )
    return _sized(name, rest, at, widths)


def _sized(name: str, rest: str, at: int, widths: Widths) -> tuple[_Part, int | None]:
    """A token `name:width`, `name:width=value`, `number:width` or `number:*`."""
    width_text, equals, default_text = rest.partition("=")
    if equals and not _NUMBER.fullmatch(default_text.removeprefix("-")):
        raise FieldListError(f"'{default_text}' is not a number", at + len(name) + len(width_text) + 2)
    default = _number(default_text) if equals else None
    signed = _SIGNED.fullmatch(width_text)
    start = at + len(name) + 1 + (len("signed(") if signed else 0)
    is_literal = bool(_NUMBER.fullmatch(name))
    if width_text == "*" and is_literal:
        return _Part("", 0, None, _number(name), at), None
    width = _width(signed[1] if signed else width_text, start, widths)
    if is_literal:
        if _number(name) >> width:
            raise FieldListError(f"{name} does not fit {width} bits", at)
        return _Part("", 0, width, _number(name), at), None
    less, more = _LESS.fullmatch(name), _MORE.fullmatch(name)
    if less:
        return _Part(less[2], 0, width, 0, at, sign=-1, plus=int(less[1])), default
    if more:
        return _Part(more[1], 0, width, 0, at, plus=int(more[2])), default
    if not _NAME.fullmatch(name):
        raise FieldListError(f"'{name}' is neither a name nor a number", at)
    return _Part(name, 0, width, 0, at, signed=bool(signed)), default


def _number(text: str) -> int:
    negative, digits = text.startswith("-"), text.removeprefix("-")
    base = {"0x": 16, "0b": 2}.get(digits[:2].lower(), 10)
    value = int(digits, base)
    return -value if negative else value


def _width(text: str, at: int, widths: Widths) -> int:
    try:
        width = widths(Formula.parse(text))
    except FormulaError as fault:
        raise FieldListError(fault.message, at + fault.offset) from None
    if not 0 < width <= _WIDEST:
        raise FieldListError(f"a field of {width} bits: a width is 1..{_WIDEST}", at)
    return width


def _place(parts: list[_Part], order: str, word: int) -> tuple[list[tuple[_Part, int]], int]:
    """The position of every part, and the bits of the whole; no part crosses a word."""
    placed, used = [], 0
    for part in parts:
        room = word - used % word
        width = part.width if part.width is not None else room % word
        if width > room:
            what = f"'{part.name}'" if part.name else "a literal"
            left = f"the {room} bits left in word {used // word} of {word} bits"
            raise FieldListError(f"{what} of {width} bits does not fit {left}", part.offset, sizes=True)
        if part.value >> width:
            raise FieldListError(f"{part.value} does not fit {width} bits", part.offset)
        if width:
            start = used if order == "lsb" else used // word * word + room - width
            placed.append((replace(part, width=width), start))
        used += width
    if used % word:
        raise FieldListError(f"the fields sum to {used} bits, not a multiple of {word}", parts[-1].offset, sizes=True)
    return placed, used


def _fields(placed: list[tuple[_Part, int]]) -> dict[str, Field]:
    groups: dict[str, list[tuple[_Part, int]]] = {}
    for part, position in placed:
        if part.name:
            groups.setdefault(part.name, []).append((part, position))
    return {name: _field(name, group) for name, group in groups.items()}


def _field(name: str, group: list[tuple[_Part, int]]) -> Field:
    covered = 0
    for part, _ in group:
        bits = ((1 << (part.width or 0)) - 1) << part.low if part.direct else 0
        if covered & bits:
            raise FieldListError(f"bits of field '{name}' stand twice", part.offset)
        covered |= bits
    width = covered.bit_length() or max(part.width or 0 for part, _ in group)
    low = (covered & -covered).bit_length() - 1 if covered else 0
    missing = [bit for bit in range(low, width) if covered and not covered >> bit & 1]
    if missing:
        raise FieldListError(f"bit {missing[0]} of field '{name}' is missing", group[0][0].offset)
    slices = tuple(Slice(part.low, part.width or 0, position, part.sign, part.plus) for part, position in group)
    signed = any(part.signed for part, _ in group)
    limits = _limits(width, signed, low, slices)
    if limits[0] > limits[1]:
        raise FieldListError(f"no value of field '{name}' fits all its bits", group[0][0].offset)
    return Field(name, width, signed, slices, limits, low)


def _limits(width: int, signed: bool, low: int, slices: tuple[Slice, ...]) -> tuple[int, int]:
    """Smallest and largest value: those of the field's own bits, as far as those computed from it hold them."""
    if signed:
        return -(1 << (width - 1)), (1 << (width - 1)) - (1 << low)
    ranges = [(0, (1 << width) - (1 << low))] if any(part.direct for part in slices) else []
    for part in slices:
        if not part.direct:
            least, most = sorted((part.sign * -part.plus, part.sign * (part.mask - part.plus)))
            ranges.append((least, most))
    return max(least for least, _ in ranges), min(most for _, most in ranges)


def _check_defaults(fields: Mapping[str, Field], defaults: Mapping[str, int], parts: list[_Part]) -> None:
    for name, value in defaults.items():
        try:
            fields[name].place(value)
        except IsaError as error:
            raise FieldListError(str(error), next(part.offset for part in parts if part.name == name)) from None
