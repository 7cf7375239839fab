"""Labels: which operator tensor plays which instruction operand, such that the scalar bodies agree node by node."""

from dataclasses import dataclass

from dataflow.computation import Computation
from dataflow.expression import COMMUTATIVE, Apply, Cast, Const, Expression, Read


@dataclass(frozen=True, slots=True)
class Binding:
    """Pairs (instruction operand, operator tensor); the output's pair comes first."""

    pairs: tuple[tuple[str, str], ...]

    @property
    def tensors(self) -> dict[str, str]:
        """Operator tensor by instruction operand."""
        return dict(self.pairs)

    @property
    def operands(self) -> dict[str, str]:
        """Instruction operand by operator tensor."""
        return {tensor: operand for operand, tensor in self.pairs}

    def __str__(self) -> str:
        return " ".join(f"{tensor}->{operand}" for operand, tensor in self.pairs)


def bindings(operator: Computation, pattern: Computation) -> tuple[Binding, ...]:
    """Every way the bodies agree: types, casts and operations equal, commutative operands in either order."""
    if operator.accumulate != pattern.accumulate:
        return ()
    if operator.tensors[0].dtype != pattern.tensors[0].dtype:
        return ()
    start = {pattern.output.tensor: operator.output.tensor}
    found = dict.fromkeys(tuple(match.items()) for match in _match(pattern.body, operator.body, start, pattern, operator))
    return tuple(Binding(pairs) for pairs in found)


def _match(
    pattern: Expression, body: Expression, known: dict[str, str], left: Computation, right: Computation
) -> list[dict[str, str]]:
    """All extensions of `known` under which `pattern` and `body` are the same tree."""
    match pattern, body:
        case Const(a), Const(b) if a == b:
            return [known]
        case Read(operand), Read(tensor):
            return _bind(operand, tensor, known, left, right)
        case Cast(a, inner), Cast(b, other) if a == b:
            return _match(inner, other, known, left, right)
        case Apply(a, inner), Apply(b, other) if a == b:
            orders = [other, other[::-1]] if a in COMMUTATIVE else [other]
            return [found for order in orders for found in _match_all(inner, order, known, left, right)]
    return []


def _match_all(
    patterns: tuple[Expression, ...],
    bodies: tuple[Expression, ...],
    known: dict[str, str],
    left: Computation,
    right: Computation,
) -> list[dict[str, str]]:
    found = [known]
    for pattern, body in zip(patterns, bodies, strict=True):
        found = [wider for narrow in found for wider in _match(pattern, body, narrow, left, right)]
    return found


def _bind(operand: str, tensor: str, known: dict[str, str], left: Computation, right: Computation) -> list[dict[str, str]]:
    if operand in known:
        return [known] if known[operand] == tensor else []
    if tensor in known.values() or left.tensor(operand).dtype != right.tensor(tensor).dtype:
        return []
    return [{**known, operand: tensor}]
