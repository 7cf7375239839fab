"""C66x, for which there is no emulator here: every entry on extreme and random registers, as the manual's text has it.

The manual speaks of registers, msb16 and lsb16 of each; here they are integers of Python, which never wrap.
"""

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
import pytest

import isa
from isa import interpreter
from isa.machine import MachineInstruction

C66X = isa.load("c66x")
Registers = Sequence[int]
EDGES = (-(2**15), -(2**15) + 1, -1, 0, 1, 2**15 - 1)


def signed(word: int, bits: int) -> int:
    word &= 2**bits - 1
    return word - 2**bits if word >> (bits - 1) else word


def sat(value: int, bits: int) -> int:
    return max(-(2 ** (bits - 1)), min(2 ** (bits - 1) - 1, value))


def halves(word: int) -> tuple[int, int]:
    """lsb16 and msb16."""
    return signed(word, 16), signed(word >> 16, 16)


def packed(high: int, low: int) -> int:
    return (high & 0xFFFF) << 16 | low & 0xFFFF


def parts(a: int, b: int) -> tuple[int, int]:
    """Real and imaginary part; these are msb16 and lsb16 of a number."""
    (ai, ar), (bi, br) = halves(a), halves(b)
    return ar * br - ai * bi, sat(ai * br + ar * bi, 32)


def cmpy(a: Registers, b: Registers) -> list[int]:
    return [word for x, y in zip(a, b, strict=True) for word in reversed(parts(x, y))]


def cmpyr(a: Registers, b: Registers) -> list[int]:
    real, imaginary = (sat(part + 0x8000, 32) >> 16 for part in parts(a[0], b[0]))
    return [packed(real, imaginary)]


def cmpyr1(a: Registers, b: Registers) -> list[int]:
    real, imaginary = (sat(part + 0x4000 << 1, 32) >> 16 for part in parts(a[0], b[0]))
    return [packed(real, imaginary)]


def addsub(a: Registers, b: Registers) -> list[int]:
    x, y = signed(a[0], 32), signed(b[0], 32)
    return [x - y, x + y]


def saddsub(a: Registers, b: Registers) -> list[int]:
    return [sat(word, 32) for word in addsub(a, b)]


def by_halves(done: Callable[[int, int], int]) -> Callable[[Registers, Registers], list[int]]:
    def do(a: Registers, b: Registers) -> list[int]:
        pairs = (zip(halves(x), halves(y), strict=True) for x, y in zip(a, b, strict=True))
        return [packed(high, low) for low, high in ([done(*pair) for pair in each] for each in pairs)]

    return do


def two(difference: Callable[[int, int], int], total: Callable[[int, int], int]) -> Callable[..., list[int]]:
    return lambda a, b: [*by_halves(difference)(a, b), *by_halves(total)(a, b)]


MANUAL: dict[str, tuple[int, Callable[[Registers, Registers], list[int]]]] = {
    "cmpy": (1, cmpy),
    "dcmpy": (2, cmpy),
    "cmpyr": (1, cmpyr),
    "cmpyr1": (1, cmpyr1),
    "addsub": (1, addsub),
    "saddsub": (1, saddsub),
    "addsub2": (1, two(lambda x, y: x - y, lambda x, y: x + y)),
    "saddsub2": (1, two(lambda x, y: sat(x - y, 16), lambda x, y: sat(x + y, 16))),
    "dadd2": (2, by_halves(lambda x, y: x + y)),
    "dsub2": (2, by_halves(lambda x, y: x - y)),
    "dmax2": (2, by_halves(max)),
    "dmin2": (2, by_halves(min)),
    "dshr2": (2, lambda a, b: by_halves(lambda x, _: x >> b[0])(a, a)),
    "dadd": (2, lambda a, b: [x + y for x, y in zip(a, b, strict=True)]),
}


def test_every_entry_is_here() -> None:
    assert set(MANUAL) == set(C66X.instructions)


@pytest.mark.parametrize("name", MANUAL)
def test_entries_do_what_the_manual_says(name: str) -> None:
    count, expected = MANUAL[name]
    random = np.random.default_rng(0)
    words = [packed(*pair) for pair in product(EDGES, repeat=2)]
    chosen = [*product(words, words)][:: 1 if count == 1 else 7]
    chosen += [tuple(map(int, pair)) for pair in random.integers(0, 2**32, (200, 2))]
    for first, second in chosen:
        a, b = [first, second][:count], [second, first ^ 0xFFFF][:count]
        if "n" in C66X.instructions[name].operands:
            b = [first % 16]
        assert executed(name, a, b) == [word & 0xFFFFFFFF for word in expected(a, b)], (name, a, b)


def executed(name: str, a: Registers, b: Registers) -> list[int]:
    """The registers that an entry writes, from a at 8, b at 16, a shift in the field, to 0."""
    memories = interpreter.allocate(C66X, {"dram": 0})
    memories["r"][8 : 8 + len(a)] = np.array(a, "<u4").view(np.uint8).reshape(-1, 4)
    fields = {"dst": 0, "a": 8}
    operands = C66X.instructions[name].operands
    if "n" in operands:
        fields["n"] = b[0]
    else:
        fields["b"] = 16
        memories["r"][16 : 16 + len(b)] = np.array(b, "<u4").view(np.uint8).reshape(-1, 4)
    interpreter.run(C66X, MachineInstruction(name, fields), memories)
    return [int(word) for word in memories["r"][: operands["dst"].tensor.bytes // 4].reshape(-1).view("<u4")]
