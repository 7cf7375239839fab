"""What a user may demand of an embedding, in words.

Without demands every operator that an instruction can compute embeds, if with idle lanes; with them it may not.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod

from dataflow.errors import UserError
from dataflow.operator import Operator
from embed import layout
from embed.binding import named_accesses
from embed.copies import copies
from embed.costs import Costs
from embed.embedding import Embedding, as_accumulation
from embed.relax.rewritten import Rewritten
from isa.model import Isa

_WORDS = {
    "full=LANE": "no lane of {0} is ever idle",
    "no-fuse": "every digit holds one dim",
    "no-mix": "every lane dimension holds one digit",
    "lane=LANE:DIM": "{1} runs along {0}",
    "loop=DIM": "{0} is a loop",
    "exact=TENSOR": "{0} is packed without padding and without copies",
    "no-copies=TENSOR": "no element of {0} is packed twice",
    "in-place=TENSOR": "{0} is used where it lies, without packing",
    "bind=TENSOR:OPERAND": "{0} plays {1}",
    "instruction=NAME": "the instruction is {0}",
    "min-utilisation=SHARE": "the utilisation is at least {0}",
    "max-cycles=N": "it takes at most {0} modelled cycles",
    "max-bytes=N": "its packed tensors take at most {0} bytes",
}
FORMS = tuple(_WORDS)
_KINDS = {form.partition("=")[0]: form for form in FORMS}


@dataclass(frozen=True, slots=True)
class Demand:
    """One demand: its kind, and what it is about."""

    kind: str
    about: tuple[str, ...] = ()

    @classmethod
    def read(cls, text: str) -> "Demand":
        """One of FORMS as the user writes it; raises UserError for another."""
        kind, equals, about = text.partition("=")
        found = cls(kind, tuple(about.split(":")) if equals else ())
        form = _KINDS.get(kind, "")
        places = len(form.partition("=")[2].split(":")) if "=" in form else 0
        if not form or len(found.about) != places or not all(found.about):
            raise UserError(f"demand '{text}': write one of {', '.join(FORMS)}")
        return found

    def __str__(self) -> str:
        return _WORDS[_KINDS[self.kind]].format(*self.about)

    @property
    def written(self) -> str:
        """As the user writes it."""
        return "=".join(filter(None, (self.kind, ":".join(self.about))))

    @property
    def number(self) -> float:
        """The limit of a demand that has one."""
        return float(self.about[0])


def in_place(demands: Iterable[Demand]) -> list[str]:
    """Tensors that are to be used in place."""
    return [demand.about[0] for demand in demands if demand.kind == "in-place"]


def check(demands: Iterable[Demand], operator: Operator, target: Isa) -> None:
    """Raise UserError for a demand about something that is not there, or a number that is none."""
    entries = target.instructions.values()
    found = {entry.name: as_accumulation(entry.pattern) for entry in entries if entry.pattern is not None}
    patterns = {name: pattern for name, pattern in found.items() if pattern.accumulate}
    lanes = dict.fromkeys(lane for pattern in patterns.values() for lane in pattern.extents)
    operands = dict.fromkeys(tensor.name for pattern in patterns.values() for tensor in pattern.inputs)
    dims = list(operator.main.extents)
    tensors = [tensor.name for tensor in operator.main.tensors]
    known: dict[str, tuple[tuple[str, Sequence[str]], ...]] = {
        "full": (("lane dimension", list(lanes)),),
        "lane": (("lane dimension", list(lanes)), ("dim", dims)),
        "loop": (("dim", dims),),
        "exact": (("tensor", tensors),),
        "no-copies": (("tensor", tensors),),
        "in-place": (("tensor", [tensor.name for tensor in (*operator.inputs, operator.output)]),),
        "bind": (("tensor", tensors), ("operand", list(operands))),
        "instruction": (("instruction that accumulates", list(patterns)),),
    }
    for demand in demands:
        for value, (what, names) in zip(demand.about, known.get(demand.kind, ()), strict=False):
            if value not in names:
                raise UserError(f"demand {demand.written}: there is no {what} '{value}'; there are: {', '.join(names)}")
        if demand.kind.startswith(("min", "max")):
            _check_number(demand)


def _check_number(demand: Demand) -> None:
    try:
        positive = demand.number > 0
    except ValueError:
        positive = False
    if not positive or (demand.kind == "min-utilisation" and demand.number > 1):
        limits = "from 0 to 1" if demand.kind == "min-utilisation" else "above 0"
        raise UserError(f"demand {demand.written}: give a number {limits}")


def meets(demand: Demand, embedding: Embedding, price: Costs) -> bool:
    """Whether an embedding does what is demanded, judged without the solver."""
    about = demand.about
    match demand.kind:
        case "exact":
            packed = layout.derive(embedding)[about[0]]
            return packed.words * prod(packed.word_shape) == packed.tensor.size
        case "no-copies":
            return not any(copies(embedding, name) for name in _accesses(embedding.operator, about[0]))
        case "in-place":
            return all(packing.in_place for packing in price.packings.values() if packing.tensor == about[0])
        case "min-utilisation":
            return price.utilisation >= demand.number - 1e-9
        case "max-cycles":
            return price.total <= demand.number
        case "max-bytes":
            return price.moved <= demand.number
    return placed_so(demand, embedding)


def placed_so(demand: Demand, embedding: Embedding) -> bool:
    """The same of a demand on the placement alone, whatever it costs."""
    about = demand.about
    match demand.kind:
        case "full":
            return _is_full(embedding, about[0])
        case "no-fuse":
            return all(len(digit.dims) == 1 for digit in embedding.digits)
        case "no-mix":
            return all(len(embedding.digits_of(lane)) <= 1 for lane in embedding.lanes)
        case "lane":
            dims = parts(embedding.relaxed, about[1])
            return any(not dims.isdisjoint(digit.dims) for digit in embedding.digits_of(about[0]))
        case "loop":
            return parts(embedding.relaxed, about[0]) <= set(embedding.outer_dims)
        case "bind":
            return embedding.binding.operands.get(about[0]) == about[1]
    return embedding.name == about[0]


def parts(relaxed: Rewritten | None, dim: str) -> set[str]:
    """The dims of a placed operator that one of the user's is made of: itself, where no rewriting replaced it."""
    if relaxed is None or dim in relaxed.operator.main.extents:
        return {dim}
    found = set(relaxed.functions[dim].dims)
    return found.union(*(zero.dims for zero in relaxed.zeros if not found.isdisjoint(zero.dims)))


def pads(relaxed: Rewritten | None) -> bool:
    """Whether a rewriting has added points, which leave lanes idle."""
    return relaxed is not None and relaxed.operator.main.points > relaxed.user.main.points


def _accesses(operator: Operator, tensor: str) -> list[str]:
    """The names of the accesses that read a tensor; none of those of an output, whose elements are one place each."""
    accesses = named_accesses(operator.main)
    return [name for name, read in accesses.items() if read.tensor == tensor != operator.main.output.tensor]


def _is_full(embedding: Embedding, lane: str) -> bool:
    digits = () if pads(embedding.relaxed) else embedding.digits_of(lane)
    whole = all(embedding.size(digit) % digit.radix == 0 for digit in digits)
    return whole and prod(digit.radix for digit in digits) == embedding.lanes.get(lane)
