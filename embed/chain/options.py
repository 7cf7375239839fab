"""What a choice is made from: how each operator of a chain can be done, and how its tensors lie then."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from dataflow.computation import Tensor
from dataflow.errors import UserError
from dataflow.operator import Operator
from embed.embedding import Embedding


@dataclass(frozen=True, slots=True)
class Form:
    """How a tensor lies; forms with the same `key` are the same. `bytes` counts padding and copies."""

    name: str
    key: Hashable
    bytes: int


@dataclass(frozen=True, slots=True)
class Option:
    """One way to do an operator: the forms that it reads by input, the form that it writes, its cycles."""

    given: Mapping[str, Form]
    made: Form
    cycles: int
    embedding: Embedding


@dataclass(frozen=True, slots=True)
class Flow:
    """A tensor of a chain: written by the operator at `source`, or from outside, and read as inputs of others.

    What nobody reads leaves the chain.
    """

    name: str
    tensor: Tensor
    source: int | None
    readers: tuple[tuple[int, str], ...]

    @property
    def leaves(self) -> bool:
        """Whether the tensor is a result of the whole chain."""
        return not self.readers


@dataclass(frozen=True, slots=True)
class Chain:
    """Operators, each after those that it reads, and what flows between them; the other inputs are packed before."""

    operators: tuple[Operator, ...]
    flows: tuple[Flow, ...]

    @classmethod
    def of(cls, operators: Sequence[Operator], inputs: Sequence[str | None] | None = None) -> "Chain":
        """A line: each reads the one before as the named input, the first where none is named."""
        named = [
            name or operator.inputs[0].name
            for operator, name in zip(operators, inputs or [None] * len(operators), strict=True)
        ]
        places = [str(place) for place in range(1, len(operators) + 1)]
        reads = [{name: source} for name, source in zip(named, ["input", *places], strict=False)]
        return cls.graph(dict(zip(places, operators, strict=True)), dict(zip(places, reads, strict=True)))

    @classmethod
    def graph(cls, operators: Mapping[str, Operator], reads: Mapping[str, Mapping[str, str]]) -> "Chain":
        """Operators by name, and for each which of its inputs are which operators' outputs, or tensors from outside.

        Raises UserError where that makes no chain.
        """
        if not operators:
            raise UserError("a chain needs at least one operator")
        places = {name: place for place, name in enumerate(operators)}
        readers: dict[str, list[tuple[int, str]]] = {}
        for name, own in reads.items():
            for entry, source in own.items():
                _check_input(name, operators[name], entry)
                if places.get(source, -1) >= places[name]:
                    raise UserError(f"operator {name} reads {source}, which does not come before it")
                readers.setdefault(source, []).append((places[name], entry))
        outside = [source for source in readers if source not in places]
        done = tuple(operators.values())
        flows = []
        for name in (*outside, *places):
            known = tuple(readers.get(name, ()))
            flows.append(Flow(name, _tensor(name, places, done, known), places.get(name), known))
        return cls(done, tuple(flows))

    def name(self, place: int) -> str:
        """The name of an operator."""
        return next(flow.name for flow in self.flows if flow.source == place)

    def read_by(self, place: int) -> list[str]:
        """The inputs of an operator that flow in the chain."""
        return [entry for flow in self.flows for reader, entry in flow.readers if reader == place]


def _check_input(name: str, operator: Operator, entry: str) -> None:
    known = [tensor.name for tensor in operator.inputs]
    if entry not in known:
        raise UserError(f"operator {name}, {operator.title}, has no input '{entry}'; it has: {', '.join(known)}")
    read = [each.tensor for statement in operator.statements for each in statement.reads]
    if read.count(entry) > 1:
        raise UserError(f"operator {name}, {operator.title}, reads '{entry}' more than once")


def _tensor(
    name: str, places: Mapping[str, int], operators: Sequence[Operator], readers: Sequence[tuple[int, str]]
) -> Tensor:
    """What flows; raises UserError where one reader wants another tensor than is written, or than another reader."""
    names = list(places)
    wanted = [
        (place, entry, next(tensor for tensor in operators[place].inputs if tensor.name == entry))
        for place, entry in readers
    ]
    if name in places:
        found, said = operators[places[name]].output, f"operator {name} writes"
    else:
        found, said = wanted[0][2], f"operator {names[wanted[0][0]]} reads"
    for place, entry, tensor in wanted:
        if (tensor.shape, tensor.dtype) != (found.shape, found.dtype):
            raise UserError(
                f"{said} {found.dtype}{list(found.shape)}, but operator {names[place]} reads "
                f"{tensor.dtype}{list(tensor.shape)} as '{entry}'"
            )
    return found


Repack = Callable[[Form, Form], int]
"""Cycles that it takes to bring a tensor from one form to another: none for the same."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A tensor brought from the form in which it is written to one in which it is read, once for all readers."""

    flow: Flow
    before: Form
    after: Form
    cycles: int


@dataclass(frozen=True, slots=True)
class Offers:
    """The options of each operator, the forms outside, and the price of a copy.

    `left` names the operators of which a time limit left options out; no plan takes less than `least` cycles.
    """

    chain: Chain
    options: Sequence[Sequence[Option]]
    ends: Mapping[str, Form]
    repack: Repack
    left: tuple[str, ...] = ()
    least: int = 0

    def copies(self, taken: Sequence[Option]) -> Iterator[Copy]:
        """What is copied between the options taken, which may be those of the first operators only."""
        for flow in self.chain.flows:
            if flow.source is not None and flow.source >= len(taken):
                continue
            made = self.ends[flow.name] if flow.source is None else taken[flow.source].made
            wanted = [taken[place].given[entry] for place, entry in flow.readers if place < len(taken)]
            wanted += [self.ends[flow.name]] if flow.leaves else []
            for form in {form.key: form for form in wanted if form.key != made.key}.values():
                yield Copy(flow, made, form, self.repack(made, form))

    def total(self, taken: Sequence[Option]) -> int:
        """Cycles of the options taken and of the copies between them."""
        return sum(option.cycles for option in taken) + sum(copy.cycles for copy in self.copies(taken))


def cheapest(options: Iterable[Option]) -> list[Option]:
    """Of options that read and write the same forms, the first of the cheapest."""
    best: dict[Hashable, Option] = {}
    for option in options:
        key = tuple((entry, form.key) for entry, form in option.given.items()), option.made.key
        if key not in best or option.cycles < best[key].cycles:
            best[key] = option
    return list(best.values())
