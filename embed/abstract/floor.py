"""What no abstract program of an embedding goes below: every unit's share of the work, were each word loaded once."""

from collections.abc import Iterable, Mapping
from fractions import Fraction
from math import lcm

from dataflow.dtypes import bits
from embed.abstract.homes import Home, homes
from embed.binding import Binding
from embed.costs import Costs, busy, epilogue_of, finishing
from embed.embedding import Embedding
from embed.moves import pieces
from isa.model import Isa

Shares = Mapping[str, Fraction]
"""Cycles by unit."""


class Floors:
    """Lower bounds of the programs of embeddings of one operator on one machine, from their prices."""

    def __init__(self, target: Isa) -> None:
        self.target = target
        self.bus = target.timing.constants.get("bus_bytes", 0) if target.timings else 0
        self._known: dict[tuple[str, Binding], _Work] = {}

    def __call__(self, embedding: Embedding, price: Costs) -> int:
        """Cycles of the busiest unit, of packing and of adding partial sums; without timing those of the price."""
        if not self.target.timings:
            return price.total
        key = embedding.name, embedding.binding
        if key not in self._known:
            self._known[key] = _Work(embedding, price.packed_bytes, self.target, self.bus)
        spent = self._known[key].cycles(embedding.invocations, price.packed_bytes)
        return max(price.cycles, spent) + price.total - price.cycles


class _Work:
    """Cycles by unit of an invocation, and of each packed byte of a tensor, as integers of which `per` are a cycle."""

    def __init__(self, embedding: Embedding, packed: Iterable[str], target: Isa, bus: int) -> None:
        output, written = embedding.operator.main.output.tensor, embedding.operator.output.name
        names = {name: output if name == written else name for name in packed}
        found = homes(embedding, names.values(), target)
        each = dict(busy(target.instructions[embedding.name], target))
        every: dict[str, dict[str, Fraction]] = {}
        epilogue = epilogue_of(embedding.operator, target.instructions[embedding.name], target)
        for name, tensor in names.items():
            home, result = found[tensor], tensor == output
            shares = {} if home.direct else _moved(home, epilogue.planes if result else 1, target)
            size = home.bytes
            if result:
                size = home.operand.tensor.size * bits(embedding.operator.output.dtype) // 8
                for entry, times in finishing(home.operand, epilogue, target):
                    _add(shares, busy(entry, target), times)
            every[name] = {unit: share / size for unit, share in shares.items()}
            if bus and home.direct and (result or tensor in embedding.inputs):
                _add(each, {"bus": Fraction(home.bytes * (2 if result else 1), bus)}, 1)
            elif bus:
                _add(every[name], {"bus": Fraction(1, bus)}, 1)
        self.per = lcm(*(share.denominator for shares in (each, *every.values()) for share in shares.values()))
        self.each = {unit: int(share * self.per) for unit, share in each.items()}
        self.bytes = [
            (name, unit, int(share * self.per)) for name, shares in every.items() for unit, share in shares.items()
        ]

    def cycles(self, invocations: int, packed: Mapping[str, int]) -> int:
        """Those of the busiest unit."""
        total = {unit: share * invocations for unit, share in self.each.items()}
        for name, unit, share in self.bytes:
            total[unit] = total.get(unit, 0) + share * packed[name]
        return -(-max(total.values(), default=0) // self.per)


def _moved(home: Home, times: int, target: Isa) -> dict[str, Fraction]:
    """Cycles by unit of moving an operand; none where the file has no entry for it, or does not time it."""
    found: dict[str, Fraction] = {}
    if home.entry:
        entry = target.instructions[home.entry]
        _add(found, busy(entry, target), times * pieces(entry, home.operand))
    return found


def _add(total: dict[str, Fraction], shares: Shares, times: int) -> None:
    for unit, share in shares.items():
        total[unit] = total.get(unit, Fraction(0)) + share * times
