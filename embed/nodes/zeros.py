"""Where an idle addend adds nothing: which of its reads must be zero for that."""

from collections.abc import Collection

from dataflow.expression import Apply, Cast, Const, Expression, Read


def adds_nothing(body: Expression, zero: Collection[Read]) -> bool:
    """Whether the body is 0 whatever the other reads are, if those in `zero` are 0."""
    match body:
        case Read():
            return body in zero
        case Const(value):
            return value == 0
        case Cast(_, argument):
            return adds_nothing(argument, zero)
        case Apply("mul", arguments):
            return any(adds_nothing(argument, zero) for argument in arguments)
        case Apply("shr" | "shl", (value, _)):
            return adds_nothing(value, zero)
        case Apply(_, arguments):
            return all(adds_nothing(argument, zero) for argument in arguments)
