"""Labels: which operator access plays which instruction operand, such that the scalar bodies agree node by node."""

from collections.abc import Container, Mapping
from dataclasses import dataclass

from dataflow.computation import Computation
from dataflow.expression import COMMUTATIVE, Apply, Cast, Const, Expression, Read, map_reads


@dataclass(frozen=True, slots=True)
class Binding:
    """Pairs (instruction operand, access of the operator); the output's pair comes first.

    An access has its tensor's name; the second read of a tensor is `name.2`, the third `name.3` (`named_accesses`).
    """

    pairs: tuple[tuple[str, str], ...]

    @property
    def tensors(self) -> dict[str, str]:
        """Operator access by instruction operand."""
        return dict(self.pairs)

    @property
    def operands(self) -> dict[str, str]:
        """Instruction operand by operator access."""
        return {tensor: operand for operand, tensor in self.pairs}

    def __str__(self) -> str:
        return " ".join(f"{tensor}->{operand}" for operand, tensor in self.pairs)


def named_accesses(computation: Computation) -> dict[str, Read]:
    """The output and every read, each by a name of its own: `x`, and `x.2` for the next read of the same tensor."""
    found: dict[str, Read] = {}
    for read in (computation.output, *computation.reads):
        found[unused_name(read.tensor, found)] = read
    return found


def unused_name(tensor: str, taken: Container[str]) -> str:
    """The tensor's name, or the first of `name.2`, `name.3`, ... that is free; no tensor's name has a dot."""
    name, number = tensor, 1
    while name in taken:
        number += 1
        name = f"{tensor}.{number}"
    return name


def bindings(operator: Computation, pattern: Computation) -> tuple[Binding, ...]:
    """Every way the bodies agree: types, casts and operations equal, commutative operands in either order.

    An operand that the pattern reads twice stands for one access, so both reads must have the same index. Of bindings
    that differ in the names of equal reads only the first is kept.
    """
    if operator.accumulate != pattern.accumulate:
        return ()
    if operator.tensors[0].dtype != pattern.tensors[0].dtype:
        return ()
    start = {pattern.output.tensor: operator.output.tensor}
    accesses = named_accesses(operator)
    names = iter(tuple(accesses)[1:])
    body = map_reads(operator.body, lambda read: Read(next(names), read.index))
    found: dict[tuple[tuple[str, Read], ...], Binding] = {}
    for match in _Matcher(operator, pattern, accesses).match(pattern.body, body, start):
        key = tuple((operand, accesses[name]) for operand, name in match.items())
        found.setdefault(key, Binding(tuple(match.items())))
    return tuple(found.values())


class _Matcher:
    """Compares two bodies; every read of the operator's goes by its name among the accesses."""

    def __init__(self, operator: Computation, pattern: Computation, accesses: Mapping[str, Read]) -> None:
        self.operator, self.pattern, self.accesses = operator, pattern, accesses

    def match(self, pattern: Expression, body: Expression, known: dict[str, str]) -> list[dict[str, str]]:
        """All extensions of `known` under which `pattern` and `body` are the same tree."""
        match pattern, body:
            case Const(a), Const(b) if a == b:
                return [known]
            case Read(), Read(name):
                return self.bind(pattern, name, known)
            case Cast(a, inner), Cast(b, other) if a == b:
                return self.match(inner, other, known)
            case Apply(a, inner), Apply(b, other) if a == b:
                orders = [other, other[::-1]] if a in COMMUTATIVE else [other]
                return [found for order in orders for found in self.match_all(inner, order, known)]
        return []

    def match_all(
        self, patterns: tuple[Expression, ...], bodies: tuple[Expression, ...], known: dict[str, str]
    ) -> list[dict[str, str]]:
        found = [known]
        for pattern, body in zip(patterns, bodies, strict=True):
            found = [wider for narrow in found for wider in self.match(pattern, body, narrow)]
        return found

    def bind(self, operand: Read, name: str, known: dict[str, str]) -> list[dict[str, str]]:
        """Bind an operand to an access of its type, or find it bound to an equal one."""
        read = self.accesses[name]
        if operand.tensor in known:
            same = operand == self.pattern.accesses[operand.tensor] and read == self.accesses[known[operand.tensor]]
            return [known] if same else []
        if self.pattern.tensor(operand.tensor).dtype != self.operator.tensor(read.tensor).dtype:
            return []
        return [{**known, operand.tensor: name}]
