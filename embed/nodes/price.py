"""What a step costs: its instructions, moves and packed bytes by the timing of the ISA file's first core.

The roofline of the packed arrays, as of an embedding: every word is loaded once, every sum is cleared, or loaded where
another step began it, and stored. Units and the bus that reads the packed operands overlap, so that the slowest counts.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

from dataflow.expression import Read
from dataflow.sums import Sums
from embed.cpu.choosing.units import held, unit_sets
from embed.errors import NoEmbedding
from embed.moves import is_copy, is_zero, loads, pieces, resets, stores
from embed.nodes.placement import Placement
from embed.nodes.plan import Step
from isa.model import FIELD, Instruction, Isa, Operand


@dataclass(frozen=True, slots=True)
class Work:
    """How often a step executes each entry, by name, and the bytes that it reads over the bus."""

    entries: Counter[str]
    read: int

    def cycles(self, target: Isa) -> int:
        """The busiest units or the bus; an instruction that the file does not time takes a cycle, a move none."""
        timing = target.timing if target.timings else None
        costs = {name: timing.costs[name] for name in self.entries if name in timing.costs} if timing else {}
        busy: Counter[str | frozenset[str]] = Counter()
        for name, cost in costs.items():
            if not cost.uops:
                entry = target.instruction(name)
                busy[cost.unit] += self.entries[name] * (cost.trip if entry.repeat else cost.trip + cost.start)
        rest = {name: target.instruction(name) for name in self.entries if name not in costs}
        untimed = sum(self.entries[name] for name, entry in rest.items() if not (is_copy(entry) or is_zero(entry)))
        sets = unit_sets(costs.values())
        pipes = [
            Fraction(sum(self.entries[n] * held(c, units) for n, c in costs.items()), len(units)) for units in sets
        ]
        bus = timing.constants.get("bus_bytes", 0) if timing else 0
        return ceil(max(1, untimed, *busy.values(), *pipes, Fraction(self.read, bus) if bus else 0))


def priced(placement: Placement, target: Isa) -> Step:
    """The step of a placement; raises NoEmbedding where it leaves partial sums that no entry adds up."""
    adder, additions = "", 0
    for operand in placement.outputs:
        if leaves_parts(placement, operand):
            entry = _adder(placement, operand, target)
            adder = entry.name
            additions += placement.invocations * -(-placement.pattern.tensors[operand].size // _lanes(entry))
    done = work(placement, target, adder, additions)
    return Step(placement, adder, additions, done.cycles(target), packed_bytes(placement))


def work(placement: Placement, target: Isa, adder: str, additions: int) -> Work:
    """What the step of a placement executes and reads."""
    entries = Counter({placement.name: placement.invocations, **({adder: additions} if adder else {})})
    read = 0
    for name in placement.held:
        operand, words = target.instruction(placement.name).operands[name], placement.words(name)
        fetched = name not in placement.outputs or continues(placement, name)
        read += words * operand.tensor.bytes if fetched else 0
        for entry in moves(placement, operand, target):
            entries[entry.name] += words * pieces(entry, operand)
    return Work(entries, read)


def moves(placement: Placement, operand: Operand, target: Isa) -> Iterator[Instruction]:
    """The entries that move each word of an operand: none in external memory, or where the file has none."""
    if operand.memory == FIELD or target.memories[operand.memory].kind == "external":
        return
    written = operand.name in placement.outputs
    if not written or continues(placement, operand.name):
        yield from _first(loads(target, operand))
    elif adds(placement, operand.name) or leaves_parts(placement, operand.name):
        yield from _first(resets(target, operand))
    if written:
        yield from _first(entry for entry in stores(target, operand) if is_copy(entry))


def _first(entries: Iterator[Instruction]) -> Iterator[Instruction]:
    found = next(entries, None)
    if found is not None:
        yield found


def packed_bytes(placement: Placement) -> int:
    """Bytes of the packed arrays of all operands."""
    sizes = placement.pattern.tensors
    return sum(placement.words(name) * sizes[name].bytes for name in placement.held)


def continues(placement: Placement, operand: str) -> bool:
    """Whether an output adds to sums that another step begins: the one with the first addend of a statement."""
    written = {
        image.match.image.statement
        for image in placement.images
        if placement.pattern.output(image.match.addend).tensor == operand
    }
    begun = {addend.statement for addend in placement.covered if addend.place == 0}
    return not written <= begun


def adds(placement: Placement, operand: str) -> bool:
    """Whether the instruction adds to what an output held."""
    statements = placement.pattern.statements
    return all(
        placement.pattern.accumulates[number] for number, each in enumerate(statements) if each.output.tensor == operand
    )


def leaves_parts(placement: Placement, operand: str) -> bool:
    """Whether invocations leave in an output less than the operator's whole sums."""
    if adds(placement, operand):
        return False
    sums = Sums(placement.operator.statements)
    numbers = [n for n, each in enumerate(placement.pattern.statements) if each.output.tensor == operand]
    written = {image.match.image.statement for image in placement.images if image.match.addend.statement in numbers}
    whole = {addend for addend in sums.addends if addend.statement in written} <= placement.covered
    return not whole or placement.words(operand) < placement.invocations


def adders(target: Isa, dtype: str) -> Iterator[Instruction]:
    """Entries that add two words element by element."""
    for entry in target.instructions.values():
        if entry.pattern is None or entry.mask or entry.pattern.tensors[0].dtype != dtype:
            continue
        sums = Sums((entry.pattern,))
        operands = [addend.body for addend in sums.addends]
        index = entry.pattern.output.index
        plain = all(isinstance(each, Read) and each.index == index for each in operands)
        if plain and len(set(operands)) + sums.accumulates[0] == 2 and all(a.sign > 0 for a in sums.addends):
            yield entry


def _adder(placement: Placement, operand: str, target: Isa) -> Instruction:
    """The widest entry that adds up the partial sums of an output."""
    dtype = placement.pattern.tensors[operand].dtype
    found = min(adders(target, dtype), key=lambda entry: -_lanes(entry), default=None)
    if found is None:
        raise NoEmbedding(
            f"{placement.name} leaves partial sums in {operand}, and {target.name} has no entry that adds them up, "
            f"such as `c[l] = a[l] + b[l]` on {dtype}"
        )
    return found


def _lanes(entry: Instruction) -> int:
    assert entry.pattern is not None
    return entry.pattern.tensors[0].size
