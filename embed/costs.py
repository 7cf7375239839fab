"""What an embedding costs: invocations, utilisation, packed bytes, and cycles by the ISA file's timing.

Cycles are the roofline of the packed program: the compute unit's instructions, the bus that reads every packed tensor
once, and the store unit, whichever takes longest.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from math import lcm, prod

from dataflow.dtypes import bits
from dataflow.expression import Read
from dataflow.operator import Operator
from embed import layout
from embed.binding import bindings, named_accesses
from embed.embedding import Digit, Embedding, Placeable
from embed.epilogue import Epilogue, plan
from embed.errors import NoEmbedding
from embed.lanes import allowed_dims, slides
from embed.moves import pieces, resets, stores
from embed.physical import Physical
from embed.pinned import Held
from embed.relax.sums import added_bytes
from embed.repacking import Packing, Pin, packing
from isa.model import Instruction, Isa, Operand


@dataclass(frozen=True, slots=True)
class Rates:
    """Cycles of the parts of a program, for one operator on one instruction.

    `invocation` and `result` (reset and epilogue) are compute cycles per instruction and per output word, `store` the
    store unit's cycles per output word, all in parts: `per` of them are a cycle. `bus` are the bytes that all reads
    share per cycle.
    `input_bytes` and `extra_bytes` are bytes per packed word of the operands and of `extras`, the epilogue's reads;
    `result_bytes` those of an output word in external memory, all byte planes together.
    `pins` are the pinned layouts by access of the operator; what they leave to pack goes over the bus.
    """

    invocation: int
    result: int
    store: int
    bus: int
    input_bytes: Mapping[str, int]
    extras: Mapping[str, Read]
    extra_bytes: int
    result_bytes: int
    pins: Mapping[str, Pin] = field(default_factory=dict)
    per: int = 1

    def moving(self, size: int) -> int:
        """Cycles in which the bus moves so many bytes; without a bus moving is free."""
        return -(-size // self.bus) if self.bus else 0

    def compute(self, invocations: int, results: int) -> int:
        """Cycles of so many instructions, resets and epilogues, in the unit that runs the instructions."""
        return -(-(self.invocation * invocations + self.result * results) // self.per)

    def storing(self, results: int) -> int:
        """Cycles of the store unit."""
        return -(-self.store * results // self.per)


@dataclass(frozen=True, slots=True)
class Costs:
    """The price of one embedding; `packed_bytes` by access of the operator, `bytes` their sum.

    No program of this embedding takes less than `compute` cycles: its instructions at full rate, a reset and the
    epilogue's passes of every output word; nor than `bus`: each packed input read once. `cycles` counts stores too.
    `packings` say for each access with a pinned layout what is left to pack. Partial sums are added up at the end:
    `added_bytes` over the bus, in `adding` cycles.
    """

    invocations: int
    utilisation: float
    cycles: int
    packed_bytes: Mapping[str, int]
    compute: int
    bus: int
    packings: Mapping[str, Packing] = field(default_factory=dict)
    added_bytes: int = 0
    adding: int = 0

    @property
    def total(self) -> int:
        """Cycles of the program, of the packing that pinned layouts leave, and of adding partial sums."""
        return self.cycles + self.adding + sum(packing.cycles for packing in self.packings.values())

    @property
    def moved(self) -> int:
        """Bytes of the packed tensors, of that packing and of that addition."""
        return self.bytes + self.added_bytes + sum(packing.bytes for packing in self.packings.values())

    @property
    def bound(self) -> int:
        """The larger of the compute and bus bounds, in cycles."""
        return max(self.compute, self.bus)

    @property
    def bytes(self) -> int:
        return sum(self.packed_bytes.values())


def epilogue_of(operator: Operator, instruction: Instruction, target: Isa) -> Epilogue:
    """The passes over a scratchpad; where accumulators are registers, what has no passes is fused and costs none."""
    assert instruction.output is not None
    try:
        return plan(operator, target)
    except NoEmbedding:
        if target.memories[instruction.output.memory].kind != "register":
            raise
        return Epilogue((), 1, ())


_FREE: Mapping[str, Physical] = {}


def rates(operator: Operator, instruction: Instruction, target: Isa, lies: Mapping[str, Physical] = _FREE) -> Rates:
    """Read the ISA file's timing; an instruction without one takes a cycle a trip, memory without one is free.

    `lies` are the pinned layouts of the operator's tensors.
    """
    epilogue = epilogue_of(operator, instruction, target)
    pattern = instruction.pattern
    assert pattern is not None
    words = {tensor.name: prod(tensor.shape) for tensor in pattern.tensors}
    result = words[pattern.output.tensor]
    own = _own_cycles(instruction, epilogue, target)
    store = _store_cycles(instruction.operands[pattern.output.tensor], target) * epilogue.planes
    per = lcm(*(cycles.denominator for cycles in (*own, store)))
    invocation, finish, storing = (int(cycles * per) for cycles in (*own, store))
    return Rates(
        invocation=invocation,
        result=finish,
        store=storing,
        bus=target.timing.constants.get("bus_bytes", 0) if target.timings else 0,
        input_bytes={t.name: words[t.name] * bits(t.dtype) // 8 for t in pattern.inputs},
        extras=epilogue.extras,
        extra_bytes=result * bits(pattern.tensors[0].dtype) // 8,
        result_bytes=result * bits(operator.output.dtype) // 8,
        pins=_pins(operator, instruction, epilogue, lies) if lies else {},
        per=per,
    )


def _pins(
    operator: Operator, instruction: Instruction, epilogue: Epilogue, lies: Mapping[str, Physical]
) -> dict[str, Pin]:
    """The pins by access. Words of the epilogue's inputs hold the type of the sums; planes split the output's."""
    assert instruction.pattern is not None
    main, sums = operator.main, instruction.pattern.tensors[0].dtype
    found = {}
    for name, read in {**named_accesses(main), **epilogue.extras}.items():
        if name == main.output.tensor and operator.output.name in lies:
            found[name] = Pin(lies[operator.output.name], epilogue.planes == 1)
        elif read.tensor in lies:
            physical = lies[read.tensor]
            found[name] = Pin(physical, name not in epilogue.extras or bits(physical.tensor.dtype) == bits(sums))
    return found


def evaluate(embedding: Embedding, rate: Rates) -> Costs:
    """The costs of an embedding, from its layouts."""
    counts = layout.counts(embedding, rate.extras)
    operands = embedding.binding.operands
    main = embedding.operator.main.output.tensor
    packed = {t: n * rate.input_bytes[operands[t]] for t, n in counts.items() if t in operands and t != main}
    packed |= {name: counts[name] * rate.extra_bytes for name in rate.extras}
    results = counts[main]
    compute = rate.compute(embedding.invocations, results)
    bus = rate.moving(sum(packed.values()))
    sizes = {**packed, main: results * rate.result_bytes}
    packed[embedding.operator.output.name] = results * rate.result_bytes
    cycles = max(compute, bus, rate.storing(results))
    layouts = layout.derive(embedding, rate.extras) if rate.pins else {}
    found = {name: packing(pin, layouts[name], sizes[name], rate.bus) for name, pin in rate.pins.items()}
    added = added_bytes(embedding.relaxed)
    adding = rate.moving(added)
    return Costs(embedding.invocations, embedding.utilisation, cycles, packed, compute, bus, found, added, adding)


def packings(held: Held, embedding: Embedding, target: Isa) -> Mapping[str, Packing]:
    """What pinned layouts leave to pack, by access; without pins nothing."""
    if not held.given:
        return {}
    rate = rates(embedding.operator, target.instruction(embedding.name), target, held.lies)
    return evaluate(embedding, rate).packings


def fixed_utilisation(operator: Operator, instruction: Instruction) -> float | None:
    """Utilisation of the usual fixed recipe: one dim a lane dimension, whatever the shape; None without a binding.

    The dims are the first that each lane dimension may hold: batch, input channels and output channels of a
    convolution (TVM's NCHWnc packing), n, k and m of a matrix product. Of two bindings the better one counts.
    """
    pattern = instruction.pattern
    if pattern is None:
        return None
    placeable = Placeable(instruction.name, pattern)
    return max((found.utilisation for found in fixed_embeddings(operator, placeable)), default=None)


def fixed_embeddings(operator: Operator, instruction: Placeable) -> Iterator[Embedding]:
    """The fixed recipe of `fixed_utilisation` for each binding; none where lanes slide, which it knows nothing of."""
    pattern = instruction.pattern
    for binding in bindings(operator.main, pattern):
        if slides(operator.main, pattern, binding):
            continue
        digits = []
        for lane, lanes in pattern.extents.items():
            allowed = allowed_dims(operator.main, pattern, binding, lane)
            points = operator.main.extents[allowed[0]] if allowed else 1
            if lanes > 1 and points > 1:
                digits.append(Digit(lane, allowed[:1], min(lanes, points)))
        yield Embedding(operator, instruction, binding, tuple(digits))


def _own_cycles(instruction: Instruction, epilogue: Epilogue, target: Isa) -> tuple[Fraction, Fraction]:
    """Cycles of the busiest unit of an instruction: of one of many in a row, and of finishing an output word.

    To finish is a reset, every pass, and passes between byte planes, as far as they need that unit.
    """
    assert instruction.output is not None
    finish = list(finishing(instruction.output, epilogue, target))
    if not target.timings or instruction.name not in target.timing.costs:
        return Fraction(1), Fraction(0 if target.timings else sum(times for _, times in finish))
    steady, none = busy(instruction, target), Fraction(0)
    others = [(busy(entry, target), times) for entry, times in finish]
    return max(
        (own, sum((each.get(unit, none) * times for each, times in others), none)) for unit, own in steady.items()
    )


def finishing(result: Operand, epilogue: Epilogue, target: Isa) -> Iterator[tuple[Instruction, int]]:
    """The entries that clear an output word and do its epilogue, each with its executions."""
    reset = next(resets(target, result), None)
    if reset is not None:
        yield reset, pieces(reset, result)
    for step in (*epilogue.passes, *epilogue.between * (epilogue.planes - 1)):
        yield target.instructions[step.instruction], 1


def busy(entry: Instruction, target: Isa) -> dict[str, Fraction]:
    """Cycles by unit of one more of many executions of an entry's pattern; none where the file does not time it.

    A trip of an instruction that loops itself, otherwise a whole instruction.
    """
    cost = target.timing.costs.get(entry.name) if target.timings else None
    if cost is None:
        return {}
    start = 0 if entry.repeat or cost.uops else cost.start
    return {unit: cycles + start for unit, cycles in cost.by_unit.items()}


def _store_cycles(result: Operand, target: Isa) -> Fraction:
    """Of one output word, by the busiest unit; 0 where the file has no store or does not time it."""
    entry = next(stores(target, result), None)
    if entry is None:
        return Fraction(0)
    return max(busy(entry, target).values(), default=Fraction(0)) * pieces(entry, result)
