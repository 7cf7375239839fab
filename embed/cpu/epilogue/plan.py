"""The epilogue of an operator on a register machine: which tensors it reads, and by which instructions."""

from collections.abc import Collection
from dataclasses import dataclass, field

from dataflow.computation import Tensor
from dataflow.errors import UserError
from dataflow.expression import Read, reads
from dataflow.operator import Operator
from embed.binding import named_accesses, unused_name
from embed.cpu.arrays.streams import moving_digits
from embed.cpu.epilogue.select import Extra, Plan, select
from embed.cpu.epilogue.simplify import simplified
from embed.cpu.epilogue.word_moves import Word
from embed.embedding import Embedding
from embed.epilogue import Fused, whole
from embed.errors import NoEmbedding
from isa.model import Isa


def extra_accesses(operator: Operator) -> dict[str, Read]:
    """What the epilogue reads besides the sums, by access name, in the main statement's dims.

    Raises UserError for a tensor that is read twice: a kernel takes each once, in the layout of one access.
    """
    if not operator.epilogue:
        return {}
    accesses = named_accesses(operator.main)
    taken = {read.tensor for read in accesses.values()}
    found: dict[str, Read] = {}
    for read in dict.fromkeys(reads(whole(operator))):
        if read == operator.main.output:
            continue
        if read.tensor in taken:
            raise UserError(f"'{read.tensor}' is read in two ways: give the epilogue of {operator.name} its own tensor")
        taken.add(read.tensor)
        found[unused_name(read.tensor, {*accesses, *found})] = read
    return found


def plan(embedding: Embedding, target: Isa, constants: Collection[str]) -> Plan:
    """The instructions of the epilogue; raises NoEmbedding where the target has none for a part of it."""
    operator, pattern = embedding.operator, embedding.pattern
    sums = pattern.output.tensor
    memory = target.instructions[embedding.name].operands[sums].memory
    word = Word(memory, pattern.tensors[0].dtype, pattern.tensors[0].size)
    extras = {
        read: Extra(name, read_tensor(operator, read).dtype, is_spread(embedding, read, constants))
        for name, read in extra_accesses(operator).items()
    }
    return select(target, word, operator.main.output, whole(operator), extras, operator.output.dtype)


@dataclass
class Plans:
    """Plans of one operator for any embedding; `refusal` says why the last one could not be made."""

    operator: Operator
    target: Isa
    constants: Collection[str]
    refusal: str = ""
    known: dict[object, Plan | None] = field(default_factory=dict)

    def of(self, embedding: Embedding) -> Plan | None:
        """The plan; None where there are no instructions for it."""
        spread = [is_spread(embedding, read, self.constants) for read in extra_accesses(self.operator).values()]
        key = (embedding.name, *spread)
        if key not in self.known:
            self.known[key] = self.made(embedding)
        return self.known[key]

    def made(self, embedding: Embedding) -> Plan | None:
        try:
            return plan(embedding, self.target, self.constants)
        except NoEmbedding as error:
            self.refusal = str(error)
            return None


def fused(operator: Operator, chosen: Plan) -> Fused | None:
    """The epilogue as a step of the loop nest; None where the operator has none."""
    if not operator.epilogue:
        return None
    types = {tensor.name: tensor.dtype for tensor in (*operator.inputs, operator.main.tensors[0])}
    names = tuple(step.instruction for step in chosen.steps)
    return Fused(names, operator.main.output, simplified(whole(operator), types), extra_accesses(operator))


def read_tensor(operator: Operator, read: Read) -> Tensor:
    """The input that an access reads."""
    return next(tensor for tensor in operator.inputs if tensor.name == read.tensor)


def is_spread(embedding: Embedding, read: Read, constants: Collection[str]) -> bool:
    """Whether one element serves all lanes; constants are packed into words."""
    output = embedding.pattern.output.tensor
    return read.tensor not in constants and not moving_digits(embedding, output, read)


def is_packed(embedding: Embedding, read: Read, constants: Collection[str]) -> bool:
    """Whether words must be made: of constants, and where a tensor moves along some of the lanes' digits only."""
    output = embedding.pattern.output.tensor
    own = moving_digits(embedding, output, read)
    mixed = bool(own) and own != moving_digits(embedding, output, embedding.operator.main.output)
    return mixed or read.tensor in constants
